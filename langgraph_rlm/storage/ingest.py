"""Ingest: stores any input as text, and gives its handle.

Never gives it back (see `context`) and never searches it (see `reads`).
"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeGuard, cast

from langgraph_rlm.errors import BlobError, ContextError
from langgraph_rlm.storage.attached import Elsewhere
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle, facts_of
from langgraph_rlm.storage.files import File, printable, read_open
from langgraph_rlm.storage.frames import is_frame, rows_of_frame
from langgraph_rlm.storage.ingest_files import (
    empty,
    ingest_file,
    ingest_list_of_files,
    ingest_stream,
    not_empty,
)
from langgraph_rlm.storage.ingest_media import KeptMedia, ingest_media
from langgraph_rlm.storage.joined import OnFile
from langgraph_rlm.storage.json_types import is_array
from langgraph_rlm.storage.media import Media
from langgraph_rlm.storage.rows import (
    JSONLines,
    RowKind,
    is_langchain,
    pairs_of,
    rows_of,
    rows_one_by_one,
)
from langgraph_rlm.storage.several import is_several, names_in_code

SLICE = 1 << 16
"""Characters of a str that are encoded at a time: memory for more would be new for each, which
takes a fifth longer."""

WANTED = (
    "Give a str, a pathlib.Path or a list of them, a list, a dict, LangChain messages or "
    "documents, a DataFrame, an iterator, a file that is open, or a dict of names to these."
)


def ingest(value: object, blobs: BlobStore, *, on_file: OnFile | None = None) -> ContextHandle:
    """Store an input, and give its handle. Files are streamed. Blocks: call it in a thread.

    Args:
        value: a str (the content, never a path); a Path or `File` of a file or folder, or a list
            of them; bytes of a file of any kind; a list or a dict of JSON values; LangChain
            messages or documents; a DataFrame of pandas or polars, as a list of its rows; an
            iterator of any of these, such as a loader's `lazy_load()`; an open file; what comes in
            a message beside text (`attached.py`); or a handle, which is checked and given back.
        blobs: stores the text; the same text is stored once.
        on_file: called after each file of a folder or a list, in this thread; None to log how far
            it is (`langgraph_rlm.storage`, INFO) when it takes longer than a second.

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
        return ingest_stream([bytes(value)], blobs, "The bytes value")
    if isinstance(value, (Path, File)):
        return ingest_file(_file(value), blobs, on_file)
    if isinstance(value, Mapping):
        return _ingest_rows("dict", pairs_of(cast("Mapping[Any, Any]", value)), blobs)
    if isinstance(value, (Media, Elsewhere)):
        return ingest_media(value, blobs)
    if is_array(value):
        return _ingest_sequence(value, blobs, on_file)
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


def ingest_all(
    value: object, blobs: BlobStore, *, on_file: OnFile | None = None
) -> list[ContextHandle]:
    """Store an input that may be several contexts, and give their handles.

    A dict in which one value is more than JSON, such as a Path, has a context under each of its
    names. Raises as `ingest` does.
    """
    if not is_several(value):
        return [ingest(value, blobs, on_file=on_file)]
    names = names_in_code(value)
    handles = [ingest(item, blobs, on_file=on_file) for item in value.values()]
    return [replace(handle, name=name) for name, handle in zip(names, handles, strict=True)]


def _checked(handle: ContextHandle, blobs: BlobStore) -> ContextHandle:
    """Give a handle back, whose blobs must be there. All of them get younger."""
    digests = [handle.digest, handle.index, handle.about]
    if handle.about is not None and blobs.has(handle.about):
        digests += [facts.get("original") for facts in facts_of(handle, blobs).values()]
    for digest in filter(None, digests):
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
        raise empty("The string")
    digest, size = blobs.put_stream(
        to_bytes(text[start : start + SLICE]) for start in range(0, len(text), SLICE)
    )
    return ContextHandle(digest=digest, kind="text", length=len(text), size=size)


def _ingest_open(file: Any, blobs: BlobStore) -> ContextHandle:
    if file is sys.stdin:
        file = getattr(file, "buffer", file)
    name = getattr(file, "name", None)
    source = printable(name) if isinstance(name, str) else None
    shown = source or "The open file"
    return ingest_stream(read_open(file, shown), blobs, shown, source)


# Lists, dicts, messages and documents


def _ingest_sequence(
    values: Sequence[object], blobs: BlobStore, on_file: OnFile | None = None
) -> ContextHandle:
    if values and _are_files(values):
        return ingest_list_of_files([_file(value) for value in values], blobs, on_file)
    kept = KeptMedia(blobs)
    kind, rows = rows_of(values, kept.keep)
    return kept.noted_in(_ingest_rows(kind, rows, blobs))


def _ingest_iterator(values: Iterator[object], blobs: BlobStore) -> ContextHandle:
    """Store what an iterator gives; its items are never in memory all at once, unless it gives
    files."""
    first = [*islice(values, 1)]
    values = chain(first, values)
    if first and _are_files(first):
        return _ingest_sequence([*values], blobs)
    kept = KeptMedia(blobs)
    kind, rows = rows_one_by_one(values, first, kept.keep)
    return kept.noted_in(_ingest_rows(kind, rows, blobs))


def _are_files(values: Sequence[object]) -> TypeGuard[Sequence[Path | File]]:
    return all(isinstance(value, (Path, File)) for value in values)


def _file(value: Path | File) -> File:
    return value if isinstance(value, File) else File(value)


def _ingest_rows(kind: RowKind, rows: Iterable[object], blobs: BlobStore) -> ContextHandle:
    name = f"The {kind}" if kind in ("list", "dict") else f"The list of {kind}"
    text = JSONLines(kind)
    digest, size = blobs.put_stream(not_empty(text.lines(rows), name))
    return ContextHandle(digest=digest, kind=kind, length=text.chars, size=size, items=text.rows)
