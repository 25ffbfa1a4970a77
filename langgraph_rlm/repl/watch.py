"""Watch: ends a session whose guest runs for too long.

One thread minds all watches, because most steps take less time than it takes to start a thread.
"""

import math
import threading
import time

from langgraph_rlm.lazy import per_process
from langgraph_rlm.repl.base import Session


class Watch:
    """A context manager around one step of a session.

    It kills the session after `allowed` seconds, and measures how long the step ran.
    """

    def __init__(self, session: Session, allowed: float) -> None:
        self.fired = False
        self.seconds = 0.0
        self.due = math.inf
        self._session = session
        self._allowed = max(allowed, 0.0)

    def fire(self) -> None:
        """Kill the session: its time is up."""
        self.fired = True
        self._session.kill()

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self.due = self._started + self._allowed
        self._minder = _minder()
        self._minder.add(self)

    def __exit__(self, *_: object) -> None:
        self._minder.remove(self)
        self.seconds = time.monotonic() - self._started


class _Minder:
    """The thread. It sleeps until the first watch is due; adding an earlier one wakes it."""

    def __init__(self) -> None:
        self._open: set[Watch] = set()
        self._wakes = math.inf
        self._changed = threading.Condition()
        threading.Thread(target=self._mind, name="rlm-watch", daemon=True).start()

    def add(self, watch: Watch) -> None:
        """Mind a watch from now on."""
        with self._changed:
            self._open.add(watch)
            if watch.due < self._wakes:
                self._changed.notify()

    def remove(self, watch: Watch) -> None:
        """Forget a watch: afterwards it does not fire."""
        with self._changed:
            self._open.discard(watch)

    def _mind(self) -> None:
        with self._changed:
            while True:
                self._fire_due(time.monotonic())
                self._wakes = min((watch.due for watch in self._open), default=math.inf)
                self._changed.wait(self._seconds_to_sleep())

    def _fire_due(self, now: float) -> None:
        for watch in [watch for watch in self._open if watch.due <= now]:
            self._open.discard(watch)
            watch.fire()

    def _seconds_to_sleep(self) -> float | None:
        if self._wakes == math.inf:
            return None
        return max(self._wakes - time.monotonic(), 0.0)


@per_process
def _minder() -> _Minder:
    """Give the minder of this process; a forked child gets its own."""
    return _Minder()
