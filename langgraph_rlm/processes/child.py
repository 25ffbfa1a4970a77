"""Child: one CPython process, its folder and the socket to it. Knows nothing of what it does."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.processes.memory import own_bytes

FIXED = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "MPLBACKEND": "Agg",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
"""Environment variables that are the same in every process.

Linear algebra has one thread: sums come out the same everywhere, and idle threads do not use up the
memory limit.
"""


LOCKED_IN = ("-s", "-B")
"""Options of an interpreter that is locked in: no packages in a home, which it does not have, and
no compiled files."""


class Folder(Protocol):
    """A folder that is there until it is removed."""

    path: str

    def remove(self) -> None:
        """Remove it. Safe to call twice."""
        ...


class SharedFolder:
    """A folder that the worker removes too, if its parent dies."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(
            prefix="langgraph-rlm-", ignore_cleanup_errors=True
        )
        self.path = self._folder.name

    def remove(self) -> None:
        """Remove it. Safe to call twice."""
        self._folder.cleanup()


class WorkerProcess:
    """A process that runs one program, from its start until it is killed."""

    def __init__(
        self,
        program: Path,
        folder: Folder,
        options: Sequence[str],
        environment: Mapping[str, str],
    ) -> None:
        """Start it.

        Args:
            program: the Python file that it runs; its argument is the number of the socket.
            folder: its own, removed by `discard`.
            options: of the interpreter.
            environment: beside the variables that are the same in every process.

        Raises:
            SandboxError: it cannot be started.
        """
        self.folder = folder
        self._lock = threading.Lock()
        self.has_ended = False
        self.stream, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(program, theirs, folder.path, options, environment)
        except OSError as error:
            self.stream.close()
            folder.remove()
            raise SandboxError(
                f"{sys.executable!r} did not start: {error}. Check that it can be run."
            ) from error
        self.pid = self._process.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.returncode

    def is_alive(self) -> bool:
        """Tell whether it runs. One that has ended keeps its id until it is killed."""
        if self.has_ended:
            return False
        peek = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, peek) is None

    def own_bytes(self) -> int | None:
        """Give the memory that it shares with no file; None where the system does not tell."""
        return own_bytes(self.pid)

    def signal(self, number: int) -> None:
        """Send the process a signal, unless it has been killed."""
        with self._lock:
            if not self.has_ended:
                # nobody else can have its id before it is waited for
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process and its children, and wake whoever waits for them."""
        with self._lock:
            if self.has_ended:
                return
            self.has_ended = True
            with suppress(OSError):  # the guest may have closed its end
                self.stream.shutdown(socket.SHUT_RDWR)
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def discard(self) -> None:
        """End the process and remove its folder. Safe to call twice."""
        self.kill()
        self.stream.close()
        self.folder.remove()


def _start(
    program: Path,
    theirs: socket.socket,
    folder: str,
    options: Sequence[str],
    environment: Mapping[str, str],
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "utf8", *options, str(program), str(theirs.fileno())],
        env={**environment, **FIXED, "HOME": folder, "TMPDIR": folder},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )
