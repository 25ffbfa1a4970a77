"""Databases: which database a saver keeps threads in, and what is in it, as bytes.

Values are read as they are stored, never deserialized: what a foreign database holds might name any
class of any module. Only where they are encrypted, their own saver decrypts them.
"""

import asyncio
import os
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol
from weakref import WeakKeyDictionary

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.pregel.lease_homes import database_of
from langgraph_rlm.pregel.postgres import asked
from langgraph_rlm.pregel.savers import own_saver

Saver = BaseCheckpointSaver[Any]

PLAIN = frozenset({"null", "empty", "bytes", "bytearray", "json", "msgpack", "pickle"})
"""Types of stored values whose bytes have texts as they are."""


@dataclass(frozen=True)
class Identity:
    """A database, by something that is the same for everyone who opens it."""

    kind: Literal["sqlite", "postgresql", "memory", "other"]
    name: str
    """Path of a file, id of a server with database and schema, or the class of a saver."""
    inode: int = 0
    """Of a file: another file of this name, on another machine, has another one."""
    is_plain: bool = True
    """Whether its values can be read without a serializer of the user's own."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def file(self) -> Path | None:
        """The SQLite file, where it is on this machine."""
        path = Path(self.name)
        is_here = self.kind == "sqlite" and path.exists() and path.stat().st_ino == self.inode
        return path if is_here else None


_known: WeakKeyDictionary[Saver, Identity] = WeakKeyDictionary()


async def identity_of(saver: Saver) -> Identity:
    """Say which database a saver keeps threads in. A saver is asked once."""
    own: Saver = own_saver(saver)
    if own not in _known:
        _known[own] = await _identify(own)
    return _known[own]


async def _identify(own: Any) -> Identity:
    kind = _kind(own)
    is_plain = isinstance(own.serde, JsonPlusSerializer)
    if kind in ("aiosqlite", "sqlite3"):
        database = await database_of(own)
        if database.lock is None:
            return Identity("memory", database.name)
        inode = (await asyncio.to_thread(os.stat, database.name)).st_ino
        return Identity("sqlite", database.name, inode, is_plain=is_plain)
    if kind in ("psycopg", "psycopg_pool"):
        return await _postgres(own, is_plain)
    if isinstance(own, InMemorySaver) and type(own.storage) is defaultdict:
        return Identity("memory", f"{id(own)}")
    return Identity("other", f"{type(own).__module__}.{type(own).__qualname__}")


def _kind(own: Any) -> str:
    """The library of a saver's connection."""
    return type(getattr(own, "conn", None)).__module__.partition(".")[0]


async def _postgres(own: Any, is_plain: bool) -> Identity:
    """The id that PostgreSQL gives itself, with the database and the schema."""
    import psycopg

    sql = (
        "SELECT system_identifier::text AS id, current_database() AS db, current_schema() AS place "
        "FROM pg_control_system()"
    )
    try:
        [row] = await asked(own, sql)
    except psycopg.ProgrammingError:  # it does not tell this user, or is another product
        return Identity("other", (await database_of(own)).name)
    return Identity("postgresql", f"{row['id']}/{row['db']}/{row['place']}", is_plain=is_plain)


# What is in a database


@dataclass(frozen=True)
class ThreadRows:
    """All that a database has of one thread, in every namespace."""

    checkpoints: int
    values: list[bytes]

    @property
    def bytes(self) -> int:
        """Bytes of the stored values."""
        return sum(map(len, self.values))


@dataclass(frozen=True)
class StepRow:
    """One checkpoint of a thread, without what it holds."""

    namespace: str
    id: str
    """Ids sort by time."""
    parent: str | None


Mark = tuple[Any, ...]
"""Something that is another one as soon as a database has more, or less, of a thread."""


class Rows(Protocol):
    """The stored values of a database."""

    async def threads(self) -> list[str]:
        """List the ids of all threads."""
        ...

    async def steps(self, thread: str) -> list[StepRow]:
        """List the checkpoints of a thread, in every namespace."""
        ...

    async def mark(self, thread: str) -> Mark:
        """Give the mark of a thread, which costs no more than to count rows."""
        ...

    async def of(self, thread: str) -> ThreadRows:
        """Read one thread.

        Raises:
            ConfigurationError: its values are encrypted, and the key is not here.
        """
        ...


async def rows_of(saver: Saver) -> Rows:
    """Read the database of a saver."""
    own: Any = own_saver(saver)
    identity = await identity_of(own)
    if identity.kind == "sqlite":
        return SqliteRows(Path(identity.name), own.serde)
    if _kind(own) in ("psycopg", "psycopg_pool"):
        return PostgresRows(own)
    return ListedRows(saver)


STEPS = (
    "SELECT checkpoint_ns AS namespace, checkpoint_id AS id, parent_checkpoint_id AS parent "
    "FROM checkpoints WHERE thread_id ="
)
COUNT_STEPS = (
    "SELECT count(*) AS number, max(checkpoint_id) AS newest FROM checkpoints WHERE thread_id ="
)
COUNT_WRITES = "SELECT count(*) AS number FROM"
"""What SQLite and PostgreSQL are asked, up to the id of the thread."""


class SqliteRows:
    """A SQLite file, over a connection of its own that only reads. A run keeps its saver."""

    def __init__(self, path: Path, serde: Any = None) -> None:
        self._path = path
        self._serde = serde

    async def threads(self) -> list[str]:
        sql = "SELECT name FROM sqlite_master WHERE name = 'checkpoints'"
        if not await asyncio.to_thread(self._asked, sql):
            return []  # a saver makes the tables when it is first used
        sql = "SELECT DISTINCT thread_id FROM checkpoints"
        return [str(row[0]) for row in await asyncio.to_thread(self._asked, sql)]

    async def steps(self, thread: str) -> list[StepRow]:
        found = await asyncio.to_thread(self._asked, f"{STEPS} ?", (thread,))
        return [StepRow(*row) for row in found]

    async def mark(self, thread: str) -> Mark:
        found = [
            (await asyncio.to_thread(self._asked, f"{count} ?", (thread,)))[0]
            for count in (COUNT_STEPS, f"{COUNT_WRITES} writes WHERE thread_id =")
        ]
        return tuple(found)

    async def of(self, thread: str) -> ThreadRows:
        return await asyncio.to_thread(self._read, thread)

    def _read(self, thread: str) -> ThreadRows:
        key = (thread,)
        saved = self._asked(
            "SELECT type, checkpoint, metadata FROM checkpoints WHERE thread_id = ?", key
        )
        writes = self._asked("SELECT type, value FROM writes WHERE thread_id = ?", key)
        typed = [(kind, value) for kind, value, _ in saved] + writes
        values = [*_plain(typed, self._serde, str(self._path))]
        return ThreadRows(len(saved), values + [_bytes(row[2]) for row in saved])

    def _asked(self, sql: str, values: tuple[Any, ...] = ()) -> list[Any]:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=30)) as connection:
            return connection.execute(sql, values).fetchall()


class PostgresRows:
    """A PostgreSQL database, over the connections of its saver."""

    def __init__(self, own: Any) -> None:
        self._own = own

    async def threads(self) -> list[str]:
        found = await asked(self._own, "SELECT DISTINCT thread_id FROM checkpoints")
        return [row["thread_id"] for row in found]

    async def steps(self, thread: str) -> list[StepRow]:
        found = await asked(self._own, f"{STEPS} %s", (thread,))
        return [StepRow(row["namespace"], row["id"], row["parent"]) for row in found]

    async def mark(self, thread: str) -> Mark:
        counts = (COUNT_STEPS, f"{COUNT_WRITES} checkpoint_writes WHERE thread_id =")
        found = [(await asked(self._own, f"{count} %s", (thread,)))[0] for count in counts]
        return tuple(tuple(row.values()) for row in found)

    async def of(self, thread: str) -> ThreadRows:
        columns = "checkpoint::text AS a, metadata::text AS b"
        saved = await self._each(columns, "checkpoints", thread)
        typed: list[tuple[Any, Any]] = []
        for table in ("checkpoint_blobs", "checkpoint_writes"):
            typed += [
                (row["type"], row["blob"]) for row in await self._each("type, blob", table, thread)
            ]
        texts = [_bytes(row[name]) for row in saved for name in ("a", "b")]
        return ThreadRows(len(saved), [*_plain(typed, self._own.serde, "PostgreSQL"), *texts])

    async def _each(self, columns: str, table: str, thread: str) -> list[Any]:
        return await asked(
            self._own, f"SELECT {columns} FROM {table} WHERE thread_id = %s", (thread,)
        )


class ListedRows:
    """A database of any other kind, over what every saver can do."""

    def __init__(self, saver: Saver) -> None:
        self._saver = saver

    async def threads(self) -> list[str]:
        if isinstance(self._saver, InMemorySaver):
            storage = self._saver.storage
            return [thread for thread in [*storage] if any(storage[thread].values())]
        configs: list[Any] = [saved.config async for saved in self._saver.alist(None)]
        return sorted({config["configurable"]["thread_id"] for config in configs})

    async def steps(self, thread: str) -> list[StepRow]:
        return [_step_of(saved) async for saved in self._listed(thread)]

    async def mark(self, thread: str) -> Mark:
        rows = [
            (_step_of(saved), len(saved.pending_writes or ()))
            async for saved in self._listed(thread)
        ]
        return tuple(rows)

    async def of(self, thread: str) -> ThreadRows:
        values = [
            _encoded([saved.checkpoint, saved.metadata, saved.pending_writes])
            async for saved in self._listed(thread)
        ]
        return ThreadRows(len(values), values)

    def _listed(self, thread: str) -> AsyncIterator[CheckpointTuple]:
        return self._saver.alist({"configurable": {"thread_id": thread}})


def _step_of(saved: CheckpointTuple) -> StepRow:
    own: dict[str, Any] = saved.config.get("configurable", {})
    parent: dict[str, Any] = (saved.parent_config or {}).get("configurable", {})
    return StepRow(own.get("checkpoint_ns", ""), own["checkpoint_id"], parent.get("checkpoint_id"))


def _plain(typed: Iterable[tuple[Any, Any]], serde: Any, where: str) -> Iterator[bytes]:
    """Give stored values as bytes in which texts stand as they are."""
    is_plain = serde is None or isinstance(serde, JsonPlusSerializer)
    for kind, value in typed:
        if kind is None or (is_plain and kind in PLAIN):
            yield _bytes(value)
        elif serde is None:
            raise ConfigurationError(
                f"Values in {where} are stored as {kind!r}, which is encrypted or unknown: "
                "give its saver in databases=[...]."
            )
        else:
            yield _encoded(serde.loads_typed((kind, value)))


def _encoded(value: Any) -> bytes:
    return JsonPlusSerializer(pickle_fallback=True).dumps_typed(value)[1]


def _bytes(value: Any) -> bytes:
    if value is None:
        return b""
    return value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
