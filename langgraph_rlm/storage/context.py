"""Context: the handle of a stored input, and what code sees of it.

Stores nothing (see `ingest`), and searches nothing (see `reads`).
"""

import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.media import described

Kind = Literal["text", "list", "dict", "messages", "documents", "files", "image", "audio"]

MEDIA: tuple[Kind, ...] = ("image", "audio")
"""Kinds that have no text: code sees a few words about them, and shows them to models."""

Facts = dict[str, Any]
"""What is known of a file beside its text: `original` (digest of its own bytes, where the stored
text is not these), `type` (MIME), `bytes` of the original, and what its kind has: `pages`,
`sheets`, `width`, `height`, ..."""

Buffer = bytes | mmap.mmap
"""Bytes of a blob, in memory or in its file."""

FileSpan = tuple[str, int, int]
"""A file of a context: its path, its first byte in the stored text, its bytes."""


class HandleDict(TypedDict):
    """A `ContextHandle` in state."""

    digest: str
    kind: Kind
    length: int
    size: int
    items: int | None
    encoding: str
    source: str | None
    index: str | None
    skipped: list[str]
    name: NotRequired[str]
    about: NotRequired[str]
    tables: NotRequired[str]


@dataclass(frozen=True)
class ContextHandle:
    """One context by reference: plain values only, so that it fits in any checkpoint.

    The stored text is, by `kind`:

    - text: the text itself.
    - list: an item a line, as JSON.
    - dict: a `[key, value]` a line.
    - messages: a `{"role", "content", ...}` a line.
    - documents: a `{"page_content", "metadata", "id"?}` a line.
    - files: one after the other.
    - image, audio: none; what is stored are its own bytes, or its address.
    """

    digest: str
    """sha256 of the stored text's bytes."""
    kind: Kind
    length: int
    """Characters of the stored text; bytes of a picture or a sound."""
    size: int
    """Bytes of the stored text."""
    items: int | None = None
    """Items, messages, documents or files; None for a text."""
    encoding: str = "utf-8"
    source: str | None = None
    """The path that it came from, when it came from one."""
    index: str | None = None
    """Digest of the manifest of "files": a JSON list of `[path, first byte, bytes]`."""
    skipped: tuple[str, ...] = ()
    """What of a folder was not read, with the reason; the first `MAX_SKIPPED`."""
    name: str | None = None
    """The name that code knows it by beside `context_0` and on, where the user gave it one."""
    about: str | None = None
    """Digest of what is known of its files beside their text: a JSON dict from path to facts, such
    as the digest of the original bytes."""
    tables: str | None = None
    """Digest of what is known of its tables (`tables/catalog.py`); None where it has none."""

    def as_dict(self) -> HandleDict:
        """Give plain values for state, which any checkpointer takes."""
        given = HandleDict(
            digest=self.digest,
            kind=self.kind,
            length=self.length,
            size=self.size,
            items=self.items,
            encoding=self.encoding,
            source=self.source,
            index=self.index,
            skipped=list(self.skipped),
        )
        if self.name is not None:  # left out otherwise: digests of older requests stay
            given["name"] = self.name
        if self.about is not None:
            given["about"] = self.about
        if self.tables is not None:
            given["tables"] = self.tables
        return given

    @staticmethod
    def from_dict(given: HandleDict) -> "ContextHandle":
        """Make the handle that `as_dict` came from."""
        values: dict[str, Any] = {**given, "skipped": tuple(given["skipped"])}
        return ContextHandle(**values)

    @property
    def ascii(self) -> bool:
        """Whether every character is one byte."""
        return self.length == self.size


def materialize(
    handle: ContextHandle, blobs: BlobStore, *, exact: bool = True
) -> str | list[Any] | dict[Any, Any]:
    """Give what code sees as `context`.

    Args:
        exact: False for `?` instead of lone surrogates, which no interpreter takes.

    Returns:
        A str; a list (of items, of message dicts, of document dicts); or a dict (for files: path
        to text). For a picture or a sound a str that says what it is.

    Raises:
        BlobError: a blob is missing or altered.
    """
    if handle.kind in MEDIA:
        return f"<{described_handle(handle, blobs)}>"
    decode = _to_exact if exact else _to_encodable
    with blobs.opened(handle.digest, handle.size) as data:
        if handle.kind == "text":
            return decode(data)
        if handle.kind == "files":
            return {
                path: decode(data[start : start + size])
                for path, start, size in manifest(handle, blobs)
            }
        rows = [json.loads(decode(line)) for line in _lines(data)]
    if handle.kind == "dict":
        return dict(rows)
    return rows


def _lines(data: Buffer) -> Iterator[bytes]:
    """Give the lines of a text, one at a time, without their ends."""
    if isinstance(data, bytes):
        yield from data.split(b"\n")[:-1]
    else:
        yield from iter(data.readline, b"")


def manifest(handle: ContextHandle, blobs: BlobStore) -> Sequence[FileSpan]:
    """List the files of a handle, in order; none for other kinds.

    Raises:
        BlobError: the manifest's blob is missing or altered.
    """
    return () if handle.index is None else _spans(handle.index, blobs)


@lru_cache(maxsize=4)
def _spans(index: str, blobs: BlobStore) -> tuple[FileSpan, ...]:
    """Read a manifest, once for many reads of one context: it may name 100,000 files."""
    return tuple((path, start, size) for path, start, size in json.loads(blobs.get(index)))


def facts_of(handle: ContextHandle, blobs: BlobStore) -> Mapping[str, Facts]:
    """Give what is known of a handle's files, by path; empty where nothing is kept.

    Raises:
        BlobError: the blob is missing or altered.
    """
    return {} if handle.about is None else _facts(handle.about, blobs)


def put_about(files: Mapping[str, Facts], blobs: BlobStore) -> str | None:
    """Keep what is known of files, by path, and give its digest; None for nothing."""
    return blobs.put(to_bytes(json.dumps(files, ensure_ascii=False))) if files else None


@lru_cache(maxsize=16)
def _facts(digest: str, blobs: BlobStore) -> Mapping[str, Facts]:
    """Read what is known of files, once for many calls about them."""
    known: Mapping[str, Facts] = json.loads(blobs.get(digest))
    return known


def described_handle(handle: ContextHandle, blobs: BlobStore) -> str:
    """Say in a few words what a picture or a sound is."""
    files = [*facts_of(handle, blobs).values()]
    return described(files[0] if files else {"bytes": handle.size})


def _to_exact(data: Buffer) -> str:
    return str(data, "utf-8", "surrogatepass")


def _to_encodable(data: Buffer) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        return encodable(_to_exact(data))


def encodable(text: str) -> str:
    """Replace lone surrogates by `?`.

    Models and users write them at times, and neither clients nor sandboxes take them.
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
