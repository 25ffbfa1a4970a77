"""Group commit: writes that come while SQLite is busy share its next transaction. Each still returns when it is on disk, not before.

`AsyncSqliteSaver` commits each task's writes by itself, four trips to its thread each. The calls of a large batch end faster than
that: what is finished would wait in line to be saved, and be paid for again after a kill.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import Any, cast
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

Statement = tuple[str, list[Any]]
"""An `INSERT ... VALUES (?, ...)`, and its rows."""

MOST_ROWS = 100
"""SQLite takes at least 999 values in a statement, and a row has nine."""


class GroupCommitSaver(AsyncSqliteSaver):
    """Another `AsyncSqliteSaver`, on its connection and under its lock; only `aput_writes` differs. The statements are the saver's own."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        """Take over from `saver`, which can still be used. On its event loop."""
        super().__init__(saver.conn)
        vars(self).update(vars(saver))
        self._groups = _Groups(self)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """As `AsyncSqliteSaver.aput_writes`. When the transaction fails, every write of the group raises what it raised."""
        if not self.is_setup:  # `setup` waits for the lock, where each of a hundred writes would wait a turn of a busy event loop
            await self.setup()
        dictation = _Dictation()
        scribe = AsyncSqliteSaver(cast(Any, dictation), serde=self.serde)
        scribe.is_setup = True
        await scribe.aput_writes(config, writes, task_id, task_path)
        await self._groups.save(dictation.statements)


def group_commit(saver: AsyncSqliteSaver) -> GroupCommitSaver:
    """The one of a saver, for all who use it."""
    if saver not in _made:
        _made[saver] = GroupCommitSaver(saver)
    return _made[saver]


_made: WeakKeyDictionary[AsyncSqliteSaver, GroupCommitSaver] = WeakKeyDictionary()


class _Groups:
    """The group that gathers now. LangGraph's copies of a saver share it."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        self._saver = saver
        self._gathering: list[Statement] = []
        self._saved: asyncio.Task[None] | None = None

    async def save(self, statements: list[Statement]) -> None:
        """Have the statements run and committed with the group."""
        self._gathering += statements
        if self._saved is None:
            self._saved = asyncio.create_task(self._commit())
        await asyncio.shield(
            self._saved
        )  # a caller that is cancelled does not take the others' writes with it

    async def _commit(self) -> None:
        """Close the group once the connection is free, and save it."""
        connection = self._saver.conn
        async with self._saver.lock:
            statements, self._gathering, self._saved = self._gathering, [], None
            try:
                for sql, values in _joined(statements):
                    await connection.execute(sql, values)
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise


def _joined(statements: list[Statement]) -> Iterator[tuple[str, list[Any]]]:
    """Neighbours of the same SQL as one statement of many rows, and its values.

    Not `executemany`: that takes the interpreter's lock again for each row, and waits 5 ms for it while the event loop is busy.
    """
    for sql, group in groupby(statements, lambda statement: statement[0]):
        rows = [row for _, rows in group for row in rows]
        start, _, row_of = sql.rpartition("VALUES ")
        for first in range(0, len(rows), MOST_ROWS):
            part = rows[first : first + MOST_ROWS]
            yield (
                f"{start}VALUES {', '.join([row_of] * len(part))}",
                [value for row in part for value in row],
            )


class _Dictation:
    """Stands in for a connection, and takes down what it is told to run."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []

    @asynccontextmanager
    async def cursor(self) -> AsyncGenerator["_Dictation"]:
        yield self

    async def executemany(self, sql: str, rows: Sequence[Any]) -> None:
        self.statements.append((sql, [*rows]))

    async def commit(self) -> None:
        pass
