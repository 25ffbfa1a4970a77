"""Frames: rows of a pandas or polars DataFrame, as JSON values. Imports neither of them."""

from collections.abc import Iterator
from typing import Any

from langgraph_rlm.storage.json_types import is_array, is_dict

PACKAGES = ("pandas", "polars")
PART_ROWS = 10_000
"""Rows that are made into Python values at a time."""


def is_frame(value: object) -> bool:
    """Whether a value is a DataFrame, or of a child of its class."""
    return any(
        parent.__name__ == "DataFrame" and parent.__module__.partition(".")[0] in PACKAGES
        for parent in type(value).__mro__
    )


def rows_of_frame(frame: Any) -> Iterator[dict[str, object]]:
    """Give the rows, first to last: a dict each, from column to value.

    What is missing (NaN, NaT, null) is None. Times are ISO 8601, and what else JSON has no word for
    is its `str`. An index of pandas that is more than a count of the rows is a column too.

    Args:
        frame: a DataFrame.
    """
    if hasattr(frame, "iter_rows"):  # polars
        rows: Iterator[dict[Any, Any]] = frame.iter_rows(named=True)
    else:
        rows = _pandas_rows(frame)
    for row in rows:
        yield {_column(name): _plain(value) for name, value in row.items()}


def _pandas_rows(frame: Any) -> Iterator[dict[Any, Any]]:
    is_counted = frame.index.nlevels == 1 and frame.index.name is None
    if not (is_counted and type(frame.index).__name__ == "RangeIndex"):
        frame = frame.reset_index()
    for first in range(0, len(frame), PART_ROWS):
        part = frame.iloc[first : first + PART_ROWS]
        yield from part.astype(object).where(part.notna(), None).to_dict("records")


def _column(name: object) -> str:
    """Name a column; one of several levels has a tuple."""
    return " ".join(map(str, name)) if is_array(name) else str(name)


def _plain(value: Any) -> object:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if is_dict(value):
        return {str(key): _plain(item) for key, item in value.items()}
    if is_array(value):
        return [_plain(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)
