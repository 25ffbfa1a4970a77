"""Monty's values: what of the host's fits through to the guest, and how the guest's come out.

Monty takes frames of up to 256 MiB. One that is larger, or that the guest has no room for, leaves
the session unable to continue, so sizes are counted before anything is sent.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pydantic_monty as monty

from langgraph_rlm.log.text import clip
from langgraph_rlm.repl.base import Answer, Raised, Value
from langgraph_rlm.storage.context import encodable

MAX_FRAME = 268_435_456
"""Most bytes of one message to or from a worker of Monty."""

MAX_VALUE_BYTES = MAX_FRAME - 1024
"""Most bytes of a value: the rest of its message takes some 30."""

NODE_BYTES = 12
"""Bytes of a message that each part of a value takes beside its own: 7 to 10 were measured."""

SCALAR_HEAP, TEXT_HEAP, LIST_HEAP, DICT_HEAP = 100, 190, 150, 180
"""Memory of the guest that a part of a value takes while it is loaded, at the least.

Measured: 110 for a number, 215 for a text beside its bytes, 183 for a list, 227 for a dict.
"""

TEXT_SHARE = 1.9
"""Memory that loading a text takes, in its bytes: 1.9 to 2.0 were measured."""

MAX_PARTS = 8_100_000
"""Most parts of a value that Monty takes apart, however much memory there is: 8,092,578 passed."""

MAX_MESSAGE_CHARS = 100_000
"""Most characters of an exception that a host call raises in the guest."""

MAX_CHARS_OUT = 4 * MAX_FRAME
"""Most characters of a value from a guest, once it is written out."""

ARRAYS = (list, tuple, set, frozenset)


@dataclass(frozen=True)
class Size:
    """What a value takes on its way into a guest."""

    parts: int
    bytes: int
    """Of the message that carries it, at the most."""
    heap: int
    """Of the guest's memory, at the least."""
    has_surrogates: bool
    """Whether a text in it has half a character."""


def size_of(value: Value) -> Size:
    """Count what a value takes, level by level: a loop over its parts would take as long as Monty.

    There is no recursion, since it may be nested deeply.
    """
    parts = payload = heap = 0
    has_surrogates = False
    level: list[Any] = [value]
    while level:
        texts = [item for item in level if type(item) is str]
        lists: list[list[Any]] = [item for item in level if type(item) is list]
        dicts: list[dict[Any, Any]] = [item for item in level if type(item) is dict]
        size, is_odd = _utf8("".join(texts))
        has_surrogates = has_surrogates or is_odd
        others = len(level) - len(texts) - len(lists) - len(dicts)
        parts += len(level)
        payload += size + 8 * others + _long_ints(level)
        heap += int(TEXT_SHARE * size) + SCALAR_HEAP * others
        heap += TEXT_HEAP * len(texts) + LIST_HEAP * len(lists) + DICT_HEAP * len(dicts)
        level = _below(lists, dicts)
    return Size(parts, payload + NODE_BYTES * parts, heap, has_surrogates)


def obstacle_out(value: Value) -> str:
    """Say why a guest's value cannot be handed to the host; empty if it can.

    What stands in it several times came through once, and is one object here. Written out, a list
    of forty lists, each of two references to the one before, has a million million parts.
    """
    parts = chars = 0
    level: list[Any] = [value]
    while level:
        arrays: list[Collection[Any]] = [item for item in level if isinstance(item, ARRAYS)]
        dicts: list[dict[Any, Any]] = [item for item in level if isinstance(item, dict)]
        chars += sum(len(item) for item in level if isinstance(item, str | bytes))
        parts += len(level)
        ahead = parts + sum(map(len, arrays)) + 2 * sum(map(len, dicts))
        if ahead > MAX_PARTS:
            return f"it has {ahead:,} parts or more, and at most {MAX_PARTS:,} can be handed over"
        if chars > MAX_CHARS_OUT:
            return f"it has {chars:,} characters, and at most {MAX_CHARS_OUT:,} can be handed over"
        level = _below(arrays, dicts)
    return ""


def _below(arrays: Iterable[Iterable[Any]], dicts: Sequence[dict[Any, Any]]) -> list[Any]:
    """Give the items of arrays, and the keys and values of dicts."""
    items = chain.from_iterable(arrays)
    keys = chain.from_iterable(dicts)
    return [*items, *keys, *chain.from_iterable(each.values() for each in dicts)]


def room_for_code(code: str) -> int:
    """Give how many bytes of values the message that carries a cell has room for."""
    return MAX_VALUE_BYTES - len(code.encode(errors="replace"))


def _utf8(text: str) -> tuple[int, bool]:
    """Count the bytes of a text, and tell whether it has lone surrogates."""
    if text.isascii():
        return len(text), False
    try:
        return len(text.encode()), False
    except UnicodeEncodeError:
        return len(text.encode(errors="replace")), True


def _long_ints(level: Sequence[Any]) -> int:
    """Count the bytes of integers beyond 8 each."""
    return sum(item.bit_length() // 7 for item in level if type(item) is int and item >> 56)


def obstacle(size: Size, max_heap_bytes: int) -> str:
    """Say why a value of that size cannot be handed to a guest; empty if it can."""
    if size.bytes > MAX_VALUE_BYTES:
        return f"it takes {size.bytes:,} bytes, and at most {MAX_VALUE_BYTES:,} can be handed over"
    if size.parts > MAX_PARTS:
        return f"it has {size.parts:,} parts, and at most {MAX_PARTS:,} can be handed over"
    if size.heap > max_heap_bytes:
        return f"it takes {size.heap:,} bytes of memory, and there are {max_heap_bytes:,}"
    return ""


def sendable(value: Value, size: Size) -> Value:
    """Put `?` for lone surrogates, which a model's reply can hold and Monty refuses."""
    if not size.has_surrogates:
        return value
    if isinstance(value, str):
        return encodable(value)
    return json.loads(encodable(json.dumps(value, ensure_ascii=False)))


def result_of(answer: Answer, max_heap_bytes: int) -> monty.ExternalResult:
    """Make what Monty takes for the answer to a call, whatever its size."""
    if isinstance(answer, Raised):
        message = clip(answer.message, limit=MAX_MESSAGE_CHARS)
        return {"exc_type": answer.type, "message": sendable(message, size_of(message))}
    size = size_of(answer.value)
    if why := obstacle(size, max_heap_bytes):
        return {"exc_type": "MemoryError", "message": f"the answer is too large: {why}"}
    return {"return_value": sendable(answer.value, size)}
