"""Loading: sheets and tables of SQLite as tables of DuckDB, without its extensions.

Runs in the worker. DuckDB's own readers of them are extensions, which it would download.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from itertools import islice
from typing import Any

from langgraph_rlm.tables.values import unique

BATCH_CELLS = 100_000
"""Cells that are handed to DuckDB at a time."""
Column = tuple[str, str]
"""Name and type."""


def quoted(name: str) -> str:
    """Write a name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def create(
    connection: Any, name: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]
) -> None:
    """Make a table of rows.

    Args:
        connection: to DuckDB.
        name: of the table.
        columns: of it.
        rows: a value for each column each.
    """
    defined = ", ".join(f"{quoted(column)} {kind}" for column, kind in columns)
    connection.execute(f"CREATE TABLE {quoted(name)} ({defined})")
    lists = ", ".join(f"unnest(${number}::{kind}[])" for number, (_, kind) in enumerate(columns, 1))
    insert = f"INSERT INTO {quoted(name)} SELECT {lists}"
    converters = [_converter(kind) for _, kind in columns]
    at_a_time = max(1, BATCH_CELLS // len(columns))
    remaining = iter(rows)
    while batch := list(islice(remaining, at_a_time)):
        values = zip(*batch, strict=True)
        given = [
            [convert(value) for value in column]
            for convert, column in zip(converters, values, strict=True)
        ]
        connection.execute(insert, given)


def _converter(kind: str) -> Callable[[Any], Any]:
    """Give what makes a value fit a column of a type."""
    if kind == "VARCHAR":
        return _text
    if kind == "DOUBLE":
        return lambda value: None if value is None else float(value)
    if kind == "BIGINT":
        return lambda value: None if value is None else int(value)
    return lambda value: value


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def type_of(kinds: set[str]) -> str:
    """Give the type of a column by the kinds of its values, each a type of DuckDB's."""
    if len(kinds) == 1:
        return kinds.copy().pop()
    if kinds <= {"BIGINT", "DOUBLE"} and kinds:
        return "DOUBLE"
    if kinds <= {"DATE", "TIMESTAMP"} and kinds:
        return "TIMESTAMP"
    return "VARCHAR"


# SQLite


SQLITE_KINDS = {"integer": "BIGINT", "real": "DOUBLE", "text": "VARCHAR", "blob": "BLOB"}
"""DuckDB's types by SQLite's `typeof`."""


def open_sqlite(path: str) -> sqlite3.Connection:
    """Open a SQLite file for reading alone; nothing that its schema says is run."""
    database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA query_only = ON")
    database.execute("PRAGMA cell_size_check = ON")
    database.text_factory = _decoded
    return database


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def sqlite_tables(database: sqlite3.Connection) -> list[str]:
    """Name the tables; views and virtual tables, which run code, are left out."""
    rows = database.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' "
        "ESCAPE '\\' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY rowid"
    )
    return [str(name) for (name,) in rows]


def sqlite_columns(database: sqlite3.Connection, table: str) -> tuple[list[Column], int]:
    """Give the columns of a table, each with the type that all of its values have, and its rows."""
    given = database.execute(f"SELECT * FROM {quoted(table)} LIMIT 0").description or []
    names = [str(column[0]) for column in given]
    kinds = ", ".join(
        f"max(typeof({quoted(name)}) = '{kind}')" for name in names for kind in SQLITE_KINDS
    )
    row = database.execute(f"SELECT count(*), {kinds} FROM {quoted(table)}").fetchone()
    flags, per = row[1:], len(SQLITE_KINDS)
    columns: list[Column] = []
    for number, name in enumerate(unique(names)):
        own = zip(SQLITE_KINDS.values(), flags[number * per : (number + 1) * per], strict=True)
        columns.append((name, type_of({kind for kind, is_there in own if is_there})))
    return columns, int(row[0])


def sqlite_rows(database: sqlite3.Connection, table: str) -> Iterator[tuple[Any, ...]]:
    """Read the rows of a table, in its own order."""
    return iter(database.execute(f"SELECT * FROM {quoted(table)}"))


# Sheets


def open_workbook(path: str) -> Any:
    """Open a workbook."""
    from python_calamine import CalamineWorkbook

    return CalamineWorkbook.from_path(path)


def sheet(workbook: Any, name: str) -> tuple[list[Column], list[list[Any]]]:
    """Read a sheet: its first row names the columns if it has texts alone, else letters do."""
    rows: list[list[Any]] = workbook.get_sheet_by_name(name).to_python()
    rows = [[_cell(value) for value in row] for row in rows]
    if not rows:
        return [], []
    first = rows[0]
    letters = [_letter(number) for number in range(len(first))]
    names = letters
    is_header = len(rows) > 1 and any(first)
    if is_header and all(value is None or isinstance(value, str) for value in first):
        names = [given or letter for given, letter in zip(first, letters, strict=True)]
        rows = rows[1:]
    columns = zip(*rows, strict=True)
    kinds = [type_of({_kind(value) for value in column if value is not None}) for column in columns]
    return list(zip(unique(names), kinds, strict=True)), rows


def _cell(value: Any) -> Any:
    """Give a cell as a value: whole numbers are whole, and empty text is nothing."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def _kind(value: Any) -> str:
    for known, kind in KINDS:
        if isinstance(value, known):
            return kind
    return "VARCHAR"


KINDS: tuple[tuple[type, str], ...] = (
    (bool, "BOOLEAN"),
    (int, "BIGINT"),
    (float, "DOUBLE"),
    (datetime, "TIMESTAMP"),
    (date, "DATE"),
    (time, "TIME"),
    (timedelta, "INTERVAL"),
)
"""DuckDB's types of Python's values, the narrower first."""


def _letter(number: int) -> str:
    """Name a column as a sheet does: A, B, ..., Z, AA."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name
