"""Group commit on PostgreSQL: savers that save what arrives at the same time in one statement, and
only for who holds the thread (`postgres_groups.py`).

What is written is what LangGraph's own savers say: their methods are run with a cursor that notes
down what they would write. A version of them that writes something else is left to itself.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection, Connection

from langgraph_rlm.pregel.postgres_groups import SyncPostgresGroups, groups_of, sync_groups_of
from langgraph_rlm.pregel.postgres_rows import Noted
from langgraph_rlm.pregel.savers import ThreadedSaver


class GroupCommitPostgresSaver(AsyncPostgresSaver):
    """Another `AsyncPostgresSaver`, on its connections. Only how it writes differs, and that a few
    read at once from a pool."""

    checks_lease = True
    is_far = True

    def __init__(self, saver: AsyncPostgresSaver) -> None:
        """Take over from `saver`, which can still be used."""
        vars(self).update(vars(saver))
        self._groups = groups_of(saver)
        self.lock = self._groups.reads

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what `AsyncPostgresSaver.aput` does, in a statement with others. Raises as
        `PostgresGroups.store` does."""
        noting = _AsyncNoting(self)
        saved = await noting.aput(config, checkpoint, metadata, new_versions)
        if not await self._groups.store(config, noting.noted):
            await super().aput(config, checkpoint, metadata, new_versions)
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Do what `AsyncPostgresSaver.aput_writes` does, in a statement with others. Raises as
        `PostgresGroups.store` does."""
        noting = _AsyncNoting(self)
        await noting.aput_writes(config, writes, task_id, task_path)
        if not await self._groups.store(config, noting.noted):
            await super().aput_writes(config, writes, task_id, task_path)


class ThreadedPostgresSaver(ThreadedSaver):
    """A `PostgresSaver` in threads, of which the same is true."""

    def __init__(self, saver: Any) -> None:
        super().__init__(saver)
        self._groups: SyncPostgresGroups | None = None

    @property
    def checks_lease(self) -> bool:
        return True

    @property
    def is_far(self) -> bool:
        return True

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what `PostgresSaver.put` does, in a statement with others. Raises as
        `PostgresGroups.store` does."""
        noting = _SyncNoting(self.wrapped)
        given = (config, checkpoint, metadata, new_versions)
        saved = await asyncio.to_thread(noting.put, *given)
        if not await self._store(config, noting.noted):
            await super().aput(*given)
        return saved

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        """Do what `PostgresSaver.put_writes` does, in a statement with others. Raises as
        `PostgresGroups.store` does."""
        noting = _SyncNoting(self.wrapped)
        given = (config, writes, task_id, task_path)
        await asyncio.to_thread(noting.put_writes, *given)
        if not await self._store(config, noting.noted):
            await super().aput_writes(*given)

    async def _store(self, config: RunnableConfig, noted: Noted) -> bool:
        """Store by the groups of this event loop, which last as long as somebody keeps them."""
        self._groups = sync_groups_of(cast(Any, self.wrapped))
        return await self._groups.store(config, noted)


class _AsyncNoting(AsyncPostgresSaver):
    """Another saver, which writes nothing: it notes what it would write."""

    def __init__(self, saver: AsyncPostgresSaver) -> None:
        vars(self).update(vars(saver))
        self.noted = _noted(saver)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncGenerator[Any]:
        yield _AsyncNoted(self.noted)


class _AsyncNoted:
    """`Noted`, for an async saver."""

    def __init__(self, noted: Noted) -> None:
        self._noted = noted

    async def execute(self, sql: str, values: Sequence[Any]) -> None:
        self._noted.execute(sql, values)

    async def executemany(self, sql: str, many: Sequence[Sequence[Any]]) -> None:
        self._noted.executemany(sql, many)


class _SyncNoting(PostgresSaver):
    """Another saver, which writes nothing: it notes what it would write."""

    def __init__(self, saver: object) -> None:
        vars(self).update(vars(saver))
        self.noted = _noted(self)

    @contextmanager
    def _cursor(self, *, pipeline: bool = False) -> Generator[Any]:
        yield self.noted


def _noted(saver: AsyncPostgresSaver | PostgresSaver) -> Noted:
    """Nothing yet. A document is written as a saver's one connection has it, or as all do."""
    is_one = isinstance(saver.conn, AsyncConnection | Connection)
    return Noted(saver.conn if is_one else None)
