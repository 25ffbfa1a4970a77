"""Shapes: what the items of a list or a dict are, said in a few words. Never reads the whole."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from langgraph_rlm.storage.json_types import is_array, is_dict

LOOKED_AT = 20
"""Items that stand for all."""
MOST_KEYS = 12
MOST_OF_A_KEY = 40
"""Characters."""
STARTS = {"{": "dict", "[": "list", '"': "str", "t": "bool", "f": "bool", "n": "NoneType"}


def shape_of(kind: str, text: str) -> str:
    """Say of what types the items of a context are, and what keys they have.

    Args:
        kind: `ContextHandle.kind`.
        text: the start of the stored text, an item a line.

    Returns:
        Such as `dict with 'id', 'text'`; empty for other kinds and for no items.
    """
    rows = [row for row in text.split("\n")[:LOOKED_AT] if row]
    if kind == "list":
        return _types([_parsed(row) for row in rows])
    if kind == "dict":
        pairs = [pair for pair in map(_parsed, rows) if is_array(pair) and len(pair) == 2]
        values = _types([pair[1] for pair in pairs])
        return f"keys {_listed(pair[0] for pair in pairs)}; values {values}" if pairs else ""
    return ""


class _Cut:
    """An item of which only the start was read."""

    def __init__(self, start: str) -> None:
        self.type = STARTS.get(start[:1], "number")


def _parsed(row: str) -> Any:
    try:
        return json.loads(row)
    except (ValueError, RecursionError):
        return _Cut(row)


def _types(items: Sequence[Any]) -> str:
    found = {_type(item): None for item in items}
    keys = {key: None for item in items if is_dict(item) for key in item}
    named = [f"dict with {_listed(keys)}" if name == "dict" and keys else name for name in found]
    return " or ".join(named)


def _type(item: Any) -> str:
    return item.type if isinstance(item, _Cut) else type(item).__name__


def _listed(keys: Iterable[Any]) -> str:
    """List keys, each cut: they are data, and may be anything."""
    shown = [repr(key if not isinstance(key, str) else key[:MOST_OF_A_KEY]) for key in keys]
    more = ", ..." if len(shown) > MOST_KEYS else ""
    return ", ".join(shown[:MOST_KEYS]) + more
