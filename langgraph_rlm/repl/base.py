"""The REPL contract: a session is fed a cell and gives an outcome; whatever it asks of the host comes back as a `HostCall`.

Backends know nothing of models, logs, limits on spending or pauses. `tests/repl_contract/` runs against each of them.
All methods block and are called from worker threads; only `kill` may be called while another method runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, runtime_checkable

Value = Any
"""What crosses the border: None, bool, int, float, str, list, dict; backends turn tuples and sets of the guest into
values of these types or of the same Python types, and anything else into its `str`."""


class SandboxCrashed(Exception):
    """The worker process of a session died (killed, out of memory, `os._exit`). The session is lost, the host is not."""


@dataclass(frozen=True)
class HostCall:
    """A guest's call of a host function, arguments as the guest wrote them (not yet checked against any signature)."""

    function: str
    args: tuple[Value, ...] = ()
    kwargs: Mapping[str, Value] = field(default_factory=dict[str, Value])


@dataclass(frozen=True)
class CellError:
    """An exception that ended a cell. `traceback` is text for the model, without paths of the host."""

    type: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Finished:
    """A cell ended: what it printed (cut at `SessionSpec.max_stdout_chars`), the value of a trailing expression, its error."""

    stdout: str
    value: Value = None
    error: CellError | None = None


@dataclass(frozen=True)
class Suspended:
    """A cell waits for the answer of one host call."""

    call: HostCall


Outcome = Finished | Suspended

RaisedType = Literal[
    "RuntimeError", "TypeError", "ValueError", "NameError", "TimeoutError", "SystemExit"
]


@dataclass(frozen=True)
class Returned:
    """A host call's result."""

    value: Value


@dataclass(frozen=True)
class Raised:
    """A host call's failure, raised in the guest as the built-in exception of that name."""

    type: RaisedType
    message: str


Answer = Returned | Raised


@dataclass(frozen=True)
class SessionSpec:
    """What a new session starts from. Two sessions of one spec, fed the same cells and answers, do the same."""

    functions: frozenset[str]
    """Names of host functions. A call of one suspends the cell; so does `f = llm_query; f("x")`."""
    values: Mapping[str, Callable[[], Value]]
    """Lazy globals: asked for when code first reads the name, so that an unused context is never sent. Names may come
    between cells."""
    clock: datetime
    """The instant that every clock in the guest shows; aware."""
    seed: str
    """Seeds `random`."""
    max_heap_bytes: int
    """Above it the guest gets a MemoryError."""
    max_stdout_chars: int = 1_000_000
    """Most characters of one cell's output that are held; printing more ends the cell with a MemoryError."""


class Session(Protocol):
    """One interpreter with its globals, in a process of its own."""

    def feed(self, code: str, restore: frozenset[str] = frozenset()) -> Outcome:
        """Run one cell until it ends or calls the host.

        Args:
            code: Python source.
            restore: names of `SessionSpec.functions` and `SessionSpec.values` to bind anew first, because code has rebound them.

        Raises:
            SandboxCrashed: the worker died.
        """
        ...

    def resume(self, answer: Answer) -> Outcome:
        """Answer the pending host call. Raises `SandboxCrashed` as `feed` does."""
        ...

    def kill(self) -> None:
        """End the worker at once, from any thread; a running `feed` or `resume` then raises `SandboxCrashed`."""
        ...

    def close(self) -> None:
        """Give the worker back. Safe to call twice and after `kill`."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Opens sessions. One per `create_rlm`, shared by all its runs."""

    name: str
    notes: str
    """What the system prompt says about this interpreter: which Python it is, and what is missing."""

    def open(self, spec: SessionSpec) -> Session:
        """Start a session. Raises `SandboxError` when no worker can be started."""
        ...

    def release_idle(self) -> None:
        """End every worker that no session has; sessions may be open, and opened later."""
        ...

    def close(self) -> None:
        """End every worker."""
        ...
