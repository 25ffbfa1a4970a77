"""Values: what DuckDB gives, as JSON values. Runs in the worker."""

import json
import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from langgraph_rlm.storage.json_types import is_array, is_dict

MAX_LEVELS = 100
"""How deep lists and dicts go; what is below is text."""


class TooLong(ValueError):
    """The answer has more characters than one answer may have."""


def rows_as_json(
    names: Sequence[str], types: Sequence[str], rows: Iterable[Sequence[Any]], max_chars: int
) -> str:
    """Write rows as a JSON list of objects.

    Args:
        names: of the columns; one that comes again gets a number, such as `id_2`.
        types: of the columns, as DuckDB writes them.
        rows: their values.
        max_chars: most characters of the list.

    Raises:
        TooLong: it has more.
    """
    keys = unique(names)
    parsed = [kind == "JSON" for kind in types]
    lines: list[str] = []
    chars = 2
    for row in rows:
        pairs = zip(keys, row, parsed, strict=True)
        line = json.dumps({key: _cell(value, is_json) for key, value, is_json in pairs})
        chars += len(line) + 1
        if chars > max_chars:
            raise TooLong(
                f"The answer has more than {max_chars:,} characters. Lower max_rows, name fewer "
                "columns, or cut texts with left(column, 200)."
            )
        lines.append(line)
    return f"[{','.join(lines)}]"


def unique(names: Iterable[str]) -> list[str]:
    """Make names differ, also for those who take capitals for small letters."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        number, new = 2, name
        while new.lower() in taken:
            new = f"{name}_{number}"
            number += 1
        taken.add(new.lower())
        found.append(new)
    return found


def _cell(value: Any, is_json: bool) -> Any:
    if is_json and isinstance(value, str):
        try:
            return _value(json.loads(value), 0)
        except (ValueError, RecursionError):
            return value
    return _value(value, 0)


def _value(value: Any, level: int) -> Any:
    """Make a JSON value: see docs/storage.md, "Tables"."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _decimal(value)
    if isinstance(value, datetime):
        return value.isoformat(" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return value.hex()
    if level < MAX_LEVELS and is_dict(value):
        return {str(key): _value(inner, level + 1) for key, inner in value.items()}
    if level < MAX_LEVELS and is_array(value):
        return [_value(inner, level + 1) for inner in value]
    return str(value)


def _decimal(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() else float(value)
