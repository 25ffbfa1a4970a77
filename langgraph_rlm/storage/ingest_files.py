"""Ingest of files: stores a file, a folder, a list of files or a stream, and gives its handle."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from langgraph_rlm.documents.kinds import BZIP2, GZIP, HEAD_BYTES, XZ, Kind
from langgraph_rlm.documents.reading import Limits, is_missing
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import Writer, chunks_of
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle, put_about
from langgraph_rlm.storage.documents import Documents
from langgraph_rlm.storage.files import File, explained, files_below, named, printable
from langgraph_rlm.storage.ingest_media import ingest_media_file
from langgraph_rlm.storage.joined import Joined, OnFile
from langgraph_rlm.storage.media import is_media
from langgraph_rlm.storage.sources import Source, of_file, spooled
from langgraph_rlm.storage.utf8 import Utf8, start_of

MAX_SKIPPED = 100
"""Most names of skipped files that a handle keeps."""

LIMITS = Limits()
"""What the documents of one input may take."""

COMPRESSED = (GZIP, BZIP2, XZ)
"""Kinds that mostly are one file, and then a text like that file."""


def ingest_file(file: File, blobs: BlobStore, on_file: OnFile | None = None) -> ContextHandle:
    """Store a file, or a folder with all that can be read in it.

    Raises:
        ContextError: it is missing, or nothing in it can be read.
        BlobError: the store cannot be written.
    """
    source = printable(str(file.path))
    if not os.path.isdir(file.path):
        return _one(file, source, blobs, on_file)
    files, skipped = files_below(file)
    return _files([of_file(each, name) for name, each in files], skipped, source, blobs, on_file)


def ingest_list_of_files(
    files: Sequence[File], blobs: BlobStore, on_file: OnFile | None = None
) -> ContextHandle:
    """Store files and folders that were named one by one.

    Raises:
        ContextError: one is missing, or none can be read.
        BlobError: the store cannot be written.
    """
    once: dict[Path, File] = {}
    for file in files:
        with explained(str(file.path)):
            os.stat(file.path)
        once.setdefault(file.path, file)
    found: dict[str, File] = {}
    skipped: list[str] = []
    for name, file in named([*once.values()]):
        if not os.path.isdir(file.path):
            found.setdefault(name, file)
            continue
        below, left_out = files_below(file)
        for inner, each in below:
            found.setdefault(f"{name}/{inner}", each)
        skipped += [f"{name}/{each}" for each in left_out]
    sources = [of_file(file, name) for name, file in found.items()]
    return _files(sources, skipped, None, blobs, on_file)


def ingest_stream(
    chunks: Iterable[bytes], blobs: BlobStore, name: str, source: str | None = None
) -> ContextHandle:
    """Store the bytes of one file, of any kind.

    Args:
        chunks: the bytes in order.
        name: what errors call it.
        source: the path that it came from.

    Raises:
        ContextError: they cannot be read.
        BlobError: the store cannot be written.
    """
    with tempfile.NamedTemporaryFile() as copy:
        rest = iter(chunks)
        start = start_of(rest, HEAD_BYTES)
        whole = chain([start] if start else [], rest)
        path = Path(copy.name)
        base = Path(source).name if source else ""
        looked = Source(base, name, lambda: path.open("rb"), path)
        copy.write(start)
        copy.flush()
        with looked.open() as file:
            kind = looked.kind(file)
        if _is_text(kind):
            return _text(Utf8(name), whole, blobs, name, source)
        spooled(rest, copy)
        return _document(looked, source, blobs, None)


def _is_text(kind: Kind | None) -> bool:
    return kind is None or (is_missing(kind) and kind.is_text)


def _one(file: File, source: str, blobs: BlobStore, on_file: OnFile | None) -> ContextHandle:
    """Store one file. Whatever can be opened is read, pipes and devices too."""
    shown = str(file.path)
    with explained(shown):
        opened = file.path.open("rb")
    with opened:
        if file.encoding is None and file.errors == "strict":
            if not opened.seekable():
                return ingest_stream(_read(opened, shown), blobs, shown, source)
            looked = Source(file.path.name, shown, lambda: file.path.open("rb"), file.path)
            with explained(shown):
                kind = looked.kind(opened)
            if not _is_text(kind):
                return _document(looked, source, blobs, on_file)
        utf8 = Utf8(shown, file.encoding, file.errors)
        return _text(utf8, _read(opened, shown), blobs, shown, source)


def _read(file: BinaryIO, shown: str) -> Iterator[bytes]:
    with explained(shown):
        yield from chunks_of(file)


def _text(
    utf8: Utf8, chunks: Iterable[bytes], blobs: BlobStore, name: str, source: str | None
) -> ContextHandle:
    digest, size = blobs.put_stream(not_empty(utf8.check(chunks), name))
    return ContextHandle(digest=digest, kind="text", length=utf8.chars, size=size, source=source)


def _document(
    looked: Source, source: str | None, blobs: BlobStore, on_file: OnFile | None
) -> ContextHandle:
    """Store one file that is not text."""
    with looked.open() as file:
        kind = looked.kind(file)
    if is_media(kind):
        return ingest_media_file(looked, source, blobs)
    if not looked.name and kind is not None:
        looked = Source(f"document{kind.extension}", looked.shown, looked.open, looked.path)
    joined, digest, size = _joined([looked], looked.shown, blobs, on_file)
    names = [name for name, _, _ in joined.manifest]
    if names == [looked.name] or (kind in COMPRESSED and len(names) == 1):
        about = dict(zip([looked.name], joined.about.values(), strict=False))
        return ContextHandle(
            digest=digest,
            kind="text",
            length=joined.chars,
            size=size,
            source=source,
            skipped=capped(joined.skipped),
            about=put_about(about, blobs),
        )
    return _handle(joined, digest, size, joined.skipped, source, blobs)


def _files(
    sources: Sequence[Source],
    skipped: Sequence[str],
    source: str | None,
    blobs: BlobStore,
    on_file: OnFile | None,
) -> ContextHandle:
    shown = source or " and ".join(each.name for each in sources[:3])
    joined, digest, size = _joined(sources, shown, blobs, on_file, skipped)
    return _handle(joined, digest, size, sorted([*skipped, *joined.skipped]), source, blobs)


def _joined(
    sources: Sequence[Source],
    shown: str,
    blobs: BlobStore,
    on_file: OnFile | None,
    skipped: Sequence[str] = (),
) -> tuple[Joined, str, int]:
    """Store the texts of files.

    Returns:
        What is known of them; the digest of the text, and its bytes.

    Raises:
        ContextError: there is nothing to read.
    """
    documents = Documents(blobs, LIMITS)
    joined = Joined(sources, documents, on_file)

    def fill(writer: Writer) -> None:
        joined.write(writer)
        if not joined.manifest:
            raise _nothing(shown, sources, sorted([*skipped, *joined.skipped]))
        if not writer.size:
            raise empty(shown)

    try:
        return joined, *blobs.put_written(fill)
    finally:
        documents.close()


def _nothing(shown: str, sources: Sequence[Source], skipped: Sequence[str]) -> ContextError:
    if len(sources) == len(skipped) == 1:
        reason = skipped[0].removeprefix(f"{sources[0].name} (").removesuffix(")")
        return ContextError(f"{shown} cannot be read: {reason}.")
    others = ", ".join(skipped[:10]) or "nothing, it is empty"
    return ContextError(f"{shown} has no file to read; skipped: {others}.")


def _handle(
    joined: Joined,
    digest: str,
    size: int,
    skipped: Sequence[str],
    source: str | None,
    blobs: BlobStore,
) -> ContextHandle:
    return ContextHandle(
        digest=digest,
        kind="files",
        length=joined.chars,
        size=size,
        items=len(joined.manifest),
        source=source,
        index=blobs.put(to_bytes(json.dumps(joined.manifest, ensure_ascii=False))),
        skipped=capped(skipped),
        about=put_about(joined.about, blobs),
    )


def not_empty(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Pass chunks on; raise at their end if there were none, while nothing is stored yet."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        yield chunk
    if not size:
        raise empty(name)


def empty(name: str) -> ContextError:
    """Make the error of an input without content."""
    return ContextError(
        f"{name} is empty: there is nothing to read. "
        "Leave the context out, or give one with content."
    )


def capped(names: Sequence[str]) -> tuple[str, ...]:
    """Keep the first `MAX_SKIPPED` names, and count the others."""
    if len(names) <= MAX_SKIPPED:
        return tuple(names)
    return (*names[:MAX_SKIPPED], f"... and {len(names) - MAX_SKIPPED:,} more")
