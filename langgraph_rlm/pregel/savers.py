"""Savers: checkpointers as the async core uses them: a sync one in threads, those of SQLite and
PostgreSQL with group commit, each with writes that tasks save before they end (`early_writes.py`)
and under the lease of its run."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import cached_property
from inspect import signature
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.pregel.early_writes import Saved
from langgraph_rlm.pregel.held import Held
from langgraph_rlm.pregel.keys import with_lease
from langgraph_rlm.pregel.sync import running_loop


def own_saver(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give the user's saver behind those of this package."""
    while isinstance(saver, WrappedSaver):
        saver = saver.wrapped
    return saver


def for_sync_use(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give a saver that the core may use while a sync caller waits.

    Raises:
        ConfigurationError: the saver lives on the event loop that the caller blocks.
    """
    if isinstance(saver, EarlySaver):
        return saver.over(for_sync_use(saver.wrapped))
    if isinstance(saver, InMemorySaver | ThreadedSaver):
        return saver
    if getattr(saver, "loop", None) is running_loop() is not None:
        raise ConfigurationError(
            f"A sync call blocks the event loop that {type(saver).__name__} runs on. "
            "Use ainvoke or astream, or a sync saver."
        )
    return ThreadedSaver(saver)


def on_this_loop(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give a saver that async code on the running loop may use: an async one of this loop as it is,
    one of another loop or a sync one in threads.

    Raises:
        ConfigurationError: the loop that the saver lives on does not run.
    """
    if isinstance(saver, EarlySaver):
        return saver.over(on_this_loop(saver.wrapped))
    loop = getattr(saver, "loop", None)
    if loop is not None and loop is running_loop():
        return saver
    if loop is not None and not loop.is_running():
        raise ConfigurationError(
            f"The event loop that {type(saver).__name__} was made on does not run. "
            "Make the saver on the loop that uses it, or give a sync one."
        )
    return for_sync_use(saver)


def for_many_writes(saver: BaseCheckpointSaver[Any], lease: Held | None = None) -> "EarlySaver":
    """Give a saver that keeps up with the ends of many calls: it leaves out what a task has saved
    before its end, and SQLite and PostgreSQL commit in groups.

    A subclass of the user's own saver commits as it does: it may do something else in the methods
    that would be replaced.

    Args:
        lease: under which it writes. A saver that was made here before may have it already, as a
            child writes under its root's.
    """
    if isinstance(saver, EarlySaver):
        return saver if lease in (None, saver.lease) else EarlySaver(saver.wrapped, lease)
    return EarlySaver(_in_groups(saver), lease)


def _in_groups(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give a saver with group commit, where there is one of its kind."""
    own: Any = own_saver(saver)
    is_threaded = type(saver) is ThreadedSaver
    kind = f"{type(own).__module__}.{type(own).__qualname__}"
    if kind == "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver" and own is saver:
        from langgraph_rlm.pregel.group_commit import group_commit

        return group_commit(own)
    if kind == "langgraph.checkpoint.postgres.aio.AsyncPostgresSaver":
        from langgraph_rlm.pregel.postgres_commit import GroupCommitPostgresSaver

        grouped = GroupCommitPostgresSaver(own)
        return ThreadedSaver(grouped) if is_threaded else grouped
    if kind == "langgraph.checkpoint.postgres.PostgresSaver" and is_threaded:
        from langgraph_rlm.pregel.postgres_commit import ThreadedPostgresSaver

        return ThreadedPostgresSaver(own)
    return saver


class WrappedSaver(BaseCheckpointSaver[Any]):
    """Another saver, used through this one."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=saver.serde)
        self.wrapped = saver

    @property
    def checks_lease(self) -> bool:
        """Whether what it writes is checked by the token that it is given (`keys.LEASE`)."""
        return bool(getattr(self.wrapped, "checks_lease", False))

    @property
    def is_far(self) -> bool:
        """Whether each read takes a trip over a network, and `alist` reads many whole checkpoints
        at once."""
        return bool(getattr(self.wrapped, "is_far", False))

    @property
    def config_specs(self) -> Any:
        return cast(Any, self.wrapped).config_specs

    def with_allowlist(self, extra_allowlist: Any) -> "WrappedSaver":
        return type(self)(self.wrapped.with_allowlist(extra_allowlist))

    def get_next_version(self, current: Any, channel: None) -> Any:
        return self.wrapped.get_next_version(current, channel)

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return self.wrapped.get_tuple(config)

    def list(self, config: RunnableConfig | None, **options: Any) -> Iterator[CheckpointTuple]:
        return self.wrapped.list(config, **options)

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.wrapped.put(config, checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.wrapped.put_writes(config, writes, task_id, task_path)

    def delete_thread(self, thread_id: str) -> None:
        self.wrapped.delete_thread(thread_id)

    def get_delta_channel_history(self, **options: Any) -> Mapping[str, DeltaChannelHistory]:
        return self.wrapped.get_delta_channel_history(**options)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await self.wrapped.aget_tuple(config)

    async def alist(
        self, config: RunnableConfig | None, **options: Any
    ) -> AsyncIterator[CheckpointTuple]:
        async for saved in self.wrapped.alist(config, **options):
            yield saved

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await self.wrapped.aput(config, checkpoint, metadata, new_versions)

    async def adelete_thread(self, thread_id: str) -> None:
        await self.wrapped.adelete_thread(thread_id)

    async def aget_delta_channel_history(self, **options: Any) -> Mapping[str, DeltaChannelHistory]:
        return await self.wrapped.aget_delta_channel_history(**options)


class EarlySaver(WrappedSaver):
    """Another saver, which is not given once more what a task has saved before its end, and nothing
    of a thread that somebody else has taken over.

    So such a task never looks finished: where a process is killed between the task's end and the
    next checkpoint, the task runs again and finds all that it has saved.
    """

    def __init__(self, saver: BaseCheckpointSaver[Any], lease: Held | None = None) -> None:
        super().__init__(saver)
        self.lease = lease

    def over(self, saver: BaseCheckpointSaver[Any]) -> "EarlySaver":
        """Give the same over another saver."""
        return EarlySaver(saver, self.lease)

    def with_allowlist(self, extra_allowlist: Any) -> "EarlySaver":
        return self.over(self.wrapped.with_allowlist(extra_allowlist))

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return self.wrapped.put(self._with_token(config), checkpoint, metadata, new_versions)

    def put_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        self.wrapped.put_writes(self._with_token(config), writes, task_id, task_path)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        leased = await self._leased(config)
        return await self.wrapped.aput(leased, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        if any(isinstance(value, Saved) for _, value in writes):
            return
        leased = await self._leased(config)
        if self._takes_path:
            await self.wrapped.aput_writes(leased, writes, task_id, task_path)
        else:
            await self.wrapped.aput_writes(leased, writes, task_id)

    async def _leased(self, config: RunnableConfig) -> RunnableConfig:
        """A config for writing. Where the saver does not check the lease, it is checked here.

        Raises:
            ThreadTakenOverError: it is not held any more.
        """
        leased = self._with_token(config)
        if leased is config and self.lease is not None and self._is_of(self.lease, config):
            await self.lease.check()
        return leased

    def _with_token(self, config: RunnableConfig) -> RunnableConfig:
        """A config with the lease's token, for a saver that checks it in the statement by which it
        writes. What sync code writes to any other saver is not checked."""
        lease = self.lease
        if lease is None or lease.token is None or not self.checks_lease:
            return config
        return with_lease(config, lease.key, lease.token) if self._is_of(lease, config) else config

    def _is_of(self, lease: Held, config: RunnableConfig) -> bool:
        """Whether something is written to the thread of the lease. Code within a run may use the
        run's saver for other threads."""
        return str(config.get("configurable", {}).get("thread_id")) == lease.thread

    @cached_property
    def _takes_path(self) -> bool:
        """Whether the saver is told the path of a task, as newer ones are."""
        return "task_path" in signature(self.wrapped.aput_writes).parameters


class ThreadedSaver(WrappedSaver):
    """Another saver, whose sync methods are run in threads where the core awaits async ones."""

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        return await asyncio.to_thread(self.wrapped.get_tuple, config)

    async def alist(
        self, config: RunnableConfig | None, **options: Any
    ) -> AsyncIterator[CheckpointTuple]:
        for saved in await asyncio.to_thread(lambda: [*self.wrapped.list(config, **options)]):
            yield saved

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        return await asyncio.to_thread(self.wrapped.put, config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self,
        config: RunnableConfig,
        writes: Sequence[tuple[str, Any]],
        task_id: str,
        task_path: str = "",
    ) -> None:
        await asyncio.to_thread(self.wrapped.put_writes, config, writes, task_id, task_path)

    async def adelete_thread(self, thread_id: str) -> None:
        await asyncio.to_thread(self.wrapped.delete_thread, thread_id)

    async def aget_delta_channel_history(self, **options: Any) -> Mapping[str, DeltaChannelHistory]:
        return await asyncio.to_thread(lambda: self.wrapped.get_delta_channel_history(**options))
