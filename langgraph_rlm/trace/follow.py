"""Follow: read a thread again and again, and give what is new. Whichever process works on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.pregel.databases import Mark
from langgraph_rlm.pregel.leases import is_leased
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.trace.finding import has_begun
from langgraph_rlm.trace.reading import Reader, Trace
from langgraph_rlm.trace.records import Record, State

MOST_OTHERS = 50
"""Most threads of children elsewhere that are looked at, the first that are open: as these end,
their parent's thread changes, and all are read."""

Look = tuple[tuple[Mark, bool], ...]
"""What a thread had, and whether somebody worked on it; then the same of its children's."""


@dataclass(frozen=True)
class Changes:
    """What is new of a thread since the last look."""

    records: list[Record]
    """New and changed records, each whole."""
    gone: list[str]
    """Ids of records that are no more: of a pause that was answered, or a branch that was left."""
    state: State


class Follower:
    """The records of one thread, as they come.

    A look costs no more than to count rows where nothing has changed. Else the thread is read
    anew, but no text again that was looked at before.
    """

    def __init__(
        self,
        graph: Any,
        config: RunnableConfig,
        *,
        blob_store: str | Path | BlobStore | None = None,
        is_running: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        """Follow a thread; nothing is read yet.

        Args:
            graph: see `langgraph_rlm.trace.atrace_of`.
            config: see there. With a `checkpoint_id` the branch is followed that ends there, which
                gets no further.
            blob_store: see there.
            is_running: whether somebody works on the thread; None to look at its lease.
        """
        self._graph = graph
        self._config = config
        self._blob_store = blob_store
        self._is_running = is_running
        self._reader: Reader | None = None
        self._seen: Look | None = None
        self._records: dict[str, Record] = {}
        self._last: Trace | None = None

    async def has_begun(self) -> bool:
        """Say whether an RLM has begun on the thread; before, there is nothing to read."""
        reader = await self._open()
        return await has_begun(reader.home, reader.thread)

    async def trace(self) -> Trace:
        """Read the thread as it is now.

        Raises:
            ConfigurationError: there is no such thread, yet or any more.
        """
        await self.changes()
        return self.last

    @property
    def last(self) -> Trace:
        """The thread as it was at the last look; there must have been one."""
        assert self._last is not None
        return self._last

    async def changes(self) -> Changes:
        """Look once, and give what has changed since the last look; all records at the first one.

        Raises:
            ConfigurationError: there is no such thread, yet or any more.
        """
        reader = await self._open()
        seen = await self._look(reader)
        if seen == self._seen:
            return Changes([], [], self.last.head["state"])
        trace = await reader.trace(is_running=seen[0][1])
        before = self.last.others if self._last is not None else ()
        self._last = trace
        # of others, the next look is the first that is known to be before or after this reading
        self._seen = seen if trace.others == before else None
        now = {record["id"]: record for record in trace.records}
        changed = await asyncio.to_thread(self._changed, now)
        gone = [id for id in self._records if id not in now]
        self._records = now
        return Changes(changed, gone, trace.head["state"])

    async def text(self, digest: str) -> str:
        """Give the text of a `Ref`.

        Raises:
            BlobError: no record names it, or the store does not have it any more.
        """
        reader = await self._open()
        return await asyncio.to_thread(reader.texts.get, digest)

    def names(self, digest: str) -> bool:
        """Say whether a record that was given names a text, a context, a picture or a file."""
        return self._reader is not None and digest in self._reader.texts

    @property
    def blobs(self) -> BlobStore | None:
        """The store of the thread's blobs; None before the first look."""
        return None if self._reader is None else self._reader.home.blobs

    async def _open(self) -> Reader:
        if self._reader is None:
            self._reader = await Reader.open(self._graph, self._config, self._blob_store)
        return self._reader

    async def _look(self, reader: Reader) -> Look:
        """Look at the thread before it is read, and at those of children elsewhere: what comes
        while it is read, is seen next time."""
        others = () if self._last is None else self._last.others[:MOST_OTHERS]
        return tuple([await self._look_at(reader, each) for each in (reader.thread, *others)])

    async def _look_at(self, reader: Reader, thread: str) -> tuple[Mark, bool]:
        mark = await reader.home.rows.mark(thread)
        if self._is_running is not None and thread == reader.thread:
            return mark, await self._is_running()
        return mark, await is_leased(reader.home.database, thread)

    def _changed(self, now: dict[str, Record]) -> list[Record]:
        before = self._records
        return [record for id, record in now.items() if before.get(id) != record]
