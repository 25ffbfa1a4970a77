"""Context: turns any input into a handle and stored text, and back into what code sees. Never searches it (see `reads`)."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from typing_extensions import TypedDict

from langgraph_rlm.errors import BlobError, ContextError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore, to_bytes, to_text
from langgraph_rlm.storage.files import (
    Joined,
    Utf8,
    named,
    printable,
    read_file,
    read_open,
    text_files,
)

Kind = Literal["text", "list", "dict", "messages", "documents", "files"]
MAX_SKIPPED = 100
"""Most names of skipped files that a handle keeps."""
_ROLES = {"human": "user", "ai": "assistant"}
_WANTED = "Give a str, a pathlib.Path or a list of them, a list, a dict, LangChain messages or documents, or a file that is open."


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


@dataclass(frozen=True)
class ContextHandle:
    """One context by reference: plain values only, so that it fits in a checkpoint whatever the context's size.

    The stored text is, by `kind`: text: itself; list: an item a line, as JSON; dict: a `[key, value]` a line; messages:
    a `{"role", "content", ...}` a line; documents: a `{"page_content", "metadata", "id"?}` a line; files: one after the other.
    """

    digest: str
    """sha256 of the stored text's bytes."""
    kind: Kind
    length: int
    """Characters of the stored text."""
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
    """What a folder had and was not read, with the reason; the first `MAX_SKIPPED`."""

    def as_dict(self) -> "HandleDict":
        """Plain values for state: any checkpointer takes them."""
        return cast("HandleDict", vars(self) | {"skipped": list(self.skipped)})

    @staticmethod
    def from_dict(given: "HandleDict") -> "ContextHandle":
        """The handle that `as_dict` came from."""
        values: dict[str, Any] = {**given, "skipped": tuple(given["skipped"])}
        return ContextHandle(**values)

    @property
    def ascii(self) -> bool:
        """Whether a character is a byte."""
        return self.length == self.size


def ingest(value: object, blobs: BlobStore) -> ContextHandle:
    """Store an input, and give its handle. Files are streamed. Blocks: call it in a thread.

    Args:
        value: a str (the content, never a path); a Path of a file or folder, or a list of them; UTF-8 bytes; a list or a dict of
            JSON values; LangChain messages or documents; an open file; or a handle, which is checked and given back.
        store: where the text goes; the same text is stored once.

    Raises:
        ContextError: the input is missing, unreadable, binary, not UTF-8, empty, not JSON, or of another type.
        BlobError: the store cannot be written, or no longer has the blob of a handle.
    """
    if isinstance(value, ContextHandle):
        return _checked(value, blobs)
    if isinstance(value, str):
        return _ingest_text(value, blobs)
    if isinstance(value, (bytes, bytearray)):
        return _ingest_bytes([bytes(value)], blobs, "The bytes value")
    if isinstance(value, Path):
        return _ingest_folder(value, blobs) if os.path.isdir(value) else _ingest_file(value, blobs)
    if isinstance(value, Mapping):
        return _ingest_rows("dict", _pairs(cast("Mapping[object, object]", value)), blobs)
    if isinstance(value, (list, tuple)):
        return _ingest_sequence(cast("Sequence[object]", value), blobs)
    if _is_langchain(value):
        return _ingest_sequence([value], blobs)
    if hasattr(value, "read"):
        return _ingest_open(value, blobs)
    raise ContextError(f"A context cannot be a {type(value).__name__}. {_WANTED}")


def materialize(
    handle: ContextHandle, blobs: BlobStore, *, exact: bool = True
) -> str | list[Any] | dict[Any, Any]:
    """What code sees as `context`: a str; a list (of items, of message dicts, of document dicts); a dict (for files: path to text).

    Args:
        exact: False for `?` in place of lone surrogates, which no interpreter takes.

    Raises:
        BlobError: a blob is missing or altered.
    """
    data, text = blobs.get(handle.digest), to_text if exact else _encodable
    if handle.kind == "text":
        return text(data)
    if handle.kind == "files":
        return {
            path: text(data[start : start + size]) for path, start, size in manifest(handle, blobs)
        }
    rows = [json.loads(line) for line in text(data).split("\n")[:-1]]
    return dict(rows) if handle.kind == "dict" else rows


def manifest(handle: ContextHandle, blobs: BlobStore) -> list[tuple[str, int, int]]:
    """The files of a handle, in order: path, first byte in the stored text, bytes. Empty for other kinds.

    Raises:
        BlobError: the manifest's blob is missing or altered.
    """
    if handle.index is None:
        return []
    return [(path, start, size) for path, start, size in json.loads(blobs.get(handle.index))]


def _encodable(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return encodable(to_text(data))


def encodable(text: str) -> str:
    """The text with `?` for lone surrogates: models and users write them at times, and neither clients nor sandboxes take them."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _checked(handle: ContextHandle, blobs: BlobStore) -> ContextHandle:
    for digest in filter(None, (handle.digest, handle.index)):
        if not blobs.has(digest):
            came = f" (it came from {handle.source})" if handle.source else ""
            raise BlobError(
                f"Blob {digest} of a context{came} is not in the store {blobs.place}: ingest the same input again."
            )
    return handle


# Text, bytes and files


def _ingest_text(text: str, blobs: BlobStore) -> ContextHandle:
    text = text.removeprefix("\ufeff")
    if not text:
        raise _empty("The string")
    digest, size = blobs.put_stream(
        to_bytes(text[i : i + CHUNK]) for i in range(0, len(text), CHUNK)
    )
    return ContextHandle(digest=digest, kind="text", length=len(text), size=size)


def _ingest_bytes(
    chunks: Iterable[bytes], blobs: BlobStore, name: str, source: str | None = None
) -> ContextHandle:
    utf8 = Utf8(name)
    digest, size = blobs.put_stream(_not_empty(utf8.check(chunks), name))
    return ContextHandle(digest=digest, kind="text", length=utf8.chars, size=size, source=source)


def _ingest_open(file: Any, blobs: BlobStore) -> ContextHandle:
    file = getattr(file, "buffer", file) if file is sys.stdin else file
    name = getattr(file, "name", None)
    source = printable(name) if isinstance(name, str) else None
    return _ingest_bytes(
        read_open(file, source or "The open file"), blobs, source or "The open file", source
    )


def _ingest_file(path: Path, blobs: BlobStore) -> ContextHandle:
    return _ingest_bytes(read_file(path), blobs, str(path), printable(str(path)))


def _not_empty(chunks: Iterable[bytes], name: str) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        yield chunk
    if not size:
        raise _empty(name)  # from here, so that nothing is stored


def _empty(name: str) -> ContextError:
    return ContextError(
        f"{name} is empty: there is nothing to read. Leave the context out, or give one with content."
    )


def _ingest_folder(root: Path, blobs: BlobStore) -> ContextHandle:
    files, skipped = text_files(root)
    if not files:
        raise ContextError(
            f"{root} has no file of text to read; skipped: {', '.join(skipped[:10]) or 'nothing, it is empty'}."
        )
    return _ingest_files(files, blobs, printable(str(root)), tuple(skipped))


def _ingest_paths(paths: list[Path], blobs: BlobStore) -> ContextHandle:
    if folder := next((path for path in paths if os.path.isdir(path)), None):
        raise ContextError(
            f"{folder} is a folder in a list of files. Give the folder alone, or the files in it."
        )
    return _ingest_files(named(list(dict.fromkeys(paths))), blobs)


def _ingest_files(
    files: list[tuple[str, Path]],
    blobs: BlobStore,
    source: str | None = None,
    skipped: tuple[str, ...] = (),
) -> ContextHandle:
    joined = Joined(files)
    digest, size = blobs.put_stream(
        _not_empty(joined.chunks(), source or " and ".join(name for name, _ in files[:3]))
    )
    index = blobs.put(to_bytes(json.dumps(joined.places, ensure_ascii=False)))
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


def _capped(names: tuple[str, ...]) -> tuple[str, ...]:
    return (
        names
        if len(names) <= MAX_SKIPPED
        else (*names[:MAX_SKIPPED], f"... and {len(names) - MAX_SKIPPED:,} more")
    )


# Lists, dicts, messages and documents


def _ingest_sequence(values: Sequence[object], blobs: BlobStore) -> ContextHandle:
    if values and all(isinstance(value, Path) for value in values):
        return _ingest_paths(cast("list[Path]", list(values)), blobs)
    if values and _is_langchain(values[0]):
        from langchain_core.documents import Document
        from langchain_core.messages import BaseMessage

        if all(isinstance(value, BaseMessage) for value in values):
            return _ingest_rows("messages", [_message_row(value) for value in values], blobs)
        if all(isinstance(value, Document) for value in values):
            return _ingest_rows("documents", [_document_row(value) for value in values], blobs)
    return _ingest_rows("list", values, blobs)


def _is_langchain(value: object) -> bool:
    """Whether the value is of LangChain's classes, or of a child of one; does not import LangChain."""
    return any(parent.__module__.startswith("langchain") for parent in type(value).__mro__)


def _message_row(message: Any) -> dict[str, object]:
    role = message.role if message.type == "chat" else _ROLES.get(message.type, message.type)
    blocks = [message.content] if isinstance(message.content, str) else message.content
    plain = all(isinstance(block, str) or block.get("type") == "text" for block in blocks)
    row = {"role": role, "content": str(message.text) if plain else blocks}
    extras = {name: getattr(message, name, None) for name in ("name", "tool_calls", "tool_call_id")}
    return row | {name: value for name, value in extras.items() if value}


def _document_row(document: Any) -> dict[str, object]:
    """Loaders put dates and ids in metadata: what JSON has no word for becomes a string."""
    metadata = json.loads(json.dumps(document.metadata, default=str))
    row: dict[str, object] = {"page_content": document.page_content, "metadata": metadata}
    return row | ({"id": document.id} if document.id else {})


def _ingest_rows(kind: Kind, rows: Sequence[object], blobs: BlobStore) -> ContextHandle:
    if not rows:
        raise _empty(f"The {kind}" if kind in ("list", "dict") else f"The list of {kind}")
    count = _Count()
    digest, size = blobs.put_stream(count.lines(kind, rows))
    return ContextHandle(digest=digest, kind=kind, length=count.chars, size=size, items=len(rows))


class _Count:
    """Rows to JSON Lines, counting characters."""

    chars = 0

    def lines(self, kind: Kind, rows: Iterable[object]) -> Iterator[bytes]:
        for position, row in enumerate(rows):
            line = _json_line(row, kind, position)
            self.chars += len(line)
            yield to_bytes(line)


def _json_line(row: object, kind: Kind, position: int) -> str:
    try:
        return json.dumps(row, ensure_ascii=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        key, value = cast("list[object]", row) if kind == "dict" else (position, row)
        where = _find_odd(value, f"{kind}[{key!r}]") or f"{kind}[{key!r}]: {error}"
        raise ContextError(
            f"The {kind} is not JSON: {where}. Turn it into str, numbers, bools, None, lists and dicts."
        ) from None


def _find_odd(value: object, where: str, depth: int = 0) -> str:
    """Where the first value is that JSON cannot hold, and its type; "" when there is none within 100 levels."""
    if isinstance(value, (str, int, float, type(None))) or depth > 100:
        return ""
    if isinstance(value, (list, tuple)):
        inside: Iterable[tuple[object, object]] = enumerate(cast("Sequence[object]", value))
    elif isinstance(value, dict):
        inside = cast("dict[object, object]", value).items()
    else:
        return f"{where} is a {type(value).__name__}"
    for key, item in inside:
        if not isinstance(key, (str, int, float, type(None))):
            return f"{where} has a {type(key).__name__} as a key"
        if found := _find_odd(item, f"{where}[{key!r}]", depth + 1):
            return found
    return ""


def _pairs(mapping: Mapping[object, object]) -> list[list[object]]:
    for key in mapping:
        if not isinstance(key, (str, int, float, type(None))):
            raise ContextError(
                f"The dict is not JSON: it has a {type(key).__name__} as a key, {key!r}. Use str or numbers as keys."
            )
    return [[key, value] for key, value in mapping.items()]
