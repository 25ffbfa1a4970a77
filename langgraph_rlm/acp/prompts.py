"""Prompts: the blocks of a prompt as a question and its contexts.

A file is read only where it is in a folder of the session. Nothing is fetched.
"""

import asyncio
import base64
import binascii
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from langgraph_rlm.acp.sdk import schema
from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.storage.allowed import Allowed
from langgraph_rlm.storage.attached import attached
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.media import Media
from langgraph_rlm.storage.messages import words_of
from langgraph_rlm.storage.several import names_in_code

MOST_CONTEXTS = 50
"""Contexts of one prompt; a folder is one of them."""
FOLDER = "folder"
"""The name of the session's folder as a context."""
LOCAL = ("", "localhost")

Block = (
    schema.TextContentBlock
    | schema.ImageContentBlock
    | schema.AudioContentBlock
    | schema.ResourceContentBlock
    | schema.EmbeddedResourceContentBlock
)


@dataclass
class Asked:
    """What a prompt asks."""

    parts: list[str] = field(default_factory=list[str])
    contexts: dict[str, Any] = field(default_factory=dict[str, Any])
    """Anything that `ingest.ingest` takes, by the names that code has for them."""

    @property
    def question(self) -> str:
        """Give the question as text, with the names of contexts where they were mentioned."""
        return "".join(self.parts).strip()

    def add(self, name: str, value: Any) -> str:
        """Take a context, and give its name in code. The same file twice is one context.

        Raises:
            ContextError: there are too many.
        """
        for known, other in self.contexts.items():
            if isinstance(value, Path) and value == other:
                return known
        if len(self.contexts) == MOST_CONTEXTS:
            raise ContextError(
                f"A prompt takes {MOST_CONTEXTS} files, pictures and the like: name their folder."
            )
        (made,) = names_in_code([name.strip() or "file"])
        free, number = made, 1
        while free in self.contexts:
            number += 1
            free = f"{made}_{number}"
        self.contexts[free] = value
        return free


def read_prompt(blocks: Sequence[Block], allowed: Allowed, folder: Path | None) -> Asked:
    """Read the blocks of a prompt. No file is opened.

    Args:
        blocks: in their order.
        allowed: the files that may be named.
        folder: the session's own, where the whole of it is a context.

    Raises:
        ContextError: there is no question; a file is not in the folders; something cannot be read.
    """
    asked = Asked()
    if folder is not None:
        asked.add(FOLDER, folder)
    for block in blocks:
        asked.parts.append(_part(block, asked, allowed))
    if not any(isinstance(each, schema.TextContentBlock) and each.text.strip() for each in blocks):
        raise ContextError("The prompt has no text: say what to ask.")
    return asked


async def stored(asked: Asked, blobs: BlobStore) -> dict[str, ContextHandle] | None:
    """Store the contexts of a prompt; None where there are none.

    Raises:
        ContextError: one cannot be read.
    """

    is_stopped = threading.Event()

    def on_file(_: object) -> None:
        if is_stopped.is_set():  # a folder may take minutes, and nobody waits for it any more
            raise ContextError("The reading of the prompt's files was stopped.")

    def store() -> dict[str, ContextHandle]:
        found: dict[str, ContextHandle] = {}
        for name, value in asked.contexts.items():
            found[name] = ingest(value, blobs, on_file=on_file)
        return found

    try:
        return await asyncio.to_thread(store) if asked.contexts else None
    finally:
        is_stopped.set()


def _part(block: Block, asked: Asked, allowed: Allowed) -> str:
    """Give the words that stand in the question for a block."""
    if isinstance(block, schema.TextContentBlock):
        return block.text
    if isinstance(block, schema.ResourceContentBlock):
        return _link(block, asked, allowed)
    if isinstance(block, schema.EmbeddedResourceContentBlock):
        return _embedded(block.resource, asked)
    return _media(block, asked)


def _link(block: schema.ResourceContentBlock, asked: Asked, allowed: Allowed) -> str:
    """Read a link: to a file it is a context; others are named in the question, and not read."""
    uri = urlsplit(block.uri)
    if uri.scheme != "file":
        return f" {block.name} (a link to {block.uri}, which is not read) "
    if uri.netloc not in LOCAL:
        raise ContextError(f"{shown(block.uri)} is a file of another machine.")
    path = allowed.path(url2pathname(uri.path))
    name = asked.add(path.name, path)
    part = f"#{uri.fragment}" if uri.fragment else ""
    return f" `{block.name}{part}` (in `{name}`) "


def _embedded(
    resource: schema.TextResourceContents | schema.BlobResourceContents, asked: Asked
) -> str:
    """Read what the client has put into the prompt: a text, or the bytes of a file."""
    uri = urlsplit(resource.uri)
    shown_name = unquote(uri.path).rstrip("/").rpartition("/")[2] or resource.uri
    if isinstance(resource, schema.TextResourceContents):
        if not resource.text:
            return f" `{shown_name}` (which is empty) "
        value: str | bytes = resource.text
    else:
        value = _bytes(resource.blob, resource.uri)
    part = f"#{uri.fragment}" if uri.fragment else ""
    return f" `{shown_name}{part}` (in `{asked.add(shown_name, value)}`) "


def _media(block: schema.ImageContentBlock | schema.AudioContentBlock, asked: Asked) -> str:
    kind = block.type
    value = attached({"type": kind, "base64": block.data, "mime_type": block.mime_type})
    if not isinstance(value, Media):
        raise ContextError(f"The {kind} of the prompt is none.")
    return f" ({words_of(value)}, in `{asked.add(kind, value)}`) "


def _bytes(blob: str, uri: str) -> bytes:
    try:
        return base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContextError(f"The content of {shown(uri)} is not base64: {error}.") from None
