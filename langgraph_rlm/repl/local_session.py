"""Session: the cells of one CPython worker. Whatever it sends is checked like a stranger's.

A frame that is not as expected ends it.
"""

import itertools
import os
import site
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.processes.child import WorkerProcess
from langgraph_rlm.processes.frames import UNBOUNDED, Channel, FrameError
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Inputs,
    Outcome,
    Raised,
    SandboxCrashed,
    SessionSpec,
    StoredText,
    Suspended,
)
from langgraph_rlm.repl.session_rules import MUST_FEED, MUST_RESUME, given_by_host

INPUTS = "inputs"
"""The folder of files for code, in its working folder."""

OUT = "out"
"""The folder, in that of the process, whose files are given back."""

MAX_SOURCE_CHARS = 10_000
"""Most characters of a call's own words that are looked at."""


class LocalSession:
    """The session of one process."""

    sandbox = "local"
    """The name that messages say."""
    max_parts = UNBOUNDED
    """Most lists, dicts and items of one message."""

    def __init__(
        self, spec: SessionSpec, process: WorkerProcess, siblings: "set[LocalSession]"
    ) -> None:
        """Take over a process that was just started.

        Raises:
            SandboxError: its Python does not come up.
        """
        self._spec = spec
        self._process = process
        self._siblings = siblings
        self._waiting = False
        self._inputs: Inputs | None = None
        self._channel = Channel(process.stream, max_read=_max_frame(spec))
        self._channel.max_parts = self.max_parts
        siblings.add(self)
        self._greet()

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell; see `Session.feed`."""
        if self._waiting and not self._process.has_ended:
            raise SandboxError(MUST_RESUME)
        values = sorted(self._spec.values)
        return self._drive({"feed": code, "restore": sorted(restore), "values": values})

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending call; see `Session.resume`."""
        if not self._waiting:
            raise SandboxError(MUST_FEED)
        self._waiting = False
        return self._drive(_answer_frame(answer))

    def own_bytes(self) -> int | None:
        """Give the memory of its process; see `Measured.own_bytes`."""
        return self._process.own_bytes()

    def kill(self) -> None:
        """End the process and its children, and wake whoever waits for them."""
        self._process.kill()

    def inputs(self) -> Inputs:
        """Give the folder of files for code; see `Sharing.inputs`."""
        if self._inputs is None:
            self._inputs = self._share()
        return self._inputs

    def _share(self) -> Inputs:
        """Make a folder in the process's own. Code may write there, so it gets copies."""
        folder = self._new_entry(os.mkdir)
        return Inputs(folder, os.path.basename(folder), is_locked=False)

    def _new_entry(self, make: Callable[[str], None]) -> str:
        """Make something in the process's folder, by the first name that code has not taken."""
        for number in itertools.count():
            name = f"{INPUTS}_{number}" if number else INPUTS
            path = os.path.join(self._process.folder.path, name)
            try:
                make(path)
            except FileExistsError:
                continue
            return path
        raise AssertionError("there are numbers enough")

    def out_folder(self) -> str:
        """Give the folder in the process's own; see `Writing.out_folder`."""
        path = os.path.join(self._process.folder.path, OUT)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # maybe no folder: whoever looks into it sees
        except OSError as error:
            raise SandboxCrashed(f"The folder of the process is gone: {error}") from error
        return path

    def close(self) -> None:
        """End the process and remove its folder."""
        self._siblings.discard(self)
        self._process.discard()

    def bounds(self) -> dict[str, Any] | None:
        """Give the jail that the process is to enter; None for no jail."""
        return None

    def remedy(self, said: str) -> str:
        """Say what to do where the Python did not come up, by what it said."""
        return f"Try `{sys.executable} -P -c 'import time_machine'`."

    def _greet(self) -> None:
        try:
            hello = self._exchange(self._config())
        except SandboxCrashed as error:
            hello = {"failed": str(error)}
        if hello != {"ready": True}:
            self.close()
            raise SandboxError(
                f"The Python of sandbox={self.sandbox!r} did not start: {hello!r}. "
                f"{self.remedy(str(hello))}"
            )

    def _config(self) -> dict[str, Any]:
        spec = self._spec
        return {
            "functions": sorted(spec.functions),
            "clock": spec.clock.isoformat(),
            "seed": spec.seed,
            "max_heap_bytes": spec.max_heap_bytes,
            "max_stdout_chars": spec.max_stdout_chars,
            "max_frame": _max_frame(spec),
            "max_parts": self.max_parts,
            "folder": self._process.folder.path,
            "site": [site.getusersitepackages()] if site.ENABLE_USER_SITE else [],
            "jail": self.bounds(),
        }

    def _drive(self, message: Mapping[str, Any]) -> Outcome:
        """Exchange frames, giving lazy values, until the cell ends or calls the host."""
        reply = self._exchange(message)
        while (name := _lazy_name(reply)) in self._spec.values:
            reply = self._given(name)
        outcome = _outcome(reply, self._spec)
        if outcome is None:
            raise self._lost(f"it sent {str(reply)[:200]!r}")
        self._waiting = isinstance(outcome, Suspended)
        return outcome

    def _given(self, name: str) -> Any:
        """Give the process a lazy value, for which it waits: a long text as a file that it reads
        itself, so that the host never has it."""
        value = self._spec.values[name]
        if not isinstance(value, StoredText):
            return self._exchange({"value": given_by_host(self, value)})
        with self._lent(given_by_host(self, value.path)) as path:
            return self._exchange({"text_in": str(path)})

    @contextmanager
    def _lent(self, file: Path) -> Generator[Path]:
        """Have a file of the host's where the process can read it, for as long as it takes."""
        yield file

    def _exchange(self, message: Mapping[str, Any]) -> Any:
        if self._process.has_ended:
            raise SandboxCrashed(f"The {self.sandbox} session has ended: open a new one.")
        try:
            self._channel.send(message)
            return self._channel.read()
        except (OSError, EOFError, FrameError) as error:
            raise self._lost(str(error)) from error

    def _lost(self, why: str) -> SandboxCrashed:
        self._waiting = False
        self.kill()
        return SandboxCrashed(
            f"The {self.sandbox} session's process ended "
            f"({why}; exit code {self._process.exit_code})."
        )


def _max_frame(spec: SessionSpec) -> int:
    """Give the most bytes of a frame: a guest that keeps to its memory has no more to say.

    Four bytes a character, and escaped.
    """
    return 2 * spec.max_heap_bytes + 8 * spec.max_stdout_chars + (1 << 20)


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
