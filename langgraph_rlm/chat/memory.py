"""Memory: the saver of a chat model that was given none. It keeps the runs that were last asked for, so that it does not grow for ever."""

import threading
from collections import Counter, OrderedDict

from langgraph.checkpoint.memory import InMemorySaver

KEPT_RUNS = 200
"""Runs that wait for an answer, or whose reply may be asked for again. The call of an older one is an unknown call."""


class Memory(InMemorySaver):
    """LangGraph's, with an end."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = KEPT_RUNS
        self._lock = threading.Lock()
        self._resting: OrderedDict[str, None] = OrderedDict()
        self._working: Counter[str] = Counter()

    def begin(self, thread: str) -> None:
        """A call works on a thread: it is kept meanwhile."""
        with self._lock:
            self._working[thread] += 1
            self._resting.pop(thread, None)

    def end(self, thread: str, *, is_over: bool) -> None:
        """The call has ended. Drops the thread where nobody can come back to it, and the oldest of too many.

        Args:
            thread: the run's.
            is_over: nothing of it waits, and no id of it is known to anybody.
        """
        with self._lock:
            self._working -= Counter([thread])
            if self._working[thread]:
                return
            self._resting[thread] = None
            gone = [thread] if is_over else []
            gone += list(self._resting)[: max(0, len(self._resting) - self.kept)]
            for old in gone:
                self._resting.pop(old, None)
        for old in gone:
            self.delete_thread(old)
