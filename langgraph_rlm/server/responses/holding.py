"""Holding: at most one process works on a background response: whoever has its record's lease."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.chat.ids import thread_of
from langgraph_rlm.errors import ThreadBusyError, ThreadTakenOverError
from langgraph_rlm.pregel.leases import Held, database_of, lease

Saver = BaseCheckpointSaver[Any]


@dataclass
class Holding:
    """What a process holds while it works on a response."""

    _held: Held
    _until_released: AsyncExitStack

    async def is_ours(self) -> bool:
        """Whether no other process has taken the response up meanwhile."""
        try:
            await self._held.check()
        except ThreadTakenOverError:
            return False
        return True

    async def release(self) -> None:
        """Let others have it."""
        await self._until_released.aclose()


async def hold(saver: Saver, owner: str, id: str) -> Holding | None:
    """Take a response to work on; None where another process works on it, or may still do so.

    Args:
        saver: of the database.
        owner: of the response.
        id: its id.
    """
    until_released = AsyncExitStack()
    wanted = lease(await database_of(saver), thread_of(owner, id), wait=False)
    try:
        held = await until_released.enter_async_context(wanted)
    except ThreadBusyError:
        return None
    return Holding(held, until_released)
