"""Clocks: CPU of all processes of a run, and how long an event loop stood still."""

import asyncio
import os
from contextlib import suppress

import psutil

TICK_SECONDS = 0.005


class LongestStall:
    """Measures how long the running event loop, at most, was late for a tick."""

    def __init__(self) -> None:
        self.longest = 0.0
        """Seconds."""
        self._loop = asyncio.get_running_loop()
        self._next()

    def stop(self) -> None:
        """End it; a tick that is late now counts."""
        self._late()
        self._tick.cancel()

    def _next(self) -> None:
        self._due = self._loop.time() + TICK_SECONDS
        self._tick = self._loop.call_later(TICK_SECONDS, self._ticked)

    def _ticked(self) -> None:
        self._late()
        self._next()

    def _late(self) -> None:
        self.longest = max(self.longest, self._loop.time() - self._due)


def cpu_of_all() -> float:
    """Measure the CPU seconds of this process and of all that it started, ended ones included."""
    own = os.times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            spent = process.cpu_times()
            seconds += spent.user + spent.system + spent.children_user + spent.children_system
    return seconds
