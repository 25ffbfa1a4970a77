"""Holding: at most one process works on a background response.

On one machine a lease says so, which the kernel drops when its process ends. Other machines over
the same database cannot see it: for them a process says every few seconds that it is alive, and one
that was silent for long counts as gone. Their clocks have to agree to some seconds.
"""

import asyncio
import platform
import secrets
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from langgraph_rlm.chat.ids import thread_of
from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.history.homes import RECORD
from langgraph_rlm.pregel.leases import database_of, lease

ALIVE_SECONDS = 15.0
"""Between one word of life and the next."""
GONE_SECONDS = 90.0
"""Silence after which a process on another machine counts as gone."""
SETTLE_SECONDS = 1.0
"""How long two machines that take a response up at once wait to see who came last."""

NAMESPACE = "alive"
CHANNEL = "alive"
CHECKPOINT = "1ef00000-0000-6000-8000-000000000000"
"""The one checkpoint of a word of life, which is written again and again."""

Saver = BaseCheckpointSaver[Any]


@dataclass
class Holding:
    """What a process holds while it works on a response."""

    place: str
    """The machine, as far as leases are seen."""
    _saver: Saver
    _thread: str
    _leases: ExitStack
    _token: str = field(default_factory=lambda: secrets.token_hex(8))

    async def say_alive(self) -> None:
        """Say that the response is worked on."""
        checkpoint = empty_checkpoint()
        checkpoint["id"] = CHECKPOINT
        said = f"{self._token} {time.time()} {self.place}"
        checkpoint["channel_values"] = {CHANNEL: said}
        checkpoint["channel_versions"] = {CHANNEL: "1"}
        metadata: Any = {"source": "update", "step": -1, "parents": {}, RECORD: "alive"}
        await self._saver.aput(_config(self._thread), checkpoint, metadata, {CHANNEL: "1"})

    async def is_last(self) -> bool:
        """Whether nobody has said so after us."""
        said = await _said(self._saver, self._thread)
        return said is not None and said.token == self._token

    async def release(self) -> None:
        """Let others have it."""
        self._leases.close()


@dataclass(frozen=True)
class _Said:
    """A word of life."""

    token: str
    at: float
    place: str


async def hold(saver: Saver, owner: str, id: str, *, is_new: bool = False) -> Holding | None:
    """Take a response to work on; None where another process works on it.

    Args:
        saver: of the database.
        owner: of the response.
        id: its id.
        is_new: nobody else knows it yet.
    """
    thread = thread_of(owner, id)
    database = await database_of(saver)
    leases = ExitStack()
    try:
        leases.enter_context(lease(database, thread))
    except ThreadBusyError:
        return None
    held = Holding(await asyncio.to_thread(_place, database.lock), saver, thread, leases)
    if is_new:
        await held.say_alive()
        return held
    said = await _said(saver, thread)
    if said is not None and said.place != held.place:
        is_ours = time.time() - said.at > GONE_SECONDS
        if is_ours:
            await held.say_alive()
            await asyncio.sleep(SETTLE_SECONDS)
            is_ours = await held.is_last()
        if not is_ours:
            await held.release()
            return None
    return held


async def _said(saver: Saver, thread: str) -> _Said | None:
    saved = await saver.aget_tuple(_config(thread))
    if saved is None:
        return None
    token, at, place = str(saved.checkpoint["channel_values"][CHANNEL]).split(" ", 2)
    return _Said(token, float(at), place)


def _place(lock: Path | None) -> str:
    """Name the machine by its name and the file that its leases are in."""
    if lock is None or not lock.exists():
        return platform.node()
    status = lock.stat()
    return f"{platform.node()} {status.st_dev} {status.st_ino}"


def _config(thread: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": NAMESPACE}}
