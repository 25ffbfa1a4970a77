"""UI source: the threads of the command's database for the page, with the options that they
remember. Runs nothing."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from langgraph_rlm.cli.graphs import load_graph, own_saver
from langgraph_rlm.cli.kept_options import REMEMBERED, Options, environment, kept, options_in
from langgraph_rlm.cli.kept_threads import Place, opened, threads_in
from langgraph_rlm.history.threads import Thread
from langgraph_rlm.hosting.sources import OneGraph, Opened, Source
from langgraph_rlm.server.savers import open_saver, store_beside
from langgraph_rlm.storage.blobs import BlobStore

if TYPE_CHECKING:
    from langgraph.checkpoint.base import CheckpointTuple


@asynccontextmanager
async def open_source(place: Place, given: Options) -> AsyncGenerator[Source]:
    """Open a database for the page, as long as it is served.

    Args:
        place: the database. A new one is made where options say what runs in it.
        given: with a graph, it runs all threads. Without one, the command's own threads run with
            the options that they remember, under these; other threads are only read.

    Raises:
        ConfigurationError: the database, the graph or an option is wrong.
    """
    graph = None if given.graph is None else load_graph(given.graph)
    if graph is not None and own_saver(graph) is not None and Place.of(None) == place:
        yield OneGraph(graph)  # its threads are in a checkpointer of its own
        return
    can_begin = graph is not None or given.over(environment()).model is not None
    async with _saver(place, may_make=can_begin) as saver:
        if graph is not None:
            yield OneGraph(graph, saver)
            return
        source = KeptOptions(saver, given, store_beside(place.db))
        try:
            yield source
        finally:
            source.close()


@asynccontextmanager
async def _saver(place: Place, *, may_make: bool) -> AsyncGenerator[Any]:
    if may_make:
        async with open_saver(place.db) as saver:
            yield saver
        return
    async with opened(place) as at:  # one that is not there is a slip of the pen
        yield at.saver


class KeptOptions:
    """The threads of a database, each with the options that it remembers."""

    def __init__(self, saver: Any, given: Options, beside: str | None = None) -> None:
        """Take the checkpointer, and options that go before what threads remember.

        Args:
            saver: the checkpointer.
            given: the options.
            beside: the blob store of threads that remember none; None for the default one.
        """
        self.saver = saver
        self._beside = beside
        self._given = given
        self._made: dict[str, Opened] = {}

    async def threads(self) -> Sequence[Thread]:
        """Do what `Source.threads` says."""
        return await threads_in(self.saver, self._beside)

    def opened(self, saved: "CheckpointTuple | None") -> Opened:
        """Do what `Source.opened` says: a thread that remembers nothing is not the command's."""
        known = Options() if saved is None else options_in(saved.metadata)
        is_own = saved is None or REMEMBERED in saved.metadata
        if known.graph is not None:  # a database does not choose what code runs
            is_own = False
        options = self._given.over(known.over(environment()).over(Options(blob_store=self._beside)))
        key = json.dumps({REMEMBERED: asdict(options), "own": is_own}, sort_keys=True)
        if key not in self._made:
            self._made[key] = self._make(options, may_run=is_own and options.model is not None)
        return self._made[key]

    def _make(self, options: Options, *, may_run: bool) -> Opened:
        blobs = BlobStore.open(options.blob_store)
        if not may_run:
            return Opened(None, self.saver, blobs)
        graph = options.made(self.saver)
        return Opened(graph, graph, blobs, {REMEMBERED: kept(options)})

    def close(self) -> None:
        """End the interpreters of all graphs."""
        for made in self._made.values():
            if made.graph is not None:
                made.graph.rlm.sessions.close()
