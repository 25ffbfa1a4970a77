"""Parts: what a reference is sent as, made at the moment of a call and held no longer than it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage

from langgraph_rlm.budget.media_tokens import pdf_tokens, picture_tokens, sound_tokens
from langgraph_rlm.models.media import Needed
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import encodable
from langgraph_rlm.storage.media import CONVERTED, PDF, media_of
from langgraph_rlm.storage.pages import Pages
from langgraph_rlm.storage.references import Reference

SENT_AS = {"audio/mpeg": "audio/mp3"}
"""LangChain makes OpenAI's `format` of what stands behind the slash."""

PDF_NAME = "document.pdf"
"""OpenAI wants a file to have a name."""


@dataclass(frozen=True)
class Part:
    """One picture, sound or PDF of a prompt."""

    block: dict[str, Any]
    """A content block of LangChain's."""
    tokens: int
    """What it is thought to cost."""


def needed_for(references: Sequence[Reference]) -> list[Needed]:
    """Give what a model has to take to be shown these."""
    found: dict[Needed, None] = {}
    for reference in references:
        found[_input_of(reference)] = None
        if "url" in reference and not _is_sound(reference):
            found["image_url_inputs"] = None
    return [*found]


def _input_of(reference: Reference) -> Needed:
    if _is_sound(reference):
        return "audio_inputs"
    is_pdf = reference.get("type") == PDF and "page" not in reference
    return "pdf_inputs" if is_pdf else "image_inputs"


def _is_sound(reference: Reference) -> bool:
    return reference.get("type", "").startswith("audio")


def parts_of(references: Sequence[Reference], blobs: BlobStore, pages: Pages) -> list[Part]:
    """Read what is shown with one prompt. Blocks.

    Raises:
        NotMade: a page of a PDF cannot be drawn, or a picture not converted.
        BlobError: a blob is missing or altered.
    """
    return [_part(reference, blobs, pages) for reference in references]


def with_parts(given: str | Sequence[AnyMessage], parts: Sequence[Part]) -> list[AnyMessage]:
    """Give a prompt with what is shown with it, behind the text of its first message."""
    messages = [HumanMessage(given)] if isinstance(given, str) else [*given]
    content: Any = [{"type": "text", "text": encodable(messages[0].text)}]
    first = HumanMessage([*content, *(part.block for part in parts)])
    return [first, *messages[1:]]


def _part(reference: Reference, blobs: BlobStore, pages: Pages) -> Part:
    kind = "audio" if _is_sound(reference) else "image"
    if "url" in reference:
        return Part({"type": kind, "url": reference["url"]}, picture_tokens(None))
    if "file_id" in reference:
        return Part({"type": kind, "file_id": reference["file_id"]}, picture_tokens(None))
    digest, type = reference.get("digest", ""), reference.get("type", "")
    if "page" in reference:
        made = pages.page(digest, reference["page"])
        return Part(_block(kind, made.type, made.data), picture_tokens(made.size))
    if type in CONVERTED:
        made = pages.converted(digest)
        return Part(_block(kind, made.type, made.data), picture_tokens(made.size))
    data = blobs.get(digest)
    if type == PDF:
        block = {**_block("file", type, data), "extras": {"filename": PDF_NAME}}
        return Part(block, pdf_tokens(len(data)))
    if kind == "audio":
        return Part(_block(kind, type, data), sound_tokens(len(data)))
    found = media_of(data, "the picture")
    return Part(_block(kind, type, data), picture_tokens(None if found is None else found.size))


def _block(kind: str, type: str, data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode("ascii")
    return {"type": kind, "base64": text, "mime_type": SENT_AS.get(type, type)}
