"""Watch: ends a session whose guest runs for too long. One thread minds all watches: most steps take less time than starting one."""

import math
import threading
import time

from langgraph_rlm.lazy import per_process
from langgraph_rlm.repl.base import Session


class Watch:
    """A context manager around one step of a session: kills it after `allowed` seconds, measures how long it ran."""

    def __init__(self, session: Session, allowed: float) -> None:
        self.fired = False
        self.seconds = 0.0
        self.due = math.inf
        self._session = session
        self._allowed = max(allowed, 0.0)

    def fire(self) -> None:
        """The time is up."""
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
    """The thread. It sleeps until the first watch is due, and is woken for one that is due earlier."""

    def __init__(self) -> None:
        self._open: set[Watch] = set()
        self._wakes = math.inf
        self._changed = threading.Condition()
        threading.Thread(target=self._mind, name="rlm-watch", daemon=True).start()

    def add(self, watch: Watch) -> None:
        with self._changed:
            self._open.add(watch)
            if watch.due < self._wakes:
                self._changed.notify()

    def remove(self, watch: Watch) -> None:
        """After this the watch does not fire."""
        with self._changed:
            self._open.discard(watch)

    def _mind(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for watch in [watch for watch in self._open if watch.due <= now]:
                    self._open.discard(watch)
                    watch.fire()
                self._wakes = min((watch.due for watch in self._open), default=math.inf)
                self._changed.wait(
                    None if self._wakes == math.inf else max(self._wakes - time.monotonic(), 0.0)
                )


@per_process
def _minder() -> _Minder:
    """That of this process; a forked child gets its own."""
    return _Minder()
