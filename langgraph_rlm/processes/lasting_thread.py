"""Lasting thread: a thread that lives as long as its process, for what must not end before."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

LOG = logging.getLogger(__name__)
T = TypeVar("T")


class LastingThread:
    """A thread that lives as long as this process, and runs one thing after the other."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._steps: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def run(self, step: Callable[[], T]) -> T:
        """Run something there, and wait. Raises what it raises."""
        done: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

        def attempt() -> None:
            try:
                result = step()
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                done.put(_raiser(error))
            else:
                done.put(lambda: result)

        self._steps.put(attempt)
        return done.get()()

    def later(self, step: Callable[[], None]) -> None:
        """Run something there, some time. What it raises is logged, and ends nothing."""
        self._steps.put(step)

    def _work(self) -> None:
        while True:
            step = self._steps.get()
            try:
                step()
            except Exception:
                LOG.exception("%s: a step in the background failed", self._name)


def _raiser(error: BaseException) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail
