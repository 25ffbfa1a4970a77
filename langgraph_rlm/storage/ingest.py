"""Ingest: stores any input as text, and gives its handle.

Never gives it back (see `context`) and never searches it (see `reads`).
"""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeGuard, cast

from langgraph_rlm.errors import BlobError, ContextError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.files import (
    File,
    Joined,
    named,
    printable,
    read_file,
    read_open,
    text_files,
)
from langgraph_rlm.storage.frames import is_frame, rows_of_frame
from langgraph_rlm.storage.json_types import is_array
from langgraph_rlm.storage.rows import (
    JSONLines,
    RowKind,
    is_langchain,
    pairs_of,
    rows_of,
    rows_one_by_one,
)
from langgraph_rlm.storage.several import is_several, names_in_code
from langgraph_rlm.storage.utf8 import Utf8

MAX_SKIPPED = 100
"""Most names of skipped files that a handle keeps."""

WANTED = (
    "Give a str, a pathlib.Path or a list of them, a list, a dict, LangChain messages or "
    "documents, a DataFrame, an iterator, a file that is open, or a dict of names to these."
)


def ingest(value: object, blobs: BlobStore) -> ContextHandle:
    """Store an input, and give its handle. Files are streamed. Blocks: call it in a thread.

    Args:
        value: a str (the content, never a path); a Path or `File` of a file or folder, or a list
            of them; bytes of text; a list or a dict of JSON values; LangChain messages or
            documents; a DataFrame of pandas or polars, as a list of its rows; an iterator of any
            of these, such as a loader's `lazy_load()`; an open file; or a handle, which is checked
            and given back.
        blobs: stores the text; the same text is stored once.

    Raises:
        ContextError: the input is missing, unreadable, binary, in another encoding, empty, not
            JSON, or of another type.
        BlobError: the store cannot be written, or no longer has the blob of a handle.
    """
    if isinstance(value, ContextHandle):
        return _checked(value, blobs)
    if isinstance(value, str):
        return _ingest_text(value, blobs)
    if isinstance(value, (bytes, bytearray)):
        return _ingest_bytes([bytes(value)], blobs, "The bytes value")
    if isinstance(value, (Path, File)):
        return _ingest_file(_file(value), blobs)
    if isinstance(value, Mapping):
        return _ingest_rows("dict", pairs_of(cast("Mapping[Any, Any]", value)), blobs)
    if is_array(value):
        return _ingest_sequence(value, blobs)
    if hasattr(value, "lazy_load"):  # a loader of LangChain's
        value = cast(Any, value).lazy_load()
    if is_langchain(value):
        return _ingest_sequence([value], blobs)
    if is_frame(value):
        return _ingest_rows("list", rows_of_frame(value), blobs)
    if hasattr(value, "read"):
        return _ingest_open(value, blobs)
    if isinstance(value, Iterator):
        return _ingest_iterator(cast("Iterator[object]", value), blobs)
    raise ContextError(f"A context cannot be a {type(value).__name__}. {WANTED}")


def ingest_all(value: object, blobs: BlobStore) -> list[ContextHandle]:
    """Store an input that may be several contexts, and give their handles.

    A dict in which one value is more than JSON, such as a Path, has a context under each of its
    names. Raises as `ingest` does.
    """
    if not is_several(value):
        return [ingest(value, blobs)]
    names = names_in_code(value)
    handles = [ingest(item, blobs) for item in value.values()]
    return [replace(handle, name=name) for name, handle in zip(names, handles, strict=True)]


def _checked(handle: ContextHandle, blobs: BlobStore) -> ContextHandle:
    """Give a handle back, whose blobs must be there."""
    for digest in filter(None, (handle.digest, handle.index)):
        if not blobs.has(digest):
            came = f" (it came from {handle.source})" if handle.source else ""
            raise BlobError(
                f"Blob {digest} of a context{came} is not in the store {blobs.location}: "
                "ingest the same input again."
            )
    return handle


# Text, bytes and files


def _ingest_text(text: str, blobs: BlobStore) -> ContextHandle:
    text = text.removeprefix("\ufeff")
    if not text:
        raise _empty("The string")
    digest, size = blobs.put_stream(
        to_bytes(text[start : start + CHUNK]) for start in range(0, len(text), CHUNK)
    )
    return ContextHandle(digest=digest, kind="text", length=len(text), size=size)


def _ingest_bytes(
    chunks: Iterable[bytes], blobs: BlobStore, name: str, source: str | None = None
) -> ContextHandle:
    utf8 = Utf8(name)
    return _ingest_utf8(utf8, utf8.check(chunks), blobs, name, source)


def _ingest_utf8(
    utf8: Utf8, text: Iterable[bytes], blobs: BlobStore, name: str, source: str | None
) -> ContextHandle:
    digest, size = blobs.put_stream(_not_empty(text, name))
    return ContextHandle(digest=digest, kind="text", length=utf8.chars, size=size, source=source)


def _ingest_open(file: Any, blobs: BlobStore) -> ContextHandle:
    if file is sys.stdin:
        file = getattr(file, "buffer", file)
    name = getattr(file, "name", None)
    source = printable(name) if isinstance(name, str) else None
    shown = source or "The open file"
    return _ingest_bytes(read_open(file, shown), blobs, shown, source)


def _ingest_file(file: File, blobs: BlobStore) -> ContextHandle:
    source = printable(str(file.path))
    if not os.path.isdir(file.path):
        utf8, text = read_file(file)
        return _ingest_utf8(utf8, text, blobs, str(file.path), source)
    files, skipped = text_files(file)
    if not files:
        others = ", ".join(skipped[:10]) or "nothing, it is empty"
        raise ContextError(f"{file.path} has no file of text to read; skipped: {others}.")
    return _ingest_files(files, blobs, source, tuple(skipped))


def _ingest_list_of_files(files: list[File], blobs: BlobStore) -> ContextHandle:
    once: dict[Path, File] = {}
    for file in files:
        if os.path.isdir(file.path):
            raise ContextError(
                f"{file.path} is a folder in a list of files. Give the folder alone, or the files "
                "in it."
            )
        once.setdefault(file.path, file)
    return _ingest_files(named([*once.values()]), blobs)


def _ingest_files(
    files: list[tuple[str, File]],
    blobs: BlobStore,
    source: str | None = None,
    skipped: tuple[str, ...] = (),
) -> ContextHandle:
    joined = Joined(files)
    shown = source or " and ".join(name for name, _ in files[:3])
    digest, size = blobs.put_stream(_not_empty(joined.chunks(), shown))
    index = blobs.put(to_bytes(json.dumps(joined.manifest, ensure_ascii=False)))
    return ContextHandle(
        digest=digest,
        kind="files",
        length=joined.chars,
        size=size,
        items=len(files),
        source=source,
        index=index,
        skipped=_capped(skipped),
    )


def _not_empty(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Pass chunks on; raise at their end if there were none, while nothing is stored yet."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        yield chunk
    if not size:
        raise _empty(name)


def _empty(name: str) -> ContextError:
    return ContextError(
        f"{name} is empty: there is nothing to read. "
        "Leave the context out, or give one with content."
    )


def _capped(names: tuple[str, ...]) -> tuple[str, ...]:
    """Keep the first `MAX_SKIPPED` names, and count the others."""
    if len(names) <= MAX_SKIPPED:
        return names
    return (*names[:MAX_SKIPPED], f"... and {len(names) - MAX_SKIPPED:,} more")


# Lists, dicts, messages and documents


def _ingest_sequence(values: Sequence[object], blobs: BlobStore) -> ContextHandle:
    if values and _are_files(values):
        return _ingest_list_of_files([_file(value) for value in values], blobs)
    kind, rows = rows_of(values)
    return _ingest_rows(kind, rows, blobs)


def _ingest_iterator(values: Iterator[object], blobs: BlobStore) -> ContextHandle:
    """Store what an iterator gives; its items are never in memory all at once, unless it gives
    files."""
    first = [*islice(values, 1)]
    values = chain(first, values)
    if first and _are_files(first):
        return _ingest_sequence([*values], blobs)
    kind, rows = rows_one_by_one(values, first)
    return _ingest_rows(kind, rows, blobs)


def _are_files(values: Sequence[object]) -> TypeGuard[Sequence[Path | File]]:
    return all(isinstance(value, (Path, File)) for value in values)


def _file(value: Path | File) -> File:
    return value if isinstance(value, File) else File(value)


def _ingest_rows(kind: RowKind, rows: Iterable[object], blobs: BlobStore) -> ContextHandle:
    name = f"The {kind}" if kind in ("list", "dict") else f"The list of {kind}"
    text = JSONLines(kind)
    digest, size = blobs.put_stream(_not_empty(text.lines(rows), name))
    return ContextHandle(digest=digest, kind=kind, length=text.chars, size=size, items=text.rows)
