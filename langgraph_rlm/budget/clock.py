"""Clock: the time that a run works. It stands still while an interpreter is rebuilt from its log,
because what the log has was paid for once."""

import math
import threading
import time
from dataclasses import dataclass, field


class RunClock:
    """Seconds of a run. Any thread may stop it, several at once: it goes on when none does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops = 0
        self._since = 0.0
        self._left_out = 0.0

    def now(self) -> float:
        """Give the seconds since some moment, without those in which the clock stood still."""
        with self._lock:
            until = self._since if self._stops else time.monotonic()
            return until - self._left_out

    def stop(self) -> None:
        """Stand still until `start` is called as often as this was."""
        with self._lock:
            if self._stops == 0:
                self._since = time.monotonic()
            self._stops += 1

    def start(self) -> None:
        """Take one `stop` back."""
        with self._lock:
            self._stops -= 1
            if self._stops == 0:
                self._left_out += time.monotonic() - self._since


@dataclass(frozen=True)
class Deadline:
    """When code of a run is cut off, on the run's own clock."""

    clock: RunClock = field(default_factory=RunClock)
    at: float = math.inf

    def left(self) -> float:
        """Give the seconds until then; infinite where there is no such moment."""
        return self.at - self.clock.now()
