"""PostgreSQL rows: what LangGraph's savers for PostgreSQL write, as many rows in one statement.

The savers say themselves what they write: their methods are run with a cursor that notes down
their statements and the values (`Noted`). A statement that is not known here is left to the saver.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from psycopg.adapt import PyFormat, Transformer
from psycopg.types.json import Jsonb


@dataclass(frozen=True)
class Way:
    """How rows are written: the statement of langgraph-checkpoint-postgres 3.1 and 3.2."""

    table: str
    columns: tuple[str, ...]
    """In the order of the statement's values."""
    key: tuple[str, ...]
    updates: tuple[str, ...] = ()
    """Columns that take the new value where the key is taken; without any, the old row stays."""

    @property
    def start(self) -> str:
        """The statement up to the values."""
        return f"INSERT INTO {self.table} ({', '.join(self.columns)})"

    @property
    def conflict(self) -> str:
        """The statement from the values on."""
        new = ", ".join(f"{column} = EXCLUDED.{column}" for column in self.updates)
        does = f"UPDATE SET {new}" if new else "NOTHING"
        return f"ON CONFLICT ({', '.join(self.key)}) DO {does}"

    @property
    def sql(self) -> str:
        """The statement for one row, as a saver has it."""
        return f"{self.start} VALUES ({', '.join(['%s'] * len(self.columns))}) {self.conflict}"


PLACE = ("thread_id", "checkpoint_ns")
CHECKPOINT = (*PLACE, "checkpoint_id")
RESULT = Way(
    "checkpoint_writes",
    (*CHECKPOINT, "task_id", "task_path", "idx", "channel", "type", "blob"),
    (*CHECKPOINT, "task_id", "idx"),
)
WAYS = (
    RESULT,
    Way(RESULT.table, RESULT.columns, RESULT.key, ("channel", "type", "blob")),
    Way(
        "checkpoint_blobs",
        (*PLACE, "channel", "version", "type", "blob"),
        (*PLACE, "channel", "version"),
    ),
    Way(
        "checkpoints",
        (*CHECKPOINT, "parent_checkpoint_id", "checkpoint", "metadata"),
        CHECKPOINT,
        ("checkpoint", "metadata"),
    ),
)
"""Results of tasks; their pauses, errors and answers; values of channels; checkpoints."""

KINDS = {"idx": "int", "blob": "bytea", "checkpoint": "jsonb", "metadata": "jsonb"}
"""Types of columns that are no texts."""

LEASES = "langgraph_rlm_leases"
"""Who may write to a thread; `postgres_leases.py` makes and keeps this table."""


@lru_cache
def way_of(sql: str) -> Way | None:
    """Give the way of a saver's statement; None where it is not known here."""
    plain = " ".join(sql.split()).rstrip("; ")
    return next((way for way in WAYS if way.sql == plain), None)


@dataclass(frozen=True)
class Row:
    """One row, with its values in the order of the columns."""

    way: Way
    values: tuple[Any, ...]

    @property
    def key(self) -> tuple[Any, ...]:
        """What no other row of the table has."""
        columns = self.way.columns
        return self.way.table, *(self.values[columns.index(name)] for name in self.way.key)

    def over(self, before: "Row") -> "Row":
        """What is in the database when this row has come after another one of its key."""
        if not self.way.updates:
            return before
        pairs = zip(self.way.columns, before.values, self.values, strict=True)
        merged = [new if name in self.way.updates else old for name, old, new in pairs]
        return Row(self.way, tuple(merged))

    @property
    def size(self) -> int:
        """About its bytes on the way to the database."""
        return 100 + sum(len(value) for value in self.values if isinstance(value, bytes | str))


@dataclass
class Noted:
    """The rows that a saver would have written. A cursor, as far as savers use one to write."""

    adapts: Any = None
    """A connection, whose own way to write JSON is used."""
    rows: list[Row] = field(default_factory=list[Row])
    is_known: bool = True
    """Whether every statement was."""

    def execute(self, sql: str, values: Sequence[Any]) -> None:
        """Note one row."""
        self.executemany(sql, [values])

    def executemany(self, sql: str, many: Iterable[Sequence[Any]]) -> None:
        """Note rows."""
        way = way_of(sql)
        if way is None:
            self.is_known = False
            return
        for values in many:
            pairs = zip(way.columns, values, strict=True)
            row = Row(way, tuple(self._plain(name, value) for name, value in pairs))
            self.rows.append(row)

    def _plain(self, column: str, value: Any) -> Any:
        """A value as an array has it: an array has one type, and a document is written down now,
        when its own caller gets the error."""
        if isinstance(value, Jsonb):
            dumper = Transformer(self.adapts).get_dumper(value, PyFormat.TEXT)
            return bytes(dumper.dump(value) or b"").decode()
        is_text = column not in KINDS and value is not None
        return str(value) if is_text else value


@dataclass(frozen=True)
class Part:
    """What one caller writes."""

    rows: Sequence[Row]
    thread: str
    lease: tuple[str, str] | None = None
    """Key and token of the lease under which it writes; None where it has none."""


def statement(parts: Sequence[Part]) -> tuple[str, list[Any]]:
    """Give one statement that writes the rows of many callers, and its values.

    It gives the numbers of the parts whose leases are held, from 1. Of others nothing is written.
    """
    fenced = [(number, *part.lease) for number, part in enumerate(parts, 1) if part.lease]
    tables: list[str] = []
    values: list[Any] = []
    if fenced:
        tables.append(HELD)
        values += [list(column) for column in zip(*fenced, strict=True)]
    for number, (way, rows) in enumerate(_by_way(parts).items()):
        tables.append(f"way_{number} AS ({_insert(way, is_fenced=bool(fenced))})")
        values += [list(column) for column in zip(*rows, strict=True)]
    gives = "number FROM held" if fenced else "0 AS number"
    return f"WITH {', '.join(tables)} SELECT {gives}", values


HELD = f"""held AS (
SELECT given.number FROM unnest(%s::int[], %s::text[], %s::text[]) AS given (number, key, token)
JOIN {LEASES} AS lease ON lease.thread_id = given.key AND lease.token = given.token
ORDER BY lease.thread_id FOR SHARE OF lease)"""
"""Leases that are held, and that nobody takes over before what is written here is committed.

Whoever waits here for a takeover sees its token: at READ COMMITTED, PostgreSQL looks at a row again
that it had to wait for. All lock leases in one order, as otherwise two could wait for each other.
"""


def _insert(way: Way, *, is_fenced: bool) -> str:
    """The statement of a way, for rows in arrays, each with its part's number."""
    casts = ", ".join(f"%s::{_sent_as(column)}[]" for column in way.columns)
    picked = ", ".join(
        f"{column}::jsonb" if KINDS.get(column) == "jsonb" else column for column in way.columns
    )
    rows = f"unnest(%s::int[], {casts}) AS given (part, {', '.join(way.columns)})"
    if is_fenced:
        rows += " WHERE part = 0 OR part IN (SELECT number FROM held)"
    return f"{way.start} SELECT {picked} FROM {rows} {way.conflict}"


def _sent_as(column: str) -> str:
    kind = KINDS.get(column, "text")
    return "text" if kind == "jsonb" else kind


def _by_way(parts: Sequence[Part]) -> Mapping[Way, list[tuple[Any, ...]]]:
    """The rows by their ways, each after the number of the part that has to be held for it.

    One statement touches a row once: what would come later is merged with what came before. Not
    between leases, as at most one of them is held.
    """
    merged: dict[tuple[Any, ...], tuple[int, Row]] = {}
    for part, number, row in _numbered(parts):
        key = (part.lease, *row.key)
        number, before = merged.get(key, (number, row))
        merged[key] = (number, row if before is row else row.over(before))
    ways: dict[Way, list[tuple[Any, ...]]] = {}
    for number, row in merged.values():
        ways.setdefault(row.way, []).append((number, *row.values))
    return ways


def _numbered(parts: Sequence[Part]) -> Iterator[tuple[Part, int, Row]]:
    for number, part in enumerate(parts, 1):
        for row in part.rows:
            yield part, 0 if part.lease is None else number, row
