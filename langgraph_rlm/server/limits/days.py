"""Days: where the days of keys are kept. PostgreSQL for several servers, a SQLite file for one
machine, memory for an application without a database.

One row a key and day, read and written in one transaction that holds the row: what two servers do
at once comes one after the other. Keys are in it by their digests alone.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    closing,
    contextmanager,
    nullcontext,
)
from pathlib import Path
from typing import Any, Protocol

from langgraph_rlm.server.limits.day import DAY, Day, Told, read_day

KEPT_DAYS = 7
"""Older days are deleted."""

Change = Callable[[Day, float], Told]
"""Takes a day and the database's clock, and gives what becomes of it."""

TABLE = "langgraph_rlm_key_days"
MAKE = (
    f"CREATE TABLE IF NOT EXISTS {TABLE} "
    "(owner text NOT NULL, day integer NOT NULL, used text NOT NULL, PRIMARY KEY (owner, day))"
)
"""`used` is `Day.written` as JSON. `day` counts from 1970, in UTC."""


class Days(Protocol):
    """The days of keys."""

    async def change(self, owner: str, change: Change, day: int | None = None) -> Told:
        """Change a day of a key, while nobody else does.

        Args:
            owner: of the key.
            change: gives the day as it is then.
            day: which one; None is today, by the database's clock.
        """
        ...

    async def read(self, owner: str) -> tuple[Day, float]:
        """Read today of a key, and the database's clock."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class MemoryDays:
    """Days in memory, of one process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._days: dict[tuple[str, int], Day] = {}
        self._newest = 0

    async def change(self, owner: str, change: Change, day: int | None = None) -> Told:
        """Do what `Days.change` says."""
        now = self._clock()
        today = int(now // DAY)
        self._forget(today)
        key = (owner, today if day is None else day)
        told = change(self._days.get(key, Day()), now)
        self._days[key] = told.day
        return told

    async def read(self, owner: str) -> tuple[Day, float]:
        """Do what `Days.read` says."""
        now = self._clock()
        return self._days.get((owner, int(now // DAY)), Day()), now

    async def close(self) -> None:
        """Do nothing."""

    def _forget(self, today: int) -> None:
        if today > self._newest:
            self._newest = today
            for key in [key for key in self._days if key[1] < today - KEPT_DAYS]:
                del self._days[key]


class SqliteDays:
    """Days in a SQLite file, over a connection of its own, in a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="langgraph-rlm-days")
        self._connection: sqlite3.Connection | None = None
        self._newest = 0

    async def change(self, owner: str, change: Change, day: int | None = None) -> Told:
        """Do what `Days.change` says."""
        return await self._run(lambda: self._change(owner, change, day))

    async def read(self, owner: str) -> tuple[Day, float]:
        """Do what `Days.read` says."""
        return await self._run(lambda: self._read(owner))

    async def close(self) -> None:
        """Close the connection, and end the thread."""
        await self._run(self._close)
        self._thread.shutdown()

    async def _run(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _change(self, owner: str, change: Change, day: int | None) -> Told:
        now = time.time()
        today = int(now // DAY)
        key = (owner, today if day is None else day)
        with self._transaction() as connection:
            told = change(self._day(connection, key), now)
            sql = (
                f"INSERT INTO {TABLE} VALUES (?, ?, ?) "
                "ON CONFLICT (owner, day) DO UPDATE SET used = excluded.used"
            )
            connection.execute(sql, (*key, json.dumps(told.day.written())))
            if today > self._newest:
                self._newest = today
                connection.execute(f"DELETE FROM {TABLE} WHERE day < ?", (today - KEPT_DAYS,))
        return told

    def _read(self, owner: str) -> tuple[Day, float]:
        now = time.time()
        with self._transaction() as connection:
            return self._day(connection, (owner, int(now // DAY))), now

    def _day(self, connection: sqlite3.Connection, key: tuple[str, int]) -> Day:
        sql = f"SELECT used FROM {TABLE} WHERE owner = ? AND day = ?"
        with closing(connection.execute(sql, key)) as cursor:
            row = cursor.fetchone()
        return read_day(json.loads(row[0]) if row else {})

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, timeout=30, isolation_level=None, check_same_thread=False
            )
            # what a power cut takes of these counts is not worth a flush for each request
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(MAKE)
        return _immediate(self._connection)


@contextmanager
def _immediate(connection: sqlite3.Connection) -> Any:
    """Hold the file for writing: no other process changes a day meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class PostgresDays:
    """Days in PostgreSQL, over the connections of the server's saver."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._is_made = False
        self._newest = 0

    async def change(self, owner: str, change: Change, day: int | None = None) -> Told:
        """Do what `Days.change` says: two trips to the database."""
        await self._make()
        lock = (
            f"INSERT INTO {TABLE} VALUES (%s, COALESCE(%s, {TODAY}), '{{}}') "
            "ON CONFLICT (owner, day) DO UPDATE SET owner = excluded.owner "
            f"RETURNING day, used, {NOW} AS now"
        )
        update = f"UPDATE {TABLE} SET used = %s WHERE owner = %s AND day = %s"
        async with (
            self._pool.connection() as connection,
            _pipeline(connection),
            connection.transaction(),
        ):
            cursor = await connection.execute(lock, (owner, day))
            row = await cursor.fetchone()
            told = change(read_day(json.loads(row["used"])), float(row["now"]))
            await connection.execute(update, (json.dumps(told.day.written()), owner, row["day"]))
        await self._forget(told.number)
        return told

    async def read(self, owner: str) -> tuple[Day, float]:
        """Do what `Days.read` says."""
        await self._make()
        sql = (
            f"SELECT {NOW} AS now, (SELECT used FROM {TABLE} WHERE owner = %s AND day = {TODAY})"
            " AS used"
        )
        async with self._pool.connection() as connection:
            row = await (await connection.execute(sql, (owner,))).fetchone()
        return read_day(json.loads(row["used"] or "{}")), float(row["now"])

    async def close(self) -> None:
        """Do nothing: the connections are the saver's."""

    async def _make(self) -> None:
        if self._is_made:
            return
        async with self._pool.connection() as connection, connection.transaction():
            # two servers that start at once would both make it, and one would fail
            await connection.execute(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'))")
            await connection.execute(MAKE)
        self._is_made = True

    async def _forget(self, today: int) -> None:
        if today <= self._newest:
            return
        self._newest = today
        async with self._pool.connection() as connection:
            await connection.execute(f"DELETE FROM {TABLE} WHERE day < %s", (today - KEPT_DAYS,))


def _pipeline(connection: Any) -> AbstractAsyncContextManager[object]:
    """Send statements together, where the installed libpq can: else there are two more trips."""
    import psycopg

    return connection.pipeline() if psycopg.AsyncPipeline.is_supported() else nullcontext()


NOW = "extract(epoch FROM clock_timestamp())"
"""Behind the wait for the row, where `now()` would be the time before it."""
TODAY = f"floor({NOW} / {DAY})::integer"
