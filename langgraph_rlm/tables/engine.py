"""Engine: DuckDB over a few files, in a worker process that is locked in. Loaded there alone.

DuckDB may read the worker's inbox and nothing else, loads no extension, and cannot be set
otherwise: that is the first wall. The second is the list of what a query may be (`statements.py`),
the third the jail of the process. It has one thread, so rows that nobody sorts come in the same
order each time.
"""

import os
import re
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from langgraph_rlm.tables import loading
from langgraph_rlm.tables.loading import Column, quoted
from langgraph_rlm.tables.statements import tables_in
from langgraph_rlm.tables.values import TooLong, rows_as_json

MEMORY = "512MB"
SAMPLE_ROWS = 20_480
"""Rows that tell the types of a large text file's columns."""
MAX_LINE_BYTES = 16 << 20
AS_TEXT = "_as_text"
"""What is added to the name of a text file's table for the one whose columns are all text."""


class TookTooLong(Exception):
    """The query was interrupted."""


class Engine:
    """One DuckDB, and the tables that it knows."""

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._connection = _connected(inbox)
        self._tables: dict[str, Mapping[str, Any]] = {}
        self._made: set[str] = set()

    def define(self, tables: list[Mapping[str, Any]]) -> None:
        """Learn tables: each has a `name`, the `file` in the inbox, its `form`, `part` and
        `columns`. Nothing is read yet, and what was known before is forgotten."""
        for name in self._made:
            self._drop(name)
        self._made.clear()
        self._tables = {table["name"]: {**table, "of": table["name"]} for table in tables}
        for name, table in list(self._tables.items()):
            if table["form"] in TEXT_READERS:
                self._tables.setdefault(name + AS_TEXT, {**table, "as_text": True})

    def named(self, query: str) -> list[str]:
        """Check a query, and name the defined tables that it reads."""
        return sorted({self._tables[name]["of"] for name in self._names_in(query)})

    def _names_in(self, query: str) -> list[str]:
        known = {name.lower(): name for name in self._tables}
        return tables_in(query, known, self._connection)

    def rows(self, query: str, max_rows: int, max_chars: int, seconds: float) -> str:
        """Answer a query: the JSON text of a list of rows.

        Raises:
            RefusedQuery: it is no read of the tables.
            TookTooLong: it was interrupted.
            TooLong: the answer has too many characters.
            duckdb.Error: whatever DuckDB says.
        """
        with self._interrupted(seconds):
            for name in self._names_in(query):
                self._make(name)
            self._connection.execute("BEGIN TRANSACTION READ ONLY")
            try:
                result = self._connection.execute(query)
                described: list[Any] = result.description or []
                types = [str(column[1]) for column in described]
                names = [str(column[0]) for column in described]
                return rows_as_json(names, types, _first(result, max_rows), max_chars)
            finally:
                self._connection.execute("ROLLBACK")

    def look(self, file: str, form: str, whole: bool, seconds: float) -> list[dict[str, Any]]:
        """Say what tables a file has: each with `part`, `columns` and `rows`; or with `error`.

        Args:
            file: its name in the inbox.
            form: what it is.
            whole: whether a text file is read to its end, so that the types of its columns are
                those of all its values and its rows are counted.
            seconds: how long it may take.
        """
        path = os.path.join(self._inbox, file)
        with self._interrupted(seconds):
            if form == "sqlite":
                return _look_at_sqlite(path)
            if form == "xlsx":
                return _look_at_workbook(path)
            return [self._look_at_file(path, form, whole)]

    def _look_at_file(self, path: str, form: str, whole: bool) -> dict[str, Any]:
        if form == "parquet":
            source = f"read_parquet({_literal(path)})"
            return {"columns": self._columns(source), "rows": self._count(source)}
        reader = TEXT_READERS[form]
        try:
            columns = self._columns(reader(path, SAMPLE_ROWS, None))
            if not whole:
                return {"columns": columns, "rows": None}
            rows = self._count(reader(path, SAMPLE_ROWS, columns), [name for name, _ in columns])
        except (duckdb.ConversionException, duckdb.InvalidInputException):
            if not whole:
                raise
            columns = self._columns(reader(path, -1, None))
            rows = self._count(reader(path, -1, columns), [name for name, _ in columns])
        return {"columns": columns, "rows": rows}

    def _columns(self, source: str) -> list[Column]:
        rows = self._connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()
        return [(str(row[0]), str(row[1])) for row in rows]

    def _count(self, source: str, columns: list[str] | None = None) -> int:
        """Count rows; values of `columns` are read, so that one that does not fit is found."""
        counted = ", ".join(["count(*)", *(f"count({quoted(name)})" for name in columns or [])])
        return int(self._connection.execute(f"SELECT {counted} FROM {source}").fetchone()[0])

    def _make(self, name: str) -> None:
        """Make a table or a view, once."""
        if name in self._made:
            return
        table = self._tables[name]
        path = os.path.join(self._inbox, table["file"])
        form, part = table["form"], table["part"]
        if form == "sqlite":
            self._load(name, table, loading.sqlite_rows(loading.open_sqlite(path), part))
        elif form == "xlsx":
            columns, rows = loading.sheet(loading.open_workbook(path), part)
            self._load(name, {**table, "columns": columns}, rows)
        else:
            self._connection.execute(f"CREATE VIEW {quoted(name)} AS FROM {_source(path, table)}")
        self._made.add(name)

    def _drop(self, name: str) -> None:
        is_view = self._tables[name]["form"] in (*TEXT_READERS, "parquet")
        self._connection.execute(f"DROP {'VIEW' if is_view else 'TABLE'} {quoted(name)}")

    def _load(self, name: str, table: Mapping[str, Any], rows: Any) -> None:
        self._connection.execute("BEGIN")
        try:
            loading.create(self._connection, name, table["columns"], rows)
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    @contextmanager
    def _interrupted(self, seconds: float) -> Generator[None]:
        """Interrupt DuckDB after a time."""
        timer = threading.Timer(seconds, self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        except duckdb.InterruptException:
            raise TookTooLong(f"it took longer than {seconds:g} seconds") from None
        finally:
            timer.cancel()


def _first(result: Any, most: int) -> Generator[Any]:
    """Take rows one by one: a row may be large."""
    for _ in range(most):
        row = result.fetchone()
        if row is None:
            return
        yield row


def _connected(inbox: str) -> Any:
    """Open a DuckDB in memory, and lock it."""
    connection = duckdb.connect(
        ":memory:",
        config={
            "threads": 1,
            "memory_limit": MEMORY,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        },
    )
    for setting in (
        "python_scan_all_frames = false",
        f"temp_directory = {_literal(os.path.join(os.getcwd(), 'spilled'))}",
        "max_temp_directory_size = '900MB'",
        f"allowed_directories = [{_literal(inbox)}]",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    return connection


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


# Readers of text files: each makes the SQL that reads a file, with a sample of rows (-1 for all)
# that tells the types, unless columns are given.


def _csv(path: str, sample: int, columns: list[Column] | None) -> str:
    options = [
        f"sample_size = {sample}",
        f"max_line_size = {MAX_LINE_BYTES}",
        f"buffer_size = {2 * MAX_LINE_BYTES}",  # 16 lines by default, several times
    ]
    if columns:
        options.append(f"types = [{', '.join(_literal(kind) for _, kind in columns)}]")
    return f"read_csv({', '.join([_literal(path), *options])})"


def _jsonl(path: str, sample: int, columns: list[Column] | None) -> str:
    options = [
        "format = 'newline_delimited'",
        f"sample_size = {sample}",
        f"maximum_object_size = {MAX_LINE_BYTES}",
    ]
    if columns:
        given = ", ".join(f"{_literal(name)}: {_literal(kind)}" for name, kind in columns)
        options.append(f"columns = {{{given}}}")
    return f"read_json({', '.join([_literal(path), *options])})"


TEXT_READERS: Mapping[str, Callable[[str, int, list[Column] | None], str]] = {
    "csv": _csv,
    "jsonl": _jsonl,
}
AS_IT_STANDS = {"csv": "VARCHAR", "jsonl": "JSON"}
"""Types that take every value of a text file."""


def _source(path: str, table: Mapping[str, Any]) -> str:
    """Give the SQL that reads a file as a table."""
    if table["form"] == "parquet":
        return f"read_parquet({_literal(path)})"
    columns = table["columns"]
    if table.get("as_text"):
        columns = [(name, AS_IT_STANDS[table["form"]]) for name, _ in columns]
    return TEXT_READERS[table["form"]](path, SAMPLE_ROWS, columns)


def _look_at_sqlite(path: str) -> list[dict[str, Any]]:
    database = loading.open_sqlite(path)
    found: list[dict[str, Any]] = []
    for name in loading.sqlite_tables(database):
        columns, rows = loading.sqlite_columns(database, name)
        found.append({"part": name, "columns": columns, "rows": rows})
    return found


def _look_at_workbook(path: str) -> list[dict[str, Any]]:
    workbook = loading.open_workbook(path)
    found: list[dict[str, Any]] = []
    for name in workbook.sheet_names:
        columns, rows = loading.sheet(workbook, name)
        if rows:
            found.append({"part": name, "columns": columns, "rows": len(rows)})
    return found


# What the host asks


_engines: dict[str, Engine] = {}


def answer(request: Mapping[str, Any]) -> Any:
    """Do what a request asks: `do` is the name of a method of `Engine`, `with` its arguments.

    Raises:
        RuntimeError: whatever goes wrong, in words without the paths of this process.
    """
    inbox = request["inbox"]
    try:
        engine = _engines.get(inbox) or _engines.setdefault(inbox, Engine(inbox))
        return getattr(engine, request["do"])(**request["with"])
    except TookTooLong:
        raise
    except (TooLong, duckdb.Error, OSError, ValueError, RuntimeError) as error:
        raise type(error)(_without_paths(str(error), Path(inbox))) from None


def _without_paths(message: str, inbox: Path) -> str:
    return re.sub(re.escape(str(inbox)) + "/?", "", message)
