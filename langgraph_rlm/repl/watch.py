"""Watch: ends a session whose guest runs for too long."""

import threading
import time

from langgraph_rlm.repl.base import Session


class Watch:
    """A context manager around one step of a session: kills it after `allowed` seconds, measures how long it ran."""

    def __init__(self, session: Session, allowed: float) -> None:
        self.fired = False
        self.seconds = 0.0
        self._session = session
        self._timer = threading.Timer(max(allowed, 0.0), self._fire)
        self._timer.daemon = True

    def _fire(self) -> None:
        self.fired = True
        self._session.kill()

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.seconds = time.monotonic() - self._started
