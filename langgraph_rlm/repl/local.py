"""Local: CPython with the user's own packages, in a process of its own.

It is not a sandbox: code has the rights of the user. What it does keep from code: the host's heap,
its environment variables and its output. `local_worker.py` is the other side.
"""

import importlib.util
import os
import sys
from pathlib import Path

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.lazy import warn_once
from langgraph_rlm.processes.child import SharedFolder, WorkerProcess
from langgraph_rlm.repl.base import Session, SessionSpec
from langgraph_rlm.repl.local_session import LocalSession

PROGRAM = Path(__file__).with_name("local_worker.py")
"""The other side, also of the jailed backend."""

KEPT = frozenset(
    {
        "PATH",
        "LANG",
        "LC_ALL",
        "LC_CTYPE",
        "LC_COLLATE",
        "LC_MESSAGES",
        "LC_MONETARY",
        "LC_NUMERIC",
        "LC_TIME",
    }
)
"""Environment variables of the host that the process gets too."""

NO_SANDBOX = (
    "sandbox='local' is not a sandbox: the code that models write runs with your rights, and can "
    "read your files and use the network. Keep to sandbox='monty' for input that you do not trust."
)


class LocalBackend:
    """Sessions in processes of the Python that runs this one."""

    name = "local"
    gives_files = True
    notes = (
        f"The interpreter is CPython {sys.version_info.major}.{sys.version_info.minor}, "
        "with the packages that are installed here. "
        "The clock stands still and sleeps take no time. "
        "Host functions such as llm_query work in the main thread only: "
        "llm_query_batched runs calls in parallel."
    )

    def __init__(self) -> None:
        self._sessions: set[LocalSession] = set()

    def open(self, spec: SessionSpec) -> Session:
        """Start a process. Warns once that it is not a sandbox.

        Raises:
            SandboxError: no process can be started here.
        """
        _check_host()
        warn_once("local", NO_SANDBOX)
        kept = {name: value for name, value in os.environ.items() if name in KEPT}
        return LocalSession(spec, WorkerProcess(PROGRAM, SharedFolder(), (), kept), self._sessions)

    def release_idle(self) -> None:
        """Do nothing: each process ends with its session."""

    def close(self) -> None:
        """End every process."""
        for session in list(self._sessions):
            session.close()


def _check_host() -> None:
    if os.name != "posix":
        raise SandboxError(
            f"sandbox='local' needs Linux or macOS, not {os.name!r}: use sandbox='monty'."
        )
    check_time_machine("local")


def check_time_machine(sandbox: str) -> None:
    """Raise `SandboxError` where what stops the clock is not installed."""
    if importlib.util.find_spec("time_machine") is None:
        raise SandboxError(
            f"sandbox={sandbox!r} needs time-machine, which stops its clock: "
            "pip install 'langgraph-rlm[local]'."
        )
