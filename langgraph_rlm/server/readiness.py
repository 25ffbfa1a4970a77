"""Readiness: whether a server can take work, for a load balancer that asks every few seconds."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from langgraph_rlm.server.answers import Asked
from langgraph_rlm.server.bodies import no_body
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.errors import Refused

DATABASE_SECONDS = 5.0
"""How long the database may take to answer."""
KNOWN_SECONDS = 1.0
"""How long its answer counts: who asks needs no key, and may ask as often as they like."""


def processes_of(engine: Engine | None) -> Mapping[str, int]:
    """Count the run processes that are up, and all of them; none where runs share our process."""
    processes: Any = getattr(engine, "processes", None)
    if processes is None:
        return {}
    return {"up": sum(process.is_up for process in processes), "of": len(processes)}


def is_up(engine: Engine | None) -> bool:
    """Whether runs can begin."""
    return engine is not None and bool(getattr(engine, "is_up", True))


class Database:
    """Whether the database answers."""

    def __init__(self) -> None:
        self._asked: asyncio.Task[bool] | None = None
        self._until = 0.0

    async def answers(self, engine: Engine) -> bool:
        """Ask it, at most once a second however many want to know."""
        if self._asked is None or (self._asked.done() and time.monotonic() > self._until):
            self._asked = asyncio.create_task(self._ask(engine))
        return await asyncio.shield(self._asked)

    async def _ask(self, engine: Engine) -> bool:
        try:
            async with (
                asyncio.timeout(DATABASE_SECONDS),
                aclosing(engine.answer(Asked("ready"), no_body())) as answer,
            ):
                async for _ in answer:
                    pass
        except (Refused, TimeoutError):
            return False
        finally:
            self._until = time.monotonic() + KNOWN_SECONDS
        return True
