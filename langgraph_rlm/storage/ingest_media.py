"""Ingest of media: stores a picture or a sound as it is, or its address, and gives its handle."""

import os
from dataclasses import replace

from langgraph_rlm.documents.outcome import Facts
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.attached import Attached
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle, put_about
from langgraph_rlm.storage.files import explained
from langgraph_rlm.storage.media import MAX_BYTES, Media, media_of
from langgraph_rlm.storage.sources import Source


def ingest_media(given: Attached, blobs: BlobStore, source: str | None = None) -> ContextHandle:
    """Store a picture or a sound.

    Args:
        given: with its bytes; or its address, where only a provider has it.
        blobs: the store.
        source: the path that it came from.
    """
    facts = given.facts
    if isinstance(given, Media):
        data = given.data
    else:
        source = str(facts.get("url") or facts.get("file_id"))
        data = to_bytes(source)
    name = os.path.basename(source or "") or given.kind
    return ContextHandle(
        digest=blobs.put(data),
        kind=given.kind,
        length=len(data),
        size=len(data),
        source=source,
        about=put_about({name: facts}, blobs),
    )


def ingest_media_file(looked: Source, source: str | None, blobs: BlobStore) -> ContextHandle:
    """Store a file whose first bytes say that it is a picture or a sound.

    Raises:
        ContextError: it cannot be read, is too large, broken, or of a type that no model takes.
    """
    with explained(looked.shown), looked.open() as file:
        data = file.read(MAX_BYTES + 1)
    found = media_of(data, looked.shown)
    if found is None:
        raise ContextError(f"{looked.shown} changed while it was read: give it again.")
    return ingest_media(found, blobs, source)


class KeptMedia:
    """The pictures and sounds among other things, stored as they come."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self._files: dict[str, Facts] = {}

    def keep(self, name: str, given: Attached) -> None:
        """Store one, known by this name."""
        facts = given.facts
        if isinstance(given, Media):
            facts = {"original": self._blobs.put(given.data), **facts}
        self._files[name] = facts

    def noted_in(self, handle: ContextHandle) -> ContextHandle:
        """Give a handle that knows of them."""
        return replace(handle, about=put_about(self._files, self._blobs))
