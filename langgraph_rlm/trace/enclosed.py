"""Enclosed: what a file of a trace has beside the records: texts, contexts and pictures.

A page is opened whole, so what it encloses is bounded; what is left out is named in its records. A
JSONL file is read line by line, and has everything.
"""

import base64
from collections.abc import Iterator
from typing import Any

from langgraph_rlm.documents.kinds import HEAD_BYTES, kind_of
from langgraph_rlm.errors import BlobError
from langgraph_rlm.storage.media import SENT
from langgraph_rlm.trace.reading import Trace

MOST_TEXT_CHARS = 64_000_000
"""Most characters of texts in a page, all together."""

MOST_CONTEXT_BYTES = 8_000_000
"""Most bytes of contexts in a page, all together."""

PICTURE_BYTES = 2_000_000
MOST_PICTURE_BYTES = 16_000_000
"""Most bytes of one picture in a page, and of all together."""


def texts_in(trace: Trace) -> Iterator[tuple[str, str]]:
    """Give the texts that the records refer to, with their digests. One that is gone is not among
    them: its `Ref` says that it is missing."""
    for digest in trace.texts:
        try:
            yield digest, trace.text(digest)
        except BlobError:
            continue


def contexts_in(trace: Trace, most: int | None = None) -> Iterator[tuple[str, str]]:
    """Give the texts of contexts, and what is known of their files and tables, with their digests.

    Args:
        trace: whose contexts.
        most: bytes of all together; one that does not fit is left out. None for no limit.
    """
    left = most
    for digest, size in trace.texts.contexts.items():
        if left is not None and size > left:
            continue
        try:
            text = trace.context(digest)
        except BlobError:
            continue  # as with texts: a trace shows what is left of a thread
        if left is not None:
            left -= len(text)
        yield digest, text


def page_texts(trace: Trace, *, contexts: bool) -> dict[str, str]:
    """Give the texts of a page, by digest."""
    found: dict[str, str] = {}
    left = MOST_TEXT_CHARS
    for digest, text in texts_in(trace):
        if len(text) <= left:
            found[digest] = text
            left -= len(text)
    if contexts:
        found.update(contexts_in(trace, MOST_CONTEXT_BYTES))
    return found


def page_pictures(trace: Trace) -> dict[str, Any]:
    """Give the pictures of a page, by digest, with the type that their bytes have."""
    found: dict[str, Any] = {}
    left = MOST_PICTURE_BYTES
    for digest in trace.texts.files:
        data = _picture(trace, digest)
        if data is None or len(data) > left:
            continue
        left -= len(data)
        kind = _type_of(data)
        if kind in SENT:
            found[digest] = {"type": kind, "base64": base64.b64encode(data).decode()}
    return found


def _picture(trace: Trace, digest: str) -> bytes | None:
    """Read a file that may be a picture; None for one that is too large, or gone."""
    blobs = trace.texts.blobs
    try:
        if blobs.path(digest).stat().st_size > PICTURE_BYTES:
            return None
        return blobs.get(digest)
    except BlobError:
        return None


def _type_of(data: bytes) -> str | None:
    """The type of a file by its first bytes; whoever made it may have named it anything."""
    kind = kind_of(data[:HEAD_BYTES], b"", "")
    return None if kind is None else kind.type
