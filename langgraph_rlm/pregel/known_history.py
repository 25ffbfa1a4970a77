"""Known history: a thread's `DeltaChannel` as this process has read it before. Writes labels alone.

LangGraph reads such a channel by the writes of all checkpoints since its last snapshot, so each
question of a thread would read the whole thread again. Here a read walks back to the checkpoint
that was read last, and takes up its value. The id of a checkpoint never stands for another value:
whatever is written later, here or elsewhere, gets ids of its own, and the walk passes them.
"""

import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from cachetools import LRUCache
from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
)

from langgraph_rlm.pregel.held import Held
from langgraph_rlm.pregel.savers import EarlySaver

MOST_ENTRIES = 50_000
"""Entries of all values that are kept; one has about a kilobyte. The last value is always kept."""

MOST_STEPS = 100
"""Checkpoints that a walk looks at. What is farther back is read as LangGraph reads it, which takes
fewer queries."""

FIRST_PAGE = 8
"""Checkpoints that are read at once from a database that is far; twice as many the next time. A
question of one turn has six."""

Key = tuple[str, str]
"""A thread, and a namespace in it."""


Labels = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Gives what the metadata of a checkpoint says of its values: strings and numbers."""


class Known(NamedTuple):
    """A value that was read."""

    checkpoint: str
    value: Mapping[str, Any]


class Histories:
    """The values of one channel by thread, those used last. A value is not changed by anybody."""

    def __init__(self, channel: str, most_entries: int = MOST_ENTRIES) -> None:
        self.channel = channel

        def entries(known: Known) -> int:
            return min(len(known.value), most_entries)

        self._known: LRUCache[Key, Known] = LRUCache(most_entries, entries)
        self._lock = threading.Lock()

    def of(self, key: Key) -> Known | None:
        """Give what was read last; None for nothing."""
        with self._lock:
            return self._known.get(key)

    def keep(self, key: Key, known: Known) -> None:
        """Keep what was read in place of what was read before."""
        with self._lock:
            self._known[key] = known


@dataclass(frozen=True)
class Reading:
    """What a saver takes from histories."""

    histories: Histories
    channel: DeltaChannel[Any]
    namespace: str
    labels: Labels


def with_histories(
    saver: EarlySaver, histories: Histories, graph: Any, namespace: str, labels: Labels
) -> EarlySaver:
    """Give a saver that reads one channel of one namespace by what is known of it, and labels the
    checkpoints there.

    Args:
        saver: as a run uses it.
        histories: what was read before.
        graph: that has the channel.
        namespace: of the graph. In others a channel of that name may be another one.
        labels: of checkpoints.
    """
    channel: object = graph.channels.get(histories.channel)
    if not isinstance(channel, DeltaChannel):
        return saver
    known = Reading(histories, cast("DeltaChannel[Any]", channel), namespace, labels)
    return HistorySaver(saver.wrapped, known, saver.lease)


class HistorySaver(EarlySaver):
    """Another saver, of which less is read."""

    def __init__(
        self, saver: BaseCheckpointSaver[Any], reading: Reading, lease: Held | None = None
    ) -> None:
        super().__init__(saver, lease)
        self._reading = reading

    def over(self, saver: BaseCheckpointSaver[Any]) -> "HistorySaver":
        return HistorySaver(saver, self._reading, self.lease)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Do what the saver does, with labels."""
        if config.get("configurable", {}).get("checkpoint_ns", "") == self._reading.namespace:
            labels = self._reading.labels(checkpoint["channel_values"])
            metadata = cast(CheckpointMetadata, {**metadata, **labels})
        return await super().aput(config, checkpoint, metadata, new_versions)

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str], **options: Any
    ) -> Mapping[str, DeltaChannelHistory]:
        """Do what the saver does, by fewer reads."""
        reading = self._reading
        place = config.get("configurable", {})
        name, namespace = reading.histories.channel, place.get("checkpoint_ns", "")
        checkpoint = place.get("checkpoint_id")
        if [*channels] != [name] or namespace != reading.namespace or checkpoint is None:
            return await super().aget_delta_channel_history(config=config, channels=channels)
        key = (str(place.get("thread_id")), namespace)
        known = reading.histories.of(key)
        if known is None or known.checkpoint != checkpoint:
            history = None if known is None else await self._since(known, config, name)
            if history is None:
                found = await super().aget_delta_channel_history(config=config, channels=channels)
                history = found[name]
            known = Known(checkpoint, _value(history, reading.channel))
            reading.histories.keep(key, known)
        return {name: DeltaChannelHistory(seed=known.value, writes=[])}

    async def _since(
        self, known: Known, config: RunnableConfig, name: str
    ) -> DeltaChannelHistory | None:
        """Walk back to what is known, or to a snapshot; None where neither is near.

        The writes of a checkpoint come after its value: so those of the last one count too.
        """
        writes: list[PendingWrite] = []
        async with aclosing(self._before(config)) as steps:
            async for saved in steps:
                pending = reversed(saved.pending_writes or [])
                writes += [write for write in pending if write[1] == name]
                values = saved.checkpoint["channel_values"]
                if name in values or saved.checkpoint["id"] == known.checkpoint:
                    seed = values.get(name, known.value)
                    return DeltaChannelHistory(seed=seed, writes=writes[::-1])
        return None

    async def _before(self, config: RunnableConfig) -> AsyncGenerator[CheckpointTuple]:
        """Give the checkpoints that lead to one, the last one first."""
        after = await self.aget_tuple(config)
        near: Mapping[str, CheckpointTuple] = {}
        size = FIRST_PAGE
        for _ in range(MOST_STEPS):
            if after is None or after.parent_config is None:
                return
            id = str(after.parent_config.get("configurable", {})["checkpoint_id"])
            if id not in near and self.is_far:
                near, size = await self._page(after.config, size), 2 * size
            after = near.get(id) or await self.aget_tuple(after.parent_config)
            if after is not None:
                yield after

    async def _page(self, after: RunnableConfig, size: int) -> Mapping[str, CheckpointTuple]:
        """Read the checkpoints of a namespace right before one, in one trip, by their ids. Where a
        thread has branches, they are not all of one."""
        place = after.get("configurable", {})
        where: Any = {name: place[name] for name in ("thread_id", "checkpoint_ns")}
        listed = self.wrapped.alist({"configurable": where}, before=after, limit=size)
        return {saved.checkpoint["id"]: saved async for saved in listed}


def _value(history: DeltaChannelHistory, channel: DeltaChannel[Any]) -> Mapping[str, Any]:
    """Reduce a history, as LangGraph does."""
    read = channel.from_checkpoint(history.get("seed"))
    read.replay_writes(history["writes"])
    return read.get()
