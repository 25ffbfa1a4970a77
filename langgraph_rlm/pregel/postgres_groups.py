"""PostgreSQL groups: what arrives to be saved while PostgreSQL is busy shares the next statement.

LangGraph's savers write each checkpoint and the writes of each task by themselves, one after
another, also over a pool. Where the database is 20 ms away, that is 25 of them in a second, and a
batch ends a thousand calls in less. Here many are one statement and one trip, which needs no
transaction around it and nothing that a session keeps: PgBouncer may stand between.

The statement also checks the leases of those who write (`keys.LEASE`): what a run saves whose
thread another process has taken over is not stored, however late it arrives.
"""

import asyncio
import copy
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import InterfaceError, OperationalError, ProgrammingError
from psycopg.errors import DeadlockDetected, ProgramLimitExceeded, SerializationFailure
from psycopg_pool import AsyncConnectionPool

from langgraph_rlm.errors import ThreadTakenOverError
from langgraph_rlm.pregel.grouping import Groups, Take
from langgraph_rlm.pregel.keys import LEASE
from langgraph_rlm.pregel.postgres_rows import LEASES, Noted, Part, statement

AT_ONCE, READERS = 2, 4
"""Groups on their way to the database, and readers beside them, over a pool. With one group at a
time and 20 ms each way a save took 74 ms, with two 70, with four 65; on one machine more at once
only makes them smaller. Two also keep a group that waits for a lease from holding up all others."""

TRIES = 4
"""How often a statement is sent again that was rolled back for another transaction's sake."""

IS_HELD = f"SELECT 1 AS number FROM {LEASES} WHERE thread_id = %s AND token = %s"

Query = Callable[[], tuple[str, Sequence[Any]]]
"""Gives a statement and its values, when there is a connection for it."""


class PostgresGroups(Groups[Part]):
    """The groups of one connection or pool."""

    async def store(self, config: RunnableConfig, noted: Noted) -> bool:
        """Have rows stored with the group.

        Returns:
            False where the saver has to do it: its statements are not known here, or PostgreSQL
            does not take them in this form, because a table is of another shape.

        Raises:
            ThreadTakenOverError: another process has taken over the thread; nothing is stored.
            psycopg.Error: nothing is stored. If it is about the connection or the server, all of
                the group get it.
        """
        place: dict[str, Any] = config.get("configurable", {})
        part = Part(noted.rows, str(place["thread_id"]), place.get(LEASE))
        if noted.is_known:
            size = sum(row.size for row in part.rows)
            try:
                await self.save(part, (part.thread, place.get("checkpoint_ns")), size)
                return True
            except ProgrammingError:
                pass  # the saver's own statement fails too, or is right
        lease = part.lease
        if lease is not None:
            held = await self._asked(lambda: (IS_HELD, lease))
            if not held:
                raise _taken_over(part.thread)
        return False

    async def _commit(self, take: Take[Part]) -> None:
        """Close the group once a connection is free, and save it.

        One value that PostgreSQL refuses fails the whole statement. It is told to its own caller
        alone: the two halves of the group are saved by themselves, and so on.
        """
        try:
            await self._save_as_one(take)
        except Exception as error:
            group = take()
            if len(group) < 2 or not _is_of_rows(error):
                raise
            middle = len(group) // 2
            for half in (group[:middle], group[middle:]):
                [failed] = await asyncio.gather(self._commit(half.copy), return_exceptions=True)
                for saving in half:
                    saving.end(failed)

    async def _save_as_one(self, take: Take[Part]) -> None:
        """Save a group by one statement, and tell its callers; also those whose threads others have
        taken over."""

        def query() -> tuple[str, Sequence[Any]]:
            return statement([saving.what for saving in take()])

        held = {row["number"] for row in await self._asked_again(query)}
        for number, saving in enumerate(take(), 1):
            part = saving.what
            is_held = part.lease is None or number in held
            saving.end(None if is_held else _taken_over(part.thread))

    async def _asked_again(self, query: Query) -> list[Any]:
        """Run a statement, as often as PostgreSQL rolls it back for another transaction's sake:
        two have waited for each other, or the isolation is stricter than its default."""
        for _ in range(TRIES):
            with suppress(DeadlockDetected, SerializationFailure):
                return await self._asked(query)
        return await self._asked(query)

    @abstractmethod
    async def _asked(self, query: Query) -> list[Any]:
        """Run a statement, commit it, and give the rows that it gives.

        It is not prepared: that takes a trip of its own, on each connection and for each form of
        the statement, and saves 0.3 ms of planning.
        """


def _is_of_rows(error: Exception) -> bool:
    """Whether an error may be that of a few rows, and not of the connection or the server. A value
    that is too large is operational too in psycopg's eyes."""
    is_operational = isinstance(error, OperationalError | InterfaceError)
    return not is_operational or isinstance(error, ProgramLimitExceeded)


def _taken_over(thread: str) -> ThreadTakenOverError:
    return ThreadTakenOverError(
        f"Another process has taken over thread {thread!r}: nothing more is saved here. It goes "
        "on from what was saved."
    )


class AsyncPostgresGroups(PostgresGroups):
    """Of async savers."""

    def __init__(self, saver: AsyncPostgresSaver) -> None:
        conn, most = saver.conn, 1
        if isinstance(conn, AsyncConnectionPool):
            most = conn.max_size or READERS  # 0 is no limit
        super().__init__(min(AT_ONCE, most))
        self._saver: Any = copy.copy(saver)
        self.reads: Any = saver.lock
        """The lock of those who read."""
        if most > 1:  # the saver's lock lets one at a time use what is made for several
            self._saver.lock = asyncio.Semaphore(min(AT_ONCE, most))
            self.reads = asyncio.Semaphore(min(READERS, most))

    async def _asked(self, query: Query) -> list[Any]:
        is_pipeline = self._saver.pipe is not None  # the user's own, which commits at the end
        async with self._saver._cursor(pipeline=is_pipeline) as cursor:
            await cursor.execute(*query(), prepare=False)
            return await cursor.fetchall()


class SyncPostgresGroups(PostgresGroups):
    """Of sync savers, which are asked in threads."""

    def __init__(self, saver: PostgresSaver) -> None:
        super().__init__()
        self._saver: Any = copy.copy(saver)

    async def _asked(self, query: Query) -> list[Any]:
        return await asyncio.to_thread(self._ask, *query())

    def _ask(self, sql: str, values: Sequence[Any]) -> list[Any]:
        is_pipeline = self._saver.pipe is not None
        with self._saver._cursor(pipeline=is_pipeline) as cursor:
            cursor.execute(sql, values, prepare=False)
            return cursor.fetchall()


_async_groups: WeakValueDictionary[tuple[int, int], AsyncPostgresGroups] = WeakValueDictionary()
_sync_groups: WeakValueDictionary[tuple[int, int], SyncPostgresGroups] = WeakValueDictionary()
"""By connection or pool and event loop. They keep both, so that the ids stay theirs."""


def groups_of(saver: AsyncPostgresSaver) -> AsyncPostgresGroups:
    """Give the groups of an async saver's connection or pool, the same for all savers on it."""
    key = (id(saver.conn), id(saver.loop))
    found = _async_groups.get(key)
    if found is None:
        found = _async_groups[key] = AsyncPostgresGroups(saver)
    return found


def sync_groups_of(saver: PostgresSaver) -> SyncPostgresGroups:
    """Give the groups of a sync saver's connection or pool, for callers on this event loop."""
    key = (id(saver.conn), id(asyncio.get_running_loop()))
    found = _sync_groups.get(key)
    if found is None:
        found = _sync_groups[key] = SyncPostgresGroups(saver)
    return found
