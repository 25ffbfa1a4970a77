"""Rows: lists, dicts, LangChain messages and documents, written as JSON Lines. Stores nothing."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.attached import TEXT_BLOCKS, Attached, Elsewhere, attached
from langgraph_rlm.storage.blobs import to_bytes
from langgraph_rlm.storage.json_types import is_array, is_dict
from langgraph_rlm.storage.media import Media, described

RowKind = Literal["list", "dict", "messages", "documents"]

ROLES = {"human": "user", "ai": "assistant"}
"""OpenAI's names of LangChain's message types, where they differ."""

MAX_LEVELS = 100
"""How deep a value is searched for what JSON cannot hold."""


class JSONLines:
    """Rows as JSON Lines, and how many characters they have."""

    def __init__(self, kind: RowKind) -> None:
        self._kind: RowKind = kind
        self.chars = 0
        """Characters written so far."""
        self.rows = 0
        """Rows written so far."""

    def lines(self, rows: Iterable[object]) -> Iterator[bytes]:
        """Write a line for each row.

        Raises:
            ContextError: a row has something that JSON cannot hold.
        """
        for position, row in enumerate(rows):
            line = _json_line(row, self._kind, position)
            self.chars += len(line)
            self.rows += 1
            yield to_bytes(line)


Keep = Callable[[str, Attached], None]
"""Takes a picture or a sound of a message, with the name that the message's row gives it."""


def rows_of(
    values: Sequence[object], keep: Keep, start: int = 0
) -> tuple[RowKind, Sequence[object]]:
    """Tell what a list holds, and make its rows: of messages or documents alone, else as it is.

    Args:
        values: the list.
        keep: takes the pictures and sounds of messages.
        start: the number of its first item.
    """
    if not values or not is_langchain(values[0]):
        return "list", values
    from langchain_core.documents import Document
    from langchain_core.messages import BaseMessage

    if all(isinstance(value, BaseMessage) for value in values):
        numbered = enumerate(values, start)
        return "messages", [_message_row(value, number, keep) for number, value in numbered]
    if all(isinstance(value, Document) for value in values):
        return "documents", [_document_row(value) for value in values]
    return "list", values


def rows_one_by_one(
    values: Iterable[object], first: Sequence[object], keep: Keep
) -> tuple[RowKind, Iterator[object]]:
    """Do what `rows_of` does for an iterator, whose first item tells what it holds.

    Args:
        values: all items, `first` included.
        first: the first one; none of nothing.
        keep: as `rows_of` takes it.
    """
    kind, _ = rows_of(first, keep)
    return kind, _rows(values, kind, keep)


def _rows(values: Iterable[object], kind: RowKind, keep: Keep) -> Iterator[object]:
    for position, value in enumerate(values):
        found, rows = rows_of([value], keep, position)
        if found != kind and kind != "list":
            raise ContextError(
                f"Item {position} of the iterator is a {type(value).__name__} among {kind}: "
                "give contexts of different kinds under names of their own, in a dict."
            )
        yield from rows


def pairs_of(mapping: Mapping[Any, Any]) -> list[list[object]]:
    """Make the rows of a dict: `[key, value]` each.

    Raises:
        ContextError: a key is one that JSON cannot hold.
    """
    for key in mapping:
        if not _is_scalar(key):
            raise ContextError(
                f"The dict is not JSON: it has a {type(key).__name__} as a key, {key!r}. "
                "Use str or numbers as keys."
            )
    return [[key, value] for key, value in mapping.items()]


def is_langchain(value: object) -> bool:
    """Whether a value is of a class of LangChain's, or of a child of one. Does not import it."""
    return any(parent.__module__.startswith("langchain") for parent in type(value).__mro__)


def _message_row(message: Any, number: int, keep: Keep) -> dict[str, object]:
    role = message.role if message.type == "chat" else ROLES.get(message.type, message.type)
    row = {"role": role, "content": _message_content(message, number, keep)}
    extras = {name: getattr(message, name, None) for name in ("name", "tool_calls", "tool_call_id")}
    return row | {name: value for name, value in extras.items() if value}


def _message_content(message: Any, number: int, keep: Keep) -> object:
    """Give a message's text; or all its blocks, where one of them is not text."""
    blocks = message.content
    if isinstance(blocks, str):
        return str(message.text)
    if all(isinstance(block, str) or block.get("type") == "text" for block in blocks):
        return str(message.text)
    return [_block(block, f"message {number}, part {at}", keep) for at, block in enumerate(blocks)]


def _block(block: Any, name: str, keep: Keep) -> object:
    """Give a block as data; of a picture or a sound, only what it is and the name to show it by.

    Base64 is for no reader of a conversation, and earlier messages may have anything in them: what
    cannot be read is told as such.
    """
    kind = block.get("type") if is_dict(block) else "text"
    if kind in TEXT_BLOCKS:
        return block
    try:
        found = attached(block)
    except ContextError as error:
        return {"type": kind, "is": str(error)}
    if isinstance(found, Media | Elsewhere):
        keep(name, found)
        return {"type": kind, "is": described(found.facts), "name": name}
    if isinstance(found, bytes):
        return {"type": kind, "is": f"file of {len(found):,} bytes"}
    return block


def _document_row(document: Any) -> dict[str, object]:
    """Make a document's row. Loaders put dates and ids in metadata; they become strings."""
    metadata = json.loads(json.dumps(document.metadata, default=str))
    row: dict[str, object] = {"page_content": document.page_content, "metadata": metadata}
    if document.id:
        row["id"] = document.id
    return row


def _json_line(row: object, kind: RowKind, position: int) -> str:
    try:
        return json.dumps(row, ensure_ascii=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise ContextError(
            f"The {kind} is not JSON: {_what_is_odd(row, kind, position, error)}. "
            "Turn it into str, numbers, bools, None, lists and dicts."
        ) from None


def _what_is_odd(row: Any, kind: RowKind, position: int, error: Exception) -> str:
    """Say where in a row the first value is that JSON cannot hold, else what `json` said."""
    key, value = row if kind == "dict" else (position, row)
    name = f"{kind}[{key!r}]"
    return _find_odd(value, name) or f"{name}: {error}"


def _find_odd(value: Any, where: str, depth: int = 0) -> str:
    """Say where the first value is that JSON cannot hold, and its type; "" when none is found."""
    if _is_scalar(value) or depth > MAX_LEVELS:
        return ""
    if is_dict(value):
        inside: Iterable[tuple[Any, Any]] = value.items()
    elif is_array(value):
        inside = enumerate(value)
    else:
        return f"{where} is a {type(value).__name__}"
    for key, item in inside:
        if not _is_scalar(key):
            return f"{where} has a {type(key).__name__} as a key"
        if found := _find_odd(item, f"{where}[{key!r}]", depth + 1):
            return found
    return ""


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float))
