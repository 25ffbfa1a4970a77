"""Homes: where the threads of a graph are kept, and what they refer to. Deletes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.pregel import Pregel

from langgraph_rlm.errors import ConfigurationError, shown
from langgraph_rlm.pregel.databases import Identity, Rows, identity_of, rows_of
from langgraph_rlm.pregel.keys import BRANCH
from langgraph_rlm.pregel.leases import Database, database_of
from langgraph_rlm.pregel.savers import for_sync_use
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.storage.blobs import BlobStore

Saver = BaseCheckpointSaver[Any]

BEGUN = frozenset({"trajectory", "log"})
"""Channels that only the checkpoints of an RLM that has begun have together."""

CHANNELS = (
    BEGUN,
    frozenset({"query", "context", "messages", f"{BRANCH}ingest"}),
)
"""Channels that only an RLM's checkpoints have together: once it has begun, and before."""

KEY_START = "langgraph_rlm"
"""How the keys of metadata start that only this package writes."""

RECORD = "langgraph_rlm_record"
"""Key in the metadata of a thread that is no run but a record beside them, such as a response that
a server keeps. It is pruned as they are, and listed nowhere."""


@dataclass(frozen=True)
class Home:
    """The database and the blob store of some threads."""

    saver: Saver
    rows: Rows
    identity: Identity
    database: Database
    """What leases are taken on."""
    blobs: BlobStore

    async def newest(self, thread: str) -> CheckpointTuple | None:
        """Read the newest checkpoint of a thread's root; None where there is none."""
        return await self.saver.aget_tuple(
            {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
        )

    async def is_ours(self, thread: str) -> bool:
        """Whether an RLM ran on a thread, or within it. A database may have others too."""
        async for saved in self.saver.alist({"configurable": {"thread_id": thread}}):
            channels = saved.checkpoint["channel_versions"].keys()
            if any(channels >= those for those in CHANNELS):
                return True
            if any(key.startswith(KEY_START) for key in saved.metadata):
                return True
        return False


async def home_of(given: Any, blob_store: str | Path | BlobStore | None) -> Home:
    """Find the home of the threads of a graph or a saver.

    Args:
        given: a graph with a checkpointer, or a checkpointer.
        blob_store: where its blobs are; None for the store of the graph, else the default.

    Raises:
        ConfigurationError: it has no checkpointer, or RLMs with several stores.
    """
    saver = saver_of(given)
    if blob_store is None and isinstance(given, Pregel):
        blob_store = store_of(given)
    return Home(
        saver,
        await rows_of(saver),
        await identity_of(saver),
        await database_of(saver),
        BlobStore.open(blob_store),
    )


def saver_of(given: Any) -> Saver:
    """Give the checkpointer of a graph, or what is one.

    Raises:
        ConfigurationError: there is none.
    """
    is_saver = isinstance(given, BaseCheckpointSaver)
    found = cast(Any, given if is_saver else getattr(given, "checkpointer", None))
    if not isinstance(found, BaseCheckpointSaver):
        raise ConfigurationError(
            f"Threads are in a checkpointer, and {shown(cast(object, given))} has none: give a "
            "graph that was made with one, or the checkpointer itself."
        )
    return cast(Saver, found)


def in_sync_use(given: Any) -> Any:
    """Give a checkpointer that sync code may use, for a graph or a checkpointer."""
    saver = for_sync_use(saver_of(given))
    if isinstance(given, Pregel):
        return cast(Any, given).copy({"checkpointer": saver})
    return saver


def time_of(saved: CheckpointTuple) -> datetime:
    """When a checkpoint was written."""
    return datetime.fromisoformat(saved.checkpoint["ts"])


def store_of(graph: Any) -> BlobStore | None:
    """Give the blob store of a graph's RLMs; None where it has no RLM.

    Raises:
        ConfigurationError: they have several.
    """
    stores = {found.rlm.blobs.location: found.rlm.blobs for found in rlms_in(graph)}
    if len(stores) > 1:
        raise ConfigurationError(
            f"The RLMs of this graph have several blob stores: {', '.join(stores)}. "
            "Give one of them as blob_store=, once for each."
        )
    return next(iter(stores.values()), None)


def rlms_in(graph: Any) -> Iterator[RLMGraph]:
    """Give the RLMs of a graph: itself, or those that it has as nodes."""
    if isinstance(graph, RLMGraph):
        yield graph
        return
    for _, inner in graph.get_subgraphs(recurse=True):
        if isinstance(inner, RLMGraph):
            yield inner
