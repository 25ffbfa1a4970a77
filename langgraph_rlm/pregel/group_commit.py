"""Group commit: writes that arrive while SQLite is busy share its next transaction. Each returns
once it is on disk.

`AsyncSqliteSaver` commits the writes of each task by themselves: four trips to its thread and a
commit of about 4 ms, where a write costs 0.2 ms. The calls of a large batch end faster than that,
so their results would wait in line to be saved, and would be paid for again after a kill.

The rows are written into the saver's table as it writes them itself. The table is the format of a
file on disk, which changes less often than the body of a method; where it has other columns than
are known here, the saver's own method is used.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

COLUMNS = (
    "thread_id",
    "checkpoint_ns",
    "checkpoint_id",
    "task_id",
    "task_path",
    "idx",
    "channel",
    "type",
    "value",
)
"""Columns of the table `writes` of langgraph-checkpoint-sqlite 3.1."""

MOST_ROWS = 100
"""Rows in one statement: SQLite takes at least 999 values in one, and a row has nine."""


@dataclass(frozen=True)
class Write:
    """One row, and what SQLite does when its key is taken: REPLACE for pauses and errors, IGNORE
    for results."""

    conflict: str
    row: tuple[Any, ...]


class GroupCommitSaver(AsyncSqliteSaver):
    """Another `AsyncSqliteSaver`, on its connection and under its lock. Only `aput_writes`
    differs."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        """Take over from `saver`, which can still be used. Has to be called on its event loop."""
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
        """Do what `AsyncSqliteSaver.aput_writes` does, in a transaction with others.

        Raises:
            sqlite3.Error: the transaction failed; every write of its group gets the same error, and
            none is stored.
        """
        if (
            not self.is_setup
        ):  # `setup` waits for the lock, where a hundred writes would wait a turn of the loop each
            await self.setup()
        if await self._groups.knows_the_table():
            await self._groups.save(self._rows(config, writes, task_id, task_path))
        else:
            await super().aput_writes(config, writes, task_id, task_path)

    def _rows(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> list[Write]:
        """The rows of a task's writes, as the saver makes them."""
        place = config.get("configurable", {})
        key = [str(place[name]) for name in ("thread_id", "checkpoint_ns", "checkpoint_id")]
        are_special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        conflict = "REPLACE" if are_special else "IGNORE"
        rows: list[Write] = []
        for number, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, number)
            kind, data = self.serde.dumps_typed(value)
            rows.append(Write(conflict, (*key, task_id, task_path, index, channel, kind, data)))
        return rows


def group_commit(saver: AsyncSqliteSaver) -> GroupCommitSaver:
    """The group commit of a saver, the same one for all who use that saver."""
    if saver not in _made:
        _made[saver] = GroupCommitSaver(saver)
    return _made[saver]


_made: WeakKeyDictionary[AsyncSqliteSaver, GroupCommitSaver] = WeakKeyDictionary()


class _Groups:
    """The group that gathers now. LangGraph's copies of a saver share it."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        self._saver = saver
        self._gathering: list[Write] = []
        self._saved: asyncio.Task[None] | None = None
        self._is_known: bool | None = None

    async def knows_the_table(self) -> bool:
        """Whether the table has the columns that are written here. It is looked at once."""
        if self._is_known is None:
            found = await self._saver.conn.execute_fetchall("PRAGMA table_info(writes)")
            self._is_known = {row[1] for row in found} == set(COLUMNS)
        return self._is_known

    async def save(self, writes: list[Write]) -> None:
        """Have the rows written and committed with the group."""
        self._gathering += writes
        if self._saved is None:
            self._saved = asyncio.create_task(self._commit())
        await asyncio.shield(
            self._saved
        )  # one caller's cancellation must not lose the others' rows

    async def _commit(self) -> None:
        """Close the group once the connection is free, and save it."""
        connection = self._saver.conn
        async with self._saver.lock:
            writes, self._gathering, self._saved = self._gathering, [], None
            try:
                for sql, values in _statements(writes):
                    await connection.execute(sql, values)
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise


def _statements(writes: list[Write]) -> Iterator[tuple[str, list[Any]]]:
    """Neighbours that are written alike as one statement of many rows, and its values.

    Not `executemany`: that takes the interpreter's lock again for each row, and waits 5 ms for it
    while the event loop is busy.
    """
    marks = f"({', '.join('?' * len(COLUMNS))})"
    for conflict, group in groupby(writes, lambda write: write.conflict):
        rows = [write.row for write in group]
        start = f"INSERT OR {conflict} INTO writes ({', '.join(COLUMNS)}) VALUES "
        for first in range(0, len(rows), MOST_ROWS):
            part = rows[first : first + MOST_ROWS]
            yield start + ", ".join([marks] * len(part)), [value for row in part for value in row]
