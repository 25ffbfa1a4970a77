"""Savers: checkpointers as the async core uses them: a sync one in threads, a SQLite one with group
commit."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
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
from langgraph_rlm.pregel.sync import running_loop


def for_sync_use(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give a saver that the core may use while a sync caller waits.

    Raises:
        ConfigurationError: the saver lives on the event loop that the caller blocks.
    """
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
    loop = getattr(saver, "loop", None)
    if loop is not None and loop is running_loop():
        return saver
    if loop is not None and not loop.is_running():
        raise ConfigurationError(
            f"The event loop that {type(saver).__name__} was made on does not run. "
            "Make the saver on the loop that uses it, or give a sync one."
        )
    return for_sync_use(saver)


def for_many_writes(saver: BaseCheckpointSaver[Any]) -> BaseCheckpointSaver[Any]:
    """Give a saver that keeps up with the ends of a large batch: for SQLite one that commits in
    groups.

    A subclass of the user's own is given back as it is: it may do something else in the methods
    that would be replaced.
    """
    if (
        f"{type(saver).__module__}.{type(saver).__qualname__}"
        != "langgraph.checkpoint.sqlite.aio.AsyncSqliteSaver"
    ):
        return saver
    from langgraph_rlm.pregel.group_commit import group_commit

    return group_commit(cast(Any, saver))


class ThreadedSaver(BaseCheckpointSaver[Any]):
    """Another saver, whose sync methods are run in threads where the core awaits async ones."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        super().__init__(serde=saver.serde)
        self.wrapped = saver

    @property
    def config_specs(self) -> Any:
        return cast(Any, self.wrapped).config_specs

    def with_allowlist(self, extra_allowlist: Any) -> "ThreadedSaver":
        return ThreadedSaver(self.wrapped.with_allowlist(extra_allowlist))

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
