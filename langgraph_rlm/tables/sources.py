"""Sources: which files of a context may be tables, by their names and first bytes. Opens no other
part of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, manifest

Form = Literal["csv", "jsonl", "parquet", "xlsx", "sqlite"]

TEXT_FORMS: Mapping[str, Form] = {
    "csv": "csv",
    "tsv": "csv",
    "tab": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
}
"""What a text file is, by the end of its name."""
WORKBOOKS = frozenset({"xlsx", "xlsm", "xlsb", "xls", "ods"})
MAGIC: Mapping[bytes, Form] = {b"PAR1": "parquet", b"SQLite format 3\0": "sqlite"}
"""What other files are, by their first bytes."""


@dataclass(frozen=True)
class Source:
    """A file that may be one table or several."""

    path: str | None
    """Its name; None for a context that is a list."""
    form: Form
    digest: str
    """Of the blob that has its bytes."""
    piece: tuple[int, int] | None
    """First byte and end of its bytes in that blob; None for all of them."""
    span: tuple[int, int]
    """First byte and end of its text in the context's stored text."""


def sources_of(handle: ContextHandle, blobs: BlobStore) -> list[Source]:
    """Find the files of a context that may be tables.

    Raises:
        BlobError: a blob that says what the context is is missing.
    """
    if handle.kind == "list":
        return [*_list(handle, blobs)]
    if handle.kind not in ("text", "files"):
        return []
    return [*_files(handle, blobs)]


def _list(handle: ContextHandle, blobs: BlobStore) -> Iterator[Source]:
    """Give a list if it begins with a dict."""
    with blobs.path(handle.digest).open("rb") as file:
        if file.read(1) == b"{":
            yield Source(None, "jsonl", handle.digest, None, (0, handle.size))


def _files(handle: ContextHandle, blobs: BlobStore) -> Iterator[Source]:
    about = _about(handle, blobs)
    for path, start, size in manifest(handle, blobs) or _alone(handle, about):
        original = about.get(path, {}).get("original")
        span = (start, start + size)
        end = path.lower().rpartition(".")[2]
        if original is not None:
            form = _form_of_bytes(blobs, original, end)
            if form is not None:
                yield Source(path, form, original, None, span)
        elif end in TEXT_FORMS:
            is_whole = size == handle.size
            piece = None if is_whole else span
            yield Source(path, TEXT_FORMS[end], handle.digest, piece, span)


def _about(handle: ContextHandle, blobs: BlobStore) -> Mapping[str, Mapping[str, Any]]:
    return {} if handle.about is None else json.loads(blobs.get(handle.about))


def _alone(handle: ContextHandle, about: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Give the one file that a context is, if it is one."""
    if handle.source is None and not about:
        return []
    path = next(iter(about), None) or str(handle.source)
    return [(path.replace("\\", "/").rpartition("/")[2], 0, handle.size)]


def _form_of_bytes(blobs: BlobStore, digest: str, end: str) -> Form | None:
    with blobs.path(digest).open("rb") as file:
        start = file.read(16)
    for magic, form in MAGIC.items():
        if start.startswith(magic):
            return form
    if end in TEXT_FORMS:
        return TEXT_FORMS[end]
    return "xlsx" if end in WORKBOOKS else None
