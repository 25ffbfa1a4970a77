"""Python: CPython with the user's packages, jailed by the Linux kernel.

Code has all of Python and nothing of the host: no files but the packages and one folder of its own,
no network, no other processes. `jail.py` is what holds it; here is what it is told to hold, and
what the host looks after itself.
"""

import os
import signal
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import ConfigurationError, SandboxError
from langgraph_rlm.processes import jail
from langgraph_rlm.processes.child import WorkerProcess
from langgraph_rlm.processes.folder import OwnFolder, link_or_copy
from langgraph_rlm.processes.quota import Quota
from langgraph_rlm.processes.readable import library, readable_paths
from langgraph_rlm.repl.base import Inputs, Outcome, Session, SessionSpec
from langgraph_rlm.repl.local import check_time_machine
from langgraph_rlm.repl.local_session import INPUTS, LocalSession
from langgraph_rlm.repl.python_workers import workers

FOLDER_BYTES = 256 << 20
FOLDER_FILES = 5_000
THREADS = 128
LOOK_SECONDS = 0.25
"""How often the host counts what a running worker uses."""
MAX_PARTS = 4_000_000
"""Most lists, dicts and items in one value: in the host each takes up to 100 bytes."""

LENT = "lent"
"""The name of a file that the process reads at this moment."""

WELL_KNOWN = (
    *("numpy", "pandas", "scipy", "sklearn", "statsmodels", "matplotlib", "sympy", "networkx"),
    *("polars", "pyarrow", "duckdb", "openpyxl", "PIL", "bs4", "lxml", "yaml", "regex", "nltk"),
    *("tiktoken", "dateutil"),
)
"""Packages that models know and like."""


class PythonBackend:
    """Sessions in jailed processes of the Python that runs this one."""

    name = "python"
    imports_skills = True
    reads_files = True
    gives_files = True

    def __init__(
        self,
        *,
        packages: bool = True,
        readable: Iterable[str | Path] = (),
        folder_bytes: int = FOLDER_BYTES,
        spares: int = 1,
    ) -> None:
        """Set what code may use. Nothing starts before the first session.

        Args:
            packages: whether code can import the packages that are installed here; if not, it has
                the standard library alone.
            readable: more files and folders that code may read.
            folder_bytes: most bytes of the files that code writes.
            spares: processes that are started ahead, for the next sessions. All backends of a
                process share them.

        Raises:
            ConfigurationError: something in `readable` does not exist, or a number is out of range.
        """
        if folder_bytes < 1 or spares < 0:
            raise ConfigurationError(
                f"folder_bytes={folder_bytes!r} and spares={spares!r} must be positive numbers; "
                "spares may be 0."
            )
        self._spares = spares
        self._sessions: set[LocalSession] = set()
        self._quota = Quota(folder_bytes, FOLDER_FILES, THREADS)
        self._bounds = {
            "read": [*readable_paths(packages), *_existing(readable)],
            "library": [] if packages else library(),
            "file_bytes": folder_bytes,
        }
        self.notes = _notes(packages)

    def open(self, spec: SessionSpec) -> Session:
        """Take a process that is ready, or start one, and jail it.

        Raises:
            SandboxError: this machine cannot jail a process, or no process can be started.
        """
        check_can_jail()
        process = workers().take()
        session = PythonSession(spec, process, self._sessions, self._bounds, self._quota)
        workers().prepare(self._spares)
        return session

    def release_idle(self) -> None:
        """End the processes that are ready for sessions."""
        workers().end()

    def close(self) -> None:
        """End every process."""
        self.release_idle()
        for session in list(self._sessions):
            session.close()


class PythonSession(LocalSession):
    """The session of one jailed process. Nothing of it runs while nobody waits for it."""

    sandbox = "python"
    imports_skills = True
    max_parts = MAX_PARTS

    def __init__(
        self,
        spec: SessionSpec,
        process: WorkerProcess,
        siblings: "set[LocalSession]",
        bounds: Mapping[str, Any],
        quota: Quota,
    ) -> None:
        """Take over a process that was just started, and let it jail itself.

        Raises:
            SandboxError: it does not come up, or something of the jail cannot be had.
        """
        self._bounds = bounds
        self._quota = quota
        self._next_look = 0.0
        self._readable_folder = OwnFolder(spec.inputs_at)
        super().__init__(spec, process, siblings)

    def bounds(self) -> dict[str, Any]:
        """Give the jail that the process is to enter."""
        read = [*self._bounds["read"], self._readable_folder.path]
        return {**self._bounds, "read": read, "parent": os.getpid()}

    def close(self) -> None:
        """End the process and remove its folders."""
        super().close()
        self._readable_folder.remove()

    def _share(self) -> Inputs:
        """Link the folder of inputs, which code may only read, into the one where it works."""
        folder = os.path.join(self._readable_folder.path, INPUTS)
        os.mkdir(folder)
        link = self._new_entry(partial(os.symlink, folder))
        return Inputs(folder, os.path.basename(link), is_locked=True)

    @contextmanager
    def _lent(self, file: Path) -> Generator[Path]:
        """Have the file in the folder that the process may read: beside the inputs, where code that
        lists them does not find it."""
        path = Path(self._readable_folder.path, LENT)
        try:
            link_or_copy(file, path, may_link=True)
        except OSError as error:
            self.kill()
            raise SandboxError(
                f"{file} cannot be put where code may read it: {error}. Is the disk full?"
            ) from error
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _drive(self, message: Mapping[str, Any]) -> Outcome:
        """Let the process run, and stop it with all its threads once it has given an outcome."""
        self._channel.while_waiting(self._look, LOOK_SECONDS)
        self._process.signal(signal.SIGCONT)
        outcome = super()._drive(message)
        self._process.signal(signal.SIGSTOP)
        self._end_for(self._quota.excess_in(self._process.folder.path))
        return outcome

    def _look(self) -> None:
        """Look at a process that runs, now and then."""
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            self._end_for(self._quota.excess(self._process.folder.path, self._process.pid))

    def _end_for(self, excess: str) -> None:
        """End a process that uses more than it may."""
        if excess:
            raise self._lost(excess)


def check_can_jail() -> None:
    """Raise `SandboxError`, with what to do, where a process cannot be jailed."""
    if reason := jail.obstacle():
        raise SandboxError(
            f"sandbox='python' cannot lock a process in here. {reason} Use sandbox='monty'."
        )
    check_time_machine("python")


def _existing(readable: Iterable[str | Path]) -> list[str]:
    paths = [Path(path).resolve() for path in readable]
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"readable={str(path)!r} does not exist.")
    return [str(path) for path in paths]


def _notes(packages: bool) -> str:
    """Say what this Python is, from what is here."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    there = [name for name in WELL_KNOWN if find_spec(name)] if packages else []
    with_what = f"the standard library and {', '.join(there)}" if there else "the standard library"
    return (
        f"The interpreter is CPython {version} with {with_what}. "
        "It is jailed: no network, no processes or programs (subprocess, multiprocessing), and no "
        "files but those in its own working folder, where it may read and write. "
        "The clock stands still and sleeps take no time. "
        "Host functions such as llm_query work in the main thread only: "
        "llm_query_batched runs calls in parallel."
    )
