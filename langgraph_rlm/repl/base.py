"""The REPL contract: a session runs a cell, and hands every call of a host function to its caller.

A backend knows nothing of models, logs, budgets or pauses. `repl/contract/` checks what each one
promises. All methods block and are called from worker threads; only `kill` may be called while
another method runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from langgraph_rlm.log.reply import RULES

Value = Any
"""A value that crosses between guest and host: None, bool, int, float, str, list or dict.

A backend turns the guest's tuples and sets into lists or leaves them, and turns any other object
into its `str`.
"""


MAX_DUMP_BYTES = 64 << 20
"""Largest dump of a session that is kept; one of this size takes 0.3 s to make and to load."""


class SandboxCrashed(Exception):
    """The worker process of a session died: killed, out of memory, `os._exit`.

    The session is lost; the host is not harmed.
    """


@dataclass(frozen=True)
class HostCall:
    """A guest's call of a host function, with the arguments as the guest wrote them.

    They are not yet checked against any signature.
    """

    function: str
    args: tuple[Value, ...] = ()
    kwargs: Mapping[str, Value] = field(default_factory=dict[str, Value])
    source: str = field(default="", compare=False)
    """The call in the guest's own words, such as `FINAL_VAR(winner)`; empty where the backend
    cannot tell."""


@dataclass(frozen=True)
class CellError:
    """An exception that ended a cell. `traceback` is text for the model, without host paths."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Finished:
    """The end of a cell."""

    stdout: str
    """What it printed, at most `SessionSpec.max_stdout_chars` characters."""
    value: Value = None
    """The value of its last line, if that is an expression."""
    error: CellError | None = None
    ran: bool = True
    """False where not one line of it ran, because the interpreter does not take it as it is."""
    hidden: frozenset[str] = frozenset()
    """Names of `SessionSpec.functions` and `SessionSpec.values` that do not have their own values
    any more, as far as the backend can tell. Those that the text of the cell assigns to are known
    without it."""


@dataclass(frozen=True)
class Suspended:
    """A cell that waits for the answer to one host call."""

    call: HostCall


Outcome = Finished | Suspended

RaisedType = Literal[
    "RuntimeError", "TypeError", "ValueError", "NameError", "TimeoutError", "SystemExit"
]


@dataclass(frozen=True)
class Returned:
    """The result of a host call."""

    value: Value


@dataclass(frozen=True)
class Raised:
    """The failure of a host call, raised in the guest as the built-in exception of that name."""

    type: RaisedType
    message: str


Answer = Returned | Raised


@dataclass(frozen=True)
class StoredText:
    """A lazy value that is the text of a file. Calling it gives the text.

    A session that can read the file by itself, or piece by piece, need not have the text in the
    host: 100 MB would be there twice, as bytes and as a str.
    """

    path: Callable[[], Path]
    """Finds the file, which is not to be written to. It has UTF-8; half a character in it (a lone
    surrogate) is for code `?`."""
    whole: Callable[[], str]

    def __call__(self) -> str:
        """Give the text, as code sees it."""
        return self.whole()


@dataclass(frozen=True)
class SessionSpec:
    """What a new session starts from.

    Two sessions of one spec that get the same cells and answers do the same.
    """

    functions: frozenset[str]
    """Names of host functions. Calling one suspends the cell; so does `f = llm_query; f("x")`."""
    values: Mapping[str, Callable[[], Value]]
    """Lazy globals: asked for when code first reads the name, so that an unused context is never
    sent. Names may be added between cells. A long text is a `StoredText`, which a session may also
    take before a cell that reads its name."""
    clock: datetime
    """The instant that every clock in the guest shows; timezone-aware."""
    seed: str
    """Seeds `random`."""
    max_heap_bytes: int
    """Most memory of the guest; beyond it, code gets a MemoryError."""
    max_stdout_chars: int = 1_000_000
    """Most characters of one cell's output that are kept; printing more ends the cell with a
    MemoryError."""
    inputs_at: Path | None = None
    """Where the host can make files without a copy, by hard links: a folder for those that a
    `Sharing` session shows to code is best made in here."""
    max_out_bytes: int = 256 << 20
    """Most bytes of files that are taken from `out/`, where the session is a `Writing`."""


class Session(Protocol):
    """One interpreter with its globals, in a process of its own."""

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell until it ends or calls the host.

        Args:
            code: Python source.
            restore: names of `SessionSpec.functions` and `SessionSpec.values` to bind anew before
                the cell, because code has rebound them.

        Raises:
            SandboxCrashed: the worker died.
        """
        ...

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending host call. Raises `SandboxCrashed` as `feed` does."""
        ...

    def kill(self) -> None:
        """End the worker at once, from any thread.

        A running `feed` or `resume` then raises `SandboxCrashed`.
        """
        ...

    def close(self) -> None:
        """Give the worker back. Safe to call twice and after `kill`."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A session that looks at cells before they run. A session need not."""

    def prepare(self, code: str, rules: int = RULES) -> str | CellError:
        """Look at the cell that is fed next.

        Cells of logs from before there was this method are fed as they are.

        Args:
            code: Python source.
            rules: of its turn (`log/reply.py`): a cell of an old log is prepared as it was then.

        Returns:
            What to feed in its place, line by line the same; or the error that tells at once of
            everything in it that the interpreter does not have. Nothing of the cell runs then.

        Raises:
            SandboxCrashed: the worker died.
        """
        ...


@runtime_checkable
class Snapshotting(Protocol):
    """A session that can write down what it is. A session need not; its backend is a `Loading`."""

    def dump(self) -> bytes | None:
        """Write down the state of the session, which goes on as if nothing had been.

        It is asked for between cells, and while a cell waits for the answer to a call.

        Returns:
            What `Loading.load` makes the same session of; None where it is too large, or has what
            cannot be written down.

        Raises:
            SandboxCrashed: the worker died.
        """
        ...


@runtime_checkable
class Measured(Protocol):
    """A session that tells what it takes. A session need not."""

    def own_bytes(self) -> int | None:
        """Give the memory that its process shares with no other; None where that is not known."""
        ...


@runtime_checkable
class Writing(Protocol):
    """A session whose code has a folder `out/`, relative to where it begins. A session need not.

    Its backend says so by `gives_files`.
    """

    def out_folder(self) -> str:
        """Give the path of the host's folder that code knows as `out/`; make it if it is not there.

        It is asked for before each cell that may write, and is empty before the first. Once `feed`
        or `resume` has given a `Finished`, what code has written is in it, and stays as it is until
        the next cell. The host also writes into it, between cells; code then finds that. What is in
        it is looked at like a stranger's: code may have made links, or something else of it.

        Raises:
            SandboxCrashed: the worker died.
        """
        ...


@dataclass(frozen=True)
class Inputs:
    """A folder in which the host puts files for code to read."""

    folder: str
    """The host's path of it."""
    known_as: str
    """The path of it in code, the same in every session that runs the same cells."""
    is_locked: bool
    """Whether code cannot write there: then a file in it may be a blob's own."""


@runtime_checkable
class Sharing(Protocol):
    """A session whose code can open files of the host's. A session need not; its backend says so by
    `reads_files`."""

    def inputs(self) -> Inputs:
        """Give the folder, and let code know it from now on.

        It is asked for while the session waits for a lazy value.
        """
        ...


@dataclass(frozen=True)
class Capacity:
    """What a backend can take as one value. A context beyond it is not loaded.

    A backend that has a `capacity` says so with it. It may well refuse smaller values too, as soon
    as they are asked for.
    """

    max_bytes: int = 2**63
    """Most bytes of its text in UTF-8."""
    item_bytes: int = 0
    """Memory of the guest that one item of a list or dict takes at the least."""


def capacity_of(backend: "Backend") -> Capacity:
    """Give what a backend can take as one value: anything, where it does not say."""
    return getattr(backend, "capacity", Capacity())


def reads_files(backend: "Backend") -> bool:
    """Whether code can open contexts as files: not, where the backend does not say."""
    return getattr(backend, "reads_files", False)


def imports_skills(backend: "Backend") -> bool:
    """Whether code can import modules of skills: not, where the backend does not say."""
    return getattr(backend, "imports_skills", False)


def gives_files(backend: "Backend") -> bool:
    """Whether code has a folder `out/`: not, where the backend does not say."""
    return getattr(backend, "gives_files", False)


@runtime_checkable
class Backend(Protocol):
    """Opens sessions. One per `create_rlm`, shared by all its runs."""

    name: str
    notes: str
    """What the system prompt says about it: which Python it is, and what is missing."""

    def open(self, spec: SessionSpec) -> Session:
        """Start a session. Raises `SandboxError` when no worker can be started."""
        ...

    def release_idle(self) -> None:
        """End every worker without a session. Sessions may be open, and others opened later."""
        ...

    def close(self) -> None:
        """End every worker."""
        ...


@runtime_checkable
class Loading(Protocol):
    """A backend whose sessions are `Snapshotting`. A backend need not be."""

    state_format: str
    """Names the interpreter, its version and all else that `load` must have in common with the
    `dump` that wrote the bytes."""

    def load(self, spec: SessionSpec, state: bytes) -> Session | None:
        """Start a session from what `dump` wrote.

        It is only given bytes that a session of this `state_format` and of an equal spec has
        written; a `load` may rely on it.

        Returns:
            None where the bytes cannot be read after all, or the worker died of them.

        Raises:
            SandboxError: no worker can be started.
        """
        ...
