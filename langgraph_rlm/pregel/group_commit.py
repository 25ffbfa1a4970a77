"""Group commit: what arrives to be saved while SQLite is busy shares its next transaction. Each
call returns once it is on disk.

`AsyncSqliteSaver` commits each checkpoint and the writes of each task by themselves: four trips to
its thread and a commit of about 4 ms, where a row costs 0.2 ms. The calls of a large batch end
faster than that, and so do the steps of many children at once: their results would wait in line to
be saved, and would be paid for again after a kill.

The rows are written into the saver's tables as it writes them itself. A table is the format of a
file on disk, which changes less often than the body of a method; where it has other columns than
are known here, the saver's own method is used.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm.pregel.grouping import Groups, Take


@dataclass(frozen=True)
class Table:
    """A table of langgraph-checkpoint-sqlite 3.1, with its columns as rows here have them."""

    name: str
    columns: tuple[str, ...]


KEY = ("thread_id", "checkpoint_ns", "checkpoint_id")
WRITES = Table("writes", (*KEY, "task_id", "task_path", "idx", "channel", "type", "value"))
CHECKPOINTS = Table("checkpoints", (*KEY, "parent_checkpoint_id", "type", "checkpoint", "metadata"))

MOST_ROWS = 100
"""Rows in one statement: SQLite takes at least 999 values in one, and a row has up to nine."""


@dataclass(frozen=True)
class Row:
    """One row, and what SQLite does when its key is taken: REPLACE for checkpoints, pauses and
    errors, IGNORE for results."""

    table: Table
    conflict: str
    values: tuple[Any, ...]


class GroupCommitSaver(AsyncSqliteSaver):
    """Another `AsyncSqliteSaver`, on its connection and under its lock. Only `aput` and
    `aput_writes` differ."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        """Take over from `saver`, which can still be used. Has to be called on its event loop."""
        super().__init__(saver.conn)
        vars(self).update(vars(saver))
        self._groups = _Groups(self)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what `AsyncSqliteSaver.aput` does, in a transaction with others.

        Raises:
            sqlite3.Error: the transaction failed; all of its group get the same error, and nothing
                of it is stored.
        """
        if not await self._knows(CHECKPOINTS):
            return await super().aput(config, checkpoint, metadata, new_versions)
        place = config.get("configurable", {})
        await self._groups.save([self._checkpoint_row(config, checkpoint, metadata)])
        saved = {"thread_id": place["thread_id"], "checkpoint_ns": place["checkpoint_ns"]}
        return {"configurable": {**saved, "checkpoint_id": checkpoint["id"]}}

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Do what `AsyncSqliteSaver.aput_writes` does, in a transaction with others. Raises as
        `aput` does."""
        if await self._knows(WRITES):
            await self._groups.save(self._write_rows(config, writes, task_id, task_path))
        else:
            await super().aput_writes(config, writes, task_id, task_path)

    async def _knows(self, table: Table) -> bool:
        """Whether a table is the one that is known here."""
        if not self.is_setup:  # `setup` waits for the lock, where each of a hundred would wait
            await self.setup()
        return await self._groups.knows(table)

    def _checkpoint_row(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
    ) -> Row:
        """The row of a checkpoint, as the saver makes it."""
        place = config.get("configurable", {})
        kind, data = self.serde.dumps_typed(checkpoint)
        told = json.dumps(get_checkpoint_metadata(config, metadata), ensure_ascii=False)
        values = (
            str(place["thread_id"]),
            place["checkpoint_ns"],
            checkpoint["id"],
            place.get("checkpoint_id"),
            kind,
            data,
            told.encode("utf-8", "ignore"),
        )
        return Row(CHECKPOINTS, "REPLACE", values)

    def _write_rows(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str,
    ) -> list[Row]:
        """The rows of a task's writes, as the saver makes them."""
        place = config.get("configurable", {})
        key = [str(place[name]) for name in KEY]
        are_special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        conflict = "REPLACE" if are_special else "IGNORE"
        rows: list[Row] = []
        for number, (channel, value) in enumerate(writes):
            index = WRITES_IDX_MAP.get(channel, number)
            kind, data = self.serde.dumps_typed(value)
            values = (*key, task_id, task_path, index, channel, kind, data)
            rows.append(Row(WRITES, conflict, values))
        return rows


def group_commit(saver: AsyncSqliteSaver) -> GroupCommitSaver:
    """The group commit of a saver, the same one for all who use that saver."""
    if saver not in _made:
        _made[saver] = GroupCommitSaver(saver)
    return _made[saver]


_made: WeakKeyDictionary[AsyncSqliteSaver, GroupCommitSaver] = WeakKeyDictionary()


class _Groups(Groups[list[Row]]):
    """The groups of a saver. LangGraph's copies of a saver share them."""

    def __init__(self, saver: AsyncSqliteSaver) -> None:
        super().__init__()
        self._saver = saver
        self._known: dict[Table, bool] = {}

    async def knows(self, table: Table) -> bool:
        """Whether a table has the columns that are written here. It is looked at once."""
        if table not in self._known:
            found = await self._saver.conn.execute_fetchall(f"PRAGMA table_info({table.name})")
            self._known[table] = {row[1] for row in found} == set(table.columns)
        return self._known[table]

    async def _commit(self, take: Take[list[Row]]) -> None:
        """Close the group once the connection is free, and save it."""
        connection = self._saver.conn
        async with self._saver.lock:
            rows = [row for saving in take() for row in saving.what]
            try:
                for sql, values in _statements(rows):
                    await connection.execute(sql, values)
                await connection.commit()
            except BaseException:
                await connection.rollback()
                raise


def _statements(rows: list[Row]) -> Iterator[tuple[str, list[Any]]]:
    """Rows that are written alike as one statement, in their order, and its values.

    Not `executemany`: that takes the interpreter's lock again for each row, and waits 5 ms for it
    while the event loop is busy. REPLACE takes a key whether it comes before IGNORE or after, so
    the order between rows that are written in different ways does not matter.
    """
    for (name, conflict), alike in groupby(sorted(rows, key=_way), _way):
        group = list(alike)
        columns = group[0].table.columns
        marks = f"({', '.join('?' * len(columns))})"
        start = f"INSERT OR {conflict} INTO {name} ({', '.join(columns)}) VALUES "
        for first in range(0, len(group), MOST_ROWS):
            part = group[first : first + MOST_ROWS]
            values = [value for row in part for value in row.values]
            yield start + ", ".join([marks] * len(part)), values


def _way(row: Row) -> tuple[str, str]:
    """How a row is written."""
    return row.table.name, row.conflict
