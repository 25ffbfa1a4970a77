"""Workers: processes that can be jailed, started ahead so that a session need not wait for one.

A jailed worker dies with the thread that started it, so one lasting thread starts them all.
"""

import atexit
import os
import threading

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.processes.child import LOCKED_IN, WorkerProcess
from langgraph_rlm.processes.folder import OwnFolder
from langgraph_rlm.processes.lasting_thread import LastingThread
from langgraph_rlm.repl.local import PROGRAM


class Workers:
    """The workers of this process that no session has yet."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._spare: list[WorkerProcess] = []
        self._times_ended = 0
        self._thread = LastingThread("rlm-start")
        atexit.register(self._exit)

    def take(self) -> WorkerProcess:
        """Give a worker: one that is ready, or else a new one.

        Raises:
            SandboxError: none can be started.
        """
        with self._lock:
            ready = self._spare.pop(0) if self._spare else None
        if ready and not ready.is_alive():
            ready.discard()
            ready = None
        return ready or self._thread.run(_start)

    def prepare(self, spares: int) -> None:
        """Start workers in the background until `spares` of them are ready."""
        if len(self._spare) < spares:
            asked_at = self._times_ended
            self._thread.later(lambda: self._fill(spares, asked_at))

    def end(self) -> None:
        """End every spare."""
        with self._lock:
            self._times_ended += 1
            spare, self._spare = self._spare, []
        for worker in spare:
            worker.discard()

    def _fill(self, spares: int, asked_at: int) -> None:
        while self._is_wanted(spares, asked_at):
            try:
                worker = _start()
            except SandboxError:  # a session that needs one will say so
                return
            with self._lock:
                kept = self._is_wanted(spares, asked_at)
                if kept:
                    self._spare.append(worker)
            if not kept:
                worker.discard()

    def _is_wanted(self, spares: int, asked_at: int) -> bool:
        """Tell whether there are too few, and none has been ended since they were asked for."""
        return len(self._spare) < spares and asked_at == self._times_ended

    def _exit(self) -> None:
        if os.getpid() == self._owner:  # a forked child runs this too
            self.end()


workers = per_process(Workers)
"""Gives those of this process."""


def _start() -> WorkerProcess:
    return WorkerProcess(PROGRAM, OwnFolder(), LOCKED_IN, {})
