"""Pool: several run processes behind one HTTP process. The engine of `langgraph-rlm serve`.

Runs are what takes the CPU, and HTTP is little: so there is one HTTP process, which counts what is
open, and as many run processes as are asked for. What comes back to a run goes to the process that
has it in memory, where that is known; anything else to the one with the least to do. Any of them
can answer any request: what they share is the database.
"""

import asyncio
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from cachetools import LRUCache

from langgraph_rlm.server.answers import Answer, Asked, Head
from langgraph_rlm.server.bodies import no_body
from langgraph_rlm.server.process import Process
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.server.sums import summed

KNOWN_IDS = 20_000
"""Runs and responses of which the process is known."""
LOOKED_AT = 1 << 18
"""Bytes of a body that are looked through for ids, before it is passed on."""
IDS_OF_A_PART = 8
"""Ids that are noted of each part of an answer: a text could have any number."""
ID = re.compile(rb"(?:rlm_[\w-]{20}(?=_[0-9a-f]{12})|resp_[0-9a-f]{32})", re.ASCII)
"""The run in the id of a tool call, and the id of a response."""


@asynccontextmanager
async def open_pool(settings: Settings) -> AsyncGenerator["Pool"]:
    """Give the run processes, started and ready.

    Raises:
        ConfigurationError: their database cannot be opened, or a package is missing.
    """
    # the folder is readable by this user alone, and so are the sockets in it
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-") as folder:
        number = settings.workers
        own = share_of(settings)
        processes = [Process(own, str(Path(folder, f"{n}.sock"))) for n in range(number)]
        keepers: list[asyncio.Task[None]] = []
        try:
            await processes[0].start()  # which makes the tables that the others find
            await _all_of(process.start() for process in processes[1:])
            keepers += [asyncio.create_task(process.keep_up()) for process in processes]
            yield Pool(processes)
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await asyncio.gather(*(process.stop() for process in processes))


async def _all_of(starts: Iterable[Awaitable[None]]) -> None:
    """Wait for all, and then raise what the first one raised that failed."""
    for error in await asyncio.gather(*starts, return_exceptions=True):
        if error is not None:
            raise error


def share_of(settings: Settings) -> Settings:
    """Give the settings of one run process: its part of what runs in the background at once."""
    number = settings.workers
    parts = {
        name: max(1, getattr(settings, name) // number)
        for name in ("max_concurrent", "max_background")
        if getattr(settings, name)
    }
    return settings.model_copy(update=parts)


class Pool:
    """The run processes. See `Engine`."""

    def __init__(self, processes: list[Process]) -> None:
        self.processes = processes
        self._homes: LRUCache[bytes, Process] = LRUCache(KNOWN_IDS)
        """The process that has a run or a response in memory, by its id."""
        self._open = dict.fromkeys(processes, 0)

    @property
    def is_up(self) -> bool:
        """Whether runs can begin."""
        return self.up > 0

    @property
    def up(self) -> int:
        """How many processes are up."""
        return sum(process.is_up for process in self.processes)

    async def answer(self, asked: Asked, body: AsyncIterator[bytes]) -> Answer:
        """Do what `Engine.answer` says."""
        if asked.door == "figures":
            yield Head(200)
            yield await self._figures()
            return
        if len(self.processes) == 1:
            process = self.processes[0]
        else:
            start, is_whole = await _start_of(body)
            process = self._home([*ID.findall(start), asked.id.encode()])
            body = _joined(start, body, is_whole=is_whole)
        self._open[process] += 1
        try:
            async with aclosing(process.answer(asked, body)) as parts:
                async for part in parts:
                    self._note(part, process)
                    yield part
        finally:
            self._open[process] -= 1

    def _home(self, ids: Iterable[bytes]) -> Process:
        """Choose a process: the one that has the newest of these, else the least busy one."""
        for id in reversed([*ids]):
            home = self._homes.get(id)
            if home is not None and home.is_up:
                return home
        up = [process for process in self.processes if process.is_up] or self.processes
        return min(up, key=lambda process: self._open[process])

    def _note(self, part: Head | bytes, process: Process) -> None:
        """Note whose the ids of an answer are."""
        is_alone = len(self.processes) == 1
        if is_alone or isinstance(part, Head) or not (b"rlm_" in part or b"resp_" in part):
            return
        for id in ID.findall(part)[:IDS_OF_A_PART]:
            self._homes[id] = process

    async def _figures(self) -> bytes:
        """Give the figures of all that are up; one may die while it is asked."""
        asked = [_text(process) for process in self.processes if process.is_up]
        told = await asyncio.gather(*asked, return_exceptions=True)
        return summed([text for text in told if isinstance(text, bytes)])


async def _text(process: Process) -> bytes:
    parts: list[bytes] = []
    async with aclosing(process.answer(Asked("figures"), no_body())) as answer:
        async for part in answer:
            if not isinstance(part, Head):
                parts.append(part)
    return b"".join(parts)


async def _start_of(body: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Read a body as far as it is looked through, and say whether that is all of it."""
    start = bytearray()
    async for part in body:
        start += part
        if len(start) > LOOKED_AT:
            return bytes(start), False
    return bytes(start), True


async def _joined(
    start: bytes, rest: AsyncIterator[bytes], *, is_whole: bool
) -> AsyncGenerator[bytes]:
    yield start
    if not is_whole:
        async for part in rest:
            yield part
