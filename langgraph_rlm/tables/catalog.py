"""Catalog: the tables among the contexts, with their columns, as they are kept and shown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.tables.names import distinct, sql_name
from langgraph_rlm.tables.sources import Form

SHOWN_TABLES = 10
SHOWN_COLUMNS = 12
NAME_CHARS = 40
"""Most characters that are shown of a column's name, and of its type."""


@dataclass(frozen=True)
class Table:
    """One table, as it was found when its context was stored: plain values only."""

    name: str
    """Its name in SQL."""
    path: str | None
    """Its file; None for a context that is a list."""
    part: str | None
    """The sheet or table within the file, where it may have several."""
    form: Form
    digest: str
    """Of the blob that has the file's bytes."""
    piece: tuple[int, int] | None
    """First byte and end of the file in that blob; None for all of it."""
    span: tuple[int, int]
    """First byte and end of the file's text in the context's stored text."""
    columns: tuple[tuple[str, str], ...]
    """Name and DuckDB's type of each."""
    rows: int | None
    """None for a large text file, whose rows are not counted."""

    @property
    def place(self) -> str:
        """Where it is from, in words."""
        file = "the list" if self.path is None else self.path
        return file if self.part is None else f"{self.part!r} of {file}"


@dataclass(frozen=True)
class Catalog:
    """The tables of one context."""

    tables: tuple[Table, ...]
    left_out: tuple[str, ...] = ()
    """Files that may be tables and are none here, each with the reason."""

    def keep(self, blobs: BlobStore) -> str:
        """Store it, and give its digest."""
        return blobs.put(to_bytes(json.dumps(asdict(self), ensure_ascii=False)))


def catalog_of(handle: ContextHandle, blobs: BlobStore) -> Catalog:
    """Give the tables of a context; none for one that has none.

    Raises:
        BlobError: its blob is missing.
    """
    return Catalog(()) if handle.tables is None else _read(handle.tables, blobs)


@lru_cache(maxsize=32)
def _read(digest: str, blobs: BlobStore) -> Catalog:
    stored = json.loads(blobs.get(digest))
    return Catalog(tuple(map(_table, stored["tables"])), tuple(stored["left_out"]))


def _table(given: dict[str, Any]) -> Table:
    columns = tuple((name, kind) for name, kind in given["columns"])
    piece = None if given["piece"] is None else tuple(given["piece"])
    values: dict[str, Any] = {
        **given,
        "columns": columns,
        "span": tuple(given["span"]),
        "piece": piece,
    }
    return Table(**values)


@dataclass(frozen=True)
class Known:
    """A table, and the context that it is of."""

    table: Table
    """With the name that it has among all contexts."""
    context: str
    """The first name of its context, such as `context_0`."""
    handle: ContextHandle


def tables_among(handles: Mapping[str, ContextHandle], blobs: BlobStore) -> list[Known]:
    """List the tables of all contexts, under names that differ.

    A list's table has the name of its context; so has the only table of a context to which the user
    gave a name. A name that an earlier context has is numbered.

    Args:
        handles: the contexts, by name; later names of one are left out.
        blobs: has what is known of them.

    Raises:
        BlobError: a blob is missing.
    """
    found: list[Known] = []
    names: set[str] = set()
    seen: list[ContextHandle] = []
    for context, handle in handles.items():
        if handle.tables is None or handle in seen:
            continue
        seen.append(handle)
        tables = catalog_of(handle, blobs).tables
        for table in tables:
            name = table.name
            if handle.name is not None and len(tables) == 1:
                name = sql_name(handle.name)
            elif table.path is None:
                name = context
            name = distinct(name, names)
            names.add(name)
            found.append(Known(replace(table, name=name), context, handle))
    return found


# As it is shown


def facts(table: Table) -> dict[str, Any]:
    """Tell of a table what `context_info` gives."""
    columns = [{"name": name, "type": kind} for name, kind in table.columns]
    about: dict[str, Any] = {"name": table.name, "file": table.path}
    if table.part is not None:
        about["part"] = table.part
    return about | {"columns": columns, "rows": table.rows}


def lines(tables: Sequence[Table]) -> list[str]:
    """Describe tables in a line each, the first `SHOWN_TABLES`."""
    shown = [_line(table) for table in tables[:SHOWN_TABLES]]
    more = len(tables) - SHOWN_TABLES
    if more > 0:
        shown.append(f"... and {more:,} more tables, which context_info() lists.")
    return shown


def _line(table: Table) -> str:
    rows = "" if table.rows is None else f", {table.rows:,} rows"
    return f"`{table.name}` ({_printed(table.place, 80)}{rows}): {columns_of(table)}"


def columns_of(table: Table) -> str:
    """Name the first columns of a table, with their types. Names are data, and may be anything."""
    named = [
        f"{_printed(name, NAME_CHARS)} {_printed(kind, NAME_CHARS)}" for name, kind in table.columns
    ]
    more = len(named) - SHOWN_COLUMNS
    return ", ".join(named[:SHOWN_COLUMNS]) + (f", ... {more} more" if more > 0 else "")


def _printed(text: str, most: int) -> str:
    """Cut a text, and leave out what is no character of a line."""
    line = "".join(char if char.isprintable() and char != "`" else " " for char in text)
    return line if len(line) <= most else f"{line[:most]}..."
