"""Pace: how fast the calls of one model of a provider may start, for all runs of a graph together.

Where one call is told to wait, none of the others starts before that time is over. They then start
one after the other, at about the rate at which the provider has answered until then, its wait
included: that is what it can be asked for. The rate rises again slowly while nothing is refused. So
a tree of sixteen calls at once costs one round of refusals, not one for each call and try.
"""

import asyncio
import random
import threading
import time
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

SLOWER = 0.9
"""The share of the rate so far at which calls start after a refusal."""
DOUBLES_IN = 30.0
"""Seconds without a refusal in which the rate doubles."""
FIRST_RATE = 2.0
"""Starts per second where nothing has been answered yet. It is halved before it is used."""
LEAST_RATE = 1 / 30
"""Starts per second, at least."""
MOST_RATE = 1_000.0
"""From here on there is no limit: more than a process can start."""
IDLE = 10.0
"""Seconds without a start after which the rate is measured anew."""
JITTER = 0.1
"""The share of a wait that is added to it at most, by chance: other processes wait too."""
KEPT_PACES = 1024
"""Paces that a graph remembers. Runs may name models of their own."""


class Pace:
    """When calls of one model may start. Used from any thread and event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed_until = 0.0
        """By `time.monotonic`, as all times here."""
        self._next_start = 0.0
        self._rate: float | None = None
        """Starts per second when it opened last; None before any refusal."""
        self._opened = 0.0
        self._is_measured = True
        """False from a refusal on, until it opens again."""
        self._since = 0.0
        """From when on answers are counted."""
        self._answers = 0
        self._round = 0
        """How often calls were slowed down. What has started in an earlier round and is refused now
        says nothing new."""

    async def turn(self) -> int:
        """Wait until a call may start, and give the round in which it does."""
        while True:
            wait, begun, is_booked = self._booked()
            if wait > 0:
                await asyncio.sleep(wait)
            if is_booked and begun == self._round:
                return begun

    def _booked(self) -> tuple[float, int, bool]:
        """Take the next start.

        Returns:
            The seconds until then, the round, and False where there is none yet: it is closed.
        """
        with self._lock:
            now = time.monotonic()
            if now < self._closed_until:
                return self._closed_until - now, self._round, False
            if not self._is_measured:
                self._open(now)
            start = max(now, self._next_start)
            if now - self._next_start > IDLE:
                self._since, self._answers = now, 0
            rate = self._rate_at(now)
            self._next_start = start if rate is None else start + 1 / rate
            return start - now, self._round, True

    def _open(self, now: float) -> None:
        """Set the rate by what has been answered, the wait included."""
        if self._answers:
            rate = self._answers / max(0.1, now - self._since) * SLOWER
        else:
            rate = (self._rate or FIRST_RATE) / 2
        self._rate = max(LEAST_RATE, rate)
        self._is_measured = True
        self._opened = self._since = now
        self._answers = 0

    def _rate_at(self, now: float) -> float | None:
        if self._rate is None:
            return None
        rate = self._rate * 2 ** ((now - self._opened) / DOUBLES_IN)
        if rate > MOST_RATE:
            self._rate = None
            return None
        return rate

    def answered(self) -> None:
        """Note that a call was answered."""
        with self._lock:
            self._answers += 1

    def refused(self, wait: float, begun: int) -> bool:
        """Note that a provider has had too many calls.

        Args:
            wait: seconds for which it wants none.
            begun: the round in which the refused call started.

        Returns:
            Whether this slows the others down; False for a call that started before it was known.
        """
        wait *= 1 + random.uniform(0, JITTER)
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + wait)
            if begun != self._round:
                return False
            self._round += 1
            self._is_measured = False
            return True


class Paces:
    """The paces of the models of one graph: providers count by account and model."""

    def __init__(self) -> None:
        self._paces: LRUCache[tuple[str, ...], Pace] = LRUCache(KEPT_PACES)
        self._lock = threading.Lock()

    def of(self, model: "BaseChatModel") -> Pace:
        """Give the pace of a model, which all models of its class, address and name share."""
        from langgraph_rlm.models.wrapped import model_name

        key = (type(model).__name__, _address(model), model_name(model))
        with self._lock:
            if key not in self._paces:
                self._paces[key] = Pace()
            return self._paces[key]


def _address(model: "BaseChatModel") -> str:
    client: Any = getattr(model, "root_async_client", None)
    known = getattr(client, "base_url", None) or getattr(model, "anthropic_api_url", None)
    return str(known or "")
