"""Memory: the checkpointer of a chat model that was given none.

It is LangGraph's `InMemorySaver` with an end: it keeps the runs that were asked for last, so that
it does not grow for ever.
"""

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

KEPT_RUNS = 200
"""Runs that wait for an answer, or whose reply may be asked for again.

A tool call that an older run made is an unknown call.
"""


class Memory(InMemorySaver):
    """A saver that drops the oldest threads that no call works on."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = KEPT_RUNS
        self._lock = threading.Lock()
        self._resting: dict[str, None] = {}
        """Threads that no call works on, the oldest first."""
        self._working: Counter[str] = Counter()
        """How many calls work on each thread."""

    def begin(self, thread: str) -> None:
        """Keep a thread while a call works on it."""
        with self._lock:
            self._working[thread] += 1
            self._resting.pop(thread, None)

    def end(self, thread: str, *, is_over: bool) -> None:
        """Let a thread go when a call has ended, and drop the oldest of too many.

        Args:
            thread: the run's.
            is_over: nothing of the run waits, and nobody knows an id of it: it is dropped at once.
        """
        with self._lock:
            gone = self._gone(thread, is_over)
        for old in gone:
            self.delete_thread(old)

    def _gone(self, thread: str, is_over: bool) -> list[str]:
        """Count one call less on a thread, and give the threads to drop."""
        self._working[thread] -= 1
        if self._working[thread]:
            return []
        del self._working[thread]
        if is_over:
            return [thread]
        self._resting[thread] = None
        oldest = list(self._resting)[: max(0, len(self._resting) - self.kept)]
        for old in oldest:
            del self._resting[old]
        return oldest


@dataclass
class Use:
    """What a call says of the thread that it works on."""

    is_over: bool = False
    """Nothing of the run waits, and nobody knows an id of it."""


@contextmanager
def in_use(saver: BaseCheckpointSaver[str], thread: str) -> Generator[Use]:
    """Keep a thread while a call works on it. A saver that the user gave keeps every thread."""
    use = Use()
    if not isinstance(saver, Memory):
        yield use
        return
    saver.begin(thread)
    try:
        yield use
    finally:
        saver.end(thread, is_over=use.is_over)
