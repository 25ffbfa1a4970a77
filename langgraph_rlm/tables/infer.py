"""Infer: DuckDB's types of the columns of a list of dicts, without DuckDB.

A list is at hand in code, and most are never asked in SQL, so that no process is started to look
at one. Texts stay texts, also those that are dates.
"""

import json
from collections.abc import Iterable
from typing import Any

from langgraph_rlm.storage.json_types import is_array, is_dict

MOST_FIELDS = 200
"""Fields of a nested dict; one with more is JSON."""
MOST_LEVELS = 10
INT64 = 1 << 63
_NO_JSON = object()
"""Stands for NaN and the like, which Python writes and JSON does not have."""
Shape = str | dict[str, Any] | list[Any] | None
"""What is known of values: a type; a dict of fields; a list of what its items are; None for
nothing but nulls."""


def columns_of_rows(lines: Iterable[bytes]) -> tuple[list[tuple[str, str]], int] | None:
    """Give the columns of JSON Lines, and how many there are; None if one is no dict of JSON.

    Columns whose values differ in kind have the type JSON, which takes any.
    """
    columns: dict[str, Shape] = {}
    count = 0
    for line in lines:
        row = json.loads(line, parse_constant=lambda _: _NO_JSON)
        if not is_dict(row) or _NO_JSON in row.values():
            return None
        count += 1
        for name, value in row.items():
            columns[name] = _merged(columns.get(name), _shape(value, 0))
    taken: dict[str, str] = {}
    for name in columns:
        if taken.setdefault(name.lower(), name) != name:  # DuckDB takes them for one
            return None
    return [(name, _type(shape)) for name, shape in columns.items()], count


def _shape(value: Any, level: int) -> Shape:
    if value is None or value is _NO_JSON:
        return None
    if isinstance(value, bool):
        return "BOOLEAN"
    if isinstance(value, int):
        return "BIGINT" if -INT64 <= value < INT64 else "JSON"
    if isinstance(value, float):
        return "DOUBLE"
    if isinstance(value, str):
        return "VARCHAR"
    if level >= MOST_LEVELS:
        return "JSON"
    if is_dict(value):
        return {name: _shape(inner, level + 1) for name, inner in value.items()}
    items: Shape = None
    for inner in value if is_array(value) else []:
        items = _merged(items, _shape(inner, level + 1))
    return [items]


def _merged(one: Shape, other: Shape) -> Shape:
    """Give what both are."""
    if one is None or one == other:
        return other
    if other is None:
        return one
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            name: _merged(one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])
        }
    if isinstance(one, list) and isinstance(other, list):
        return [_merged(one[0], other[0])]
    return "DOUBLE" if {str(one), str(other)} == {"BIGINT", "DOUBLE"} else "JSON"


def _type(shape: Shape) -> str:
    """Write a type in SQL."""
    if isinstance(shape, str):
        return shape
    if isinstance(shape, list):
        return f"{_type(shape[0])}[]"
    if not shape or len(shape) > MOST_FIELDS or len({name.lower() for name in shape}) < len(shape):
        return "JSON"
    return f"STRUCT({', '.join(_field(name, inner) for name, inner in shape.items())})"


def _field(name: str, shape: Shape) -> str:
    quoted = name.replace('"', '""')
    return f'"{quoted}" {_type(shape)}'
