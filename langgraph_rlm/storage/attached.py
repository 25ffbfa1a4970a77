"""Attached: pictures, sounds and files in the content of messages, whatever the form of the block.

LangChain reads the forms (its own, OpenAI's, Anthropic's and older ones); nothing is fetched.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage

from langgraph_rlm.documents.outcome import Facts
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.media import MAX_BYTES, Media, MediaKind, media_of

MAX_ADDRESS = 2_000
"""Characters of a URL or of an id."""

TEXT_BLOCKS = ("text", "text-plain", "input_text")
"""Types of content blocks that have a text."""

FORMS = ("image", "audio", "file")
"""LangChain's types of blocks that can be a context."""


@dataclass(frozen=True)
class Elsewhere:
    """A picture or a sound that a provider finds by itself. It is passed on as it is."""

    kind: MediaKind
    facts: Facts


Attached = Media | Elsewhere
"""What comes with a message beside text."""


def attached(block: Any) -> Attached | bytes | None:
    """Read a content block.

    Args:
        block: of a message; not a text.

    Returns:
        A picture or a sound; the bytes of any other file; None where it is neither.

    Raises:
        ContextError: it cannot be read, or is of a type that no model takes.
    """
    given = _standard(block)
    kind = given.get("type")
    if kind not in FORMS:
        return None
    data = given.get("base64")
    if isinstance(data, str):
        return _decoded(data, kind)
    if kind == "file":
        return None  # it has no text before it is fetched
    is_sound = kind == "audio"
    facts: Facts = {"type": "audio" if is_sound else "image"}
    url, id = given.get("url"), given.get("file_id")
    if isinstance(url, str) and url.startswith(("https://", "http://")):
        facts["url"] = _short(url)
    elif isinstance(id, str) and id:
        facts["file_id"] = _short(id)
    else:
        return None
    return Elsewhere("audio" if is_sound else "image", facts)


def _standard(block: Any) -> Mapping[str, Any]:
    """Give a block in LangChain's own form."""
    if not isinstance(block, dict):
        return {}
    content: Any = [block]
    found: Any = HumanMessage(content).content_blocks
    return found[0]


def _decoded(text: str, kind: str) -> Media | bytes:
    name = f"The {kind} of the message"
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise ContextError(
            f"{name} has more than {MAX_BYTES >> 20} MB. Give it as `context`, or make it smaller."
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContextError(f"{name} is not base64: {error}.") from None
    found = media_of(data, name)
    if found is None and kind != "file":
        raise ContextError(
            f"{name} is no {kind} by its first bytes. PNG, JPEG, GIF and WebP are known, and WAV "
            "and MP3."
        )
    return found or data


def _short(address: str) -> str:
    if len(address) > MAX_ADDRESS:
        raise ContextError(
            f"The address of a picture has {len(address):,} characters; at most {MAX_ADDRESS:,}."
        )
    return address
