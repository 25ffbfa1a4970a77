"""Sources: threads of a database, and which graph reads and runs each of them.

Runs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.pregel import Pregel

from langgraph_rlm.history.homes import saver_of, store_of
from langgraph_rlm.history.threads import Thread, athreads
from langgraph_rlm.pregel.savers import on_this_loop
from langgraph_rlm.storage.blobs import BlobStore

Saver = BaseCheckpointSaver[Any]

NOTHING_RUNS = (
    "Nothing here can run this thread: start the page with --graph FILE:NAME, the graph that has "
    "its tools. A process that may run it takes up the answers that are given here."
)


@dataclass(frozen=True)
class Opened:
    """What reads and runs one thread."""

    graph: Any
    """What may run the thread; None where nothing may."""
    reads: Any
    """The graph, or the checkpointer, that the thread is read with."""
    blobs: BlobStore
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a run adds to the metadata of its checkpoints."""

    @property
    def can_run(self) -> bool:
        """Whether the thread can be run here."""
        return self.graph is not None


class Source(Protocol):
    """The threads of one database."""

    saver: Saver
    """Its checkpointer, as the running event loop may use it."""

    async def threads(self) -> Sequence[Thread]:
        """List the threads, the newest first."""
        ...

    def opened(self, saved: CheckpointTuple | None) -> Opened:
        """Give the graph for a thread.

        Args:
            saved: the thread's newest checkpoint; None for a thread that is yet to begin.
        """
        ...


class OneGraph:
    """Threads of one graph, which may run them all."""

    def __init__(self, graph: Any, saver: Saver | None = None) -> None:
        """Take a graph.

        Args:
            graph: an RLM, or a graph with RLMs as nodes.
            saver: where the threads are; None for the graph's own checkpointer.

        Raises:
            ConfigurationError: there is no checkpointer, or its RLMs have several blob stores.
        """
        self.saver = on_this_loop(saver or saver_of(graph))
        self._graph = graph.copy({"checkpointer": self.saver})
        self._opened = Opened(self._graph, self._graph, store_of(graph) or BlobStore.open())

    async def threads(self) -> Sequence[Thread]:
        """Do what `Source.threads` says."""
        return await athreads(self._graph)

    def opened(self, saved: CheckpointTuple | None) -> Opened:
        """Do what `Source.opened` says."""
        return self._opened


class OnlyRead:
    """Threads of a checkpointer, which nothing here can run."""

    def __init__(self, saver: Saver, blob_store: str | Path | BlobStore | None = None) -> None:
        """Take a checkpointer, and where the blobs of its threads are; None is the default."""
        self.saver = on_this_loop(saver)
        self._opened = Opened(None, self.saver, BlobStore.open(blob_store))

    async def threads(self) -> Sequence[Thread]:
        """Do what `Source.threads` says."""
        return await athreads(self.saver, blob_store=self._opened.blobs)

    def opened(self, saved: CheckpointTuple | None) -> Opened:
        """Do what `Source.opened` says."""
        return self._opened


def source_of(given: Any, blob_store: str | Path | BlobStore | None = None) -> Source:
    """Give the source of a graph with a checkpointer, or of a checkpointer.

    Raises:
        ConfigurationError: it has no checkpointer.
    """
    if isinstance(given, Pregel):
        return OneGraph(given)
    return OnlyRead(saver_of(given), blob_store)
