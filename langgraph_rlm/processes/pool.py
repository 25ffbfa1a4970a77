"""Pool: workers of one kind, some at a time, kept for a while for whoever asks next.

A worker that read a hostile file may have been taken over by it, and then answers the next request
as it likes. So a pool is for files that may be trusted as much as each other: those of one folder,
or of one thread.
"""

import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from langgraph_rlm.processes.worker import Bounds, Worker

IDLE_SECONDS = 30.0
"""How long a worker that nobody asks is kept."""


class Pool:
    """Workers of one module. May be used from several threads at once."""

    def __init__(
        self,
        module: str,
        bounds: Bounds,
        *,
        most: int,
        inbox_at: Path | None = None,
        keeps_files: bool = False,
    ) -> None:
        """Set what the workers are; none starts before it is needed.

        Args:
            module: what they load, see `Worker`.
            bounds: of each.
            most: workers at a time; who asks for one more waits.
            inbox_at: see `Worker`.
            keeps_files: whether a worker is lent again with the files that it has.
        """
        self._module = module
        self._bounds = bounds
        self._inbox_at = inbox_at
        self._keeps_files = keeps_files
        self._room = threading.Semaphore(most)
        self._lock = threading.Lock()
        self._idle: list[tuple[Worker, threading.Timer]] = []
        weakref.finalize(self, _close, self._idle)  # at the end of the process too

    @contextmanager
    def worker(self) -> Generator[Worker]:
        """Lend a worker, with empty folders unless it keeps its files.

        One that fails meanwhile is not lent again.

        Raises:
            SandboxError: none can be started.
        """
        with self._room:
            worker = self._taken() or Worker(self._module, self._bounds, self._inbox_at)
            try:
                yield worker
            except BaseException:
                if not worker.is_alive:
                    worker.close()
                else:
                    self._keep(worker)
                raise
            self._keep(worker)

    def release_idle(self) -> None:
        """End every worker that nobody uses."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        _close(idle)

    def _taken(self) -> Worker | None:
        """Take the worker that was used last; None if there is none that lives."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                worker, timer = self._idle.pop()
            timer.cancel()
            if worker.is_alive:
                return worker
            worker.close()

    def _keep(self, worker: Worker) -> None:
        if not worker.is_alive:
            worker.close()
            return
        if not self._keeps_files:
            worker.empty()
        timer = threading.Timer(IDLE_SECONDS, self._end, [worker])
        timer.daemon = True
        with self._lock:
            self._idle.append((worker, timer))
        timer.start()

    def _end(self, worker: Worker) -> None:
        """End a worker, unless somebody has taken it."""
        with self._lock:
            mine = [each for each in self._idle if each[0] is worker]
            for each in mine:
                self._idle.remove(each)
        _close(mine)


def _close(idle: "list[tuple[Worker, threading.Timer]]") -> None:
    for worker, timer in idle:
        timer.cancel()
        worker.close()
