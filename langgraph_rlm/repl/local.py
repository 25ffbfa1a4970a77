"""Local: CPython with the user's own packages, in a process of its own.

It is not a sandbox: code has the rights of the user. What it does keep from code: the host's heap,
its environment variables and its output. `local_worker.py` is the other side.
"""

import importlib.util
import os
import signal
import site
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.lazy import warn_once
from langgraph_rlm.repl import local_worker
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    Raised,
    SandboxCrashed,
    Session,
    SessionSpec,
    Suspended,
)
from langgraph_rlm.repl.local_frames import Channel, FrameError
from langgraph_rlm.repl.session_rules import MUST_FEED, MUST_RESUME, lazy_value

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

MAX_SOURCE_CHARS = 10_000
"""Most characters of a call's own words that are looked at."""

NO_SANDBOX = (
    "sandbox='local' is not a sandbox: the code that models write runs with your rights, and can "
    "read your files and use the network. Keep to sandbox='monty' for input that you do not trust."
)


class LocalBackend:
    """Sessions in processes of the Python that runs this one."""

    name = "local"
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
        session = LocalSession(spec, self._sessions)
        self._sessions.add(session)
        return session

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
    if importlib.util.find_spec("time_machine") is None:
        raise SandboxError(
            "sandbox='local' needs time-machine, which stops its clock: "
            "pip install 'langgraph-rlm[local]'."
        )


class LocalSession:
    """One process.

    Whatever it sends is checked like a stranger's: a frame that is not as expected ends it.
    """

    def __init__(self, spec: SessionSpec, siblings: "set[LocalSession]") -> None:
        self._spec = spec
        self._siblings = siblings
        self._lock = threading.Lock()
        self._ended = False
        self._waiting = False
        self._folder = tempfile.TemporaryDirectory(
            prefix="langgraph-rlm-", ignore_cleanup_errors=True
        )
        self._stream, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(theirs, self._folder.name)
        except OSError as error:
            self._discard()
            raise SandboxError(
                f"{sys.executable!r} did not start: {error}. Check that it can be run."
            ) from error
        self._channel = Channel(self._stream, max_read=_max_frame(spec))
        self._greet()

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell; see `Session.feed`."""
        if self._waiting and not self._ended:
            raise SandboxError(MUST_RESUME)
        values = sorted(self._spec.values)
        return self._drive({"feed": code, "restore": sorted(restore), "values": values})

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending call; see `Session.resume`."""
        if not self._waiting:
            raise SandboxError(MUST_FEED)
        self._waiting = False
        return self._drive(_answer_frame(answer))

    def kill(self) -> None:
        """End the process and its children, and wake whoever waits for them."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            with suppress(OSError):  # the guest may have closed its end
                self._stream.shutdown(socket.SHUT_RDWR)
            # nobody else can have its id before it is waited for
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def close(self) -> None:
        """End the process and remove its folder."""
        self.kill()
        self._discard()

    def _discard(self) -> None:
        self._siblings.discard(self)
        self._stream.close()
        self._folder.cleanup()

    def _greet(self) -> None:
        try:
            hello = self._exchange(_config(self._spec, self._folder.name))
        except SandboxCrashed as error:
            hello = {"failed": str(error)}
        if hello != {"ready": True}:
            self.close()
            raise SandboxError(
                f"The Python of sandbox='local' did not start: {hello!r}. "
                f"Try `{sys.executable} -P -c 'import time_machine'`."
            )

    def _drive(self, message: Mapping[str, Any]) -> Outcome:
        """Exchange frames, giving lazy values, until the cell ends or calls the host."""
        reply = self._exchange(message)
        while (name := _lazy_name(reply)) in self._spec.values:
            reply = self._exchange({"value": lazy_value(self, self._spec, name)})
        outcome = _outcome(reply, self._spec)
        if outcome is None:
            raise self._lost(f"it sent {str(reply)[:200]!r}")
        self._waiting = isinstance(outcome, Suspended)
        return outcome

    def _exchange(self, message: Mapping[str, Any]) -> Any:
        if self._ended:
            raise SandboxCrashed("The local session has ended: open a new one.")
        try:
            self._channel.send(message)
            return self._channel.read()
        except (OSError, EOFError, FrameError) as error:
            raise self._lost(str(error)) from error

    def _lost(self, why: str) -> SandboxCrashed:
        self._waiting = False
        self.kill()
        return SandboxCrashed(
            f"The local session's process ended ({why}; exit code {self._process.returncode})."
        )


def _start(theirs: socket.socket, folder: str) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return subprocess.Popen(
        [sys.executable, "-P", "-X", "utf8", local_worker.__file__, str(theirs.fileno())],
        env={**kept, **FIXED, "HOME": folder, "TMPDIR": folder},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        start_new_session=True,
    )


def _max_frame(spec: SessionSpec) -> int:
    """Give the most bytes of a frame: a guest that keeps to its memory has no more to say.

    Four bytes a character, and escaped.
    """
    return 2 * spec.max_heap_bytes + 8 * spec.max_stdout_chars + (1 << 20)


def _config(spec: SessionSpec, folder: str) -> dict[str, Any]:
    return {
        "functions": sorted(spec.functions),
        "clock": spec.clock.isoformat(),
        "seed": spec.seed,
        "max_heap_bytes": spec.max_heap_bytes,
        "max_stdout_chars": spec.max_stdout_chars,
        "max_frame": _max_frame(spec),
        "folder": folder,
        "site": [site.getusersitepackages()] if site.ENABLE_USER_SITE else [],
    }


def _answer_frame(answer: Answer) -> dict[str, Any]:
    if isinstance(answer, Raised):
        return {"raise": answer.type, "message": answer.message}
    return {"value": answer.value}


def _lazy_name(reply: Any) -> str:
    """Give the name of the lazy value that a frame asks for; empty for any other frame."""
    match reply:
        case {"lazy": str(name)}:
            return name
        case _:
            return ""


def _outcome(reply: Any, spec: SessionSpec) -> Outcome | None:
    """Read an outcome from a frame; None if it has none."""
    match reply:
        case {
            "call": str(name),
            "args": [*args],
            "kwargs": {**kwargs},
            "source": str(source),
        } if name in spec.functions:
            return Suspended(HostCall(name, tuple(args), kwargs, source[:MAX_SOURCE_CHARS]))
        case {"stdout": str(printed), "value": value, "error": None, "hidden": [*names]}:
            return Finished(printed[: spec.max_stdout_chars], value, hidden=_hidden(names, spec))
        case {
            "stdout": str(printed),
            "error": {"type": str(kind), "message": str(message), "traceback": str(text)},
            "ran": bool(ran),
            "hidden": [*names],
        }:
            error = CellError(kind, message, text)
            shown = printed[: spec.max_stdout_chars]
            return Finished(shown, error=error, ran=ran, hidden=_hidden(names, spec))
        case _:
            return None


def _hidden(names: list[Any], spec: SessionSpec) -> frozenset[str]:
    """Give the names among those that a worker sent that it may speak of."""
    known = spec.functions.union(spec.values)
    return frozenset(name for name in names if isinstance(name, str) and name in known)
