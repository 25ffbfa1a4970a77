"""Check: one promise of a backend, and what checks need to open sessions and to run cells."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from langgraph_rlm.repl.base import (
    Answer,
    Backend,
    CellError,
    Finished,
    HostCall,
    Outcome,
    Preparing,
    Returned,
    SandboxCrashed,
    Session,
    SessionSpec,
    Suspended,
    gives_files,
)

MEGABYTE = 1 << 20
SHOWN_CHARS = 300
"""Most characters of a value that a reason shows."""

SPEC = SessionSpec(
    functions=frozenset({"llm_query", "tool"}),
    values={"context": lambda: "the context"},
    clock=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    seed="seed",
    max_heap_bytes=64 * MEGABYTE,
)
"""What a session starts from unless a check says otherwise."""


class Opener:
    """Opens sessions on one backend, and closes them all at the end of its `with` block."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.gives_files = gives_files(backend)
        self._opened: list[Session] = []

    def __call__(self, **changes: Any) -> Session:
        """Open a session.

        Args:
            changes: fields of the session's spec that differ from `SPEC`.
        """
        session = self._backend.open(replace(SPEC, **changes))
        self._opened.append(session)
        return session

    def __enter__(self) -> "Opener":
        return self

    def __exit__(self, *_: object) -> None:
        for session in self._opened:
            session.close()


@dataclass(frozen=True)
class Check:
    """One promise of a backend."""

    name: str
    promise: str
    """A sentence."""
    run: Callable[[Opener], None]
    """Raises AssertionError if the promise does not hold."""

    def on(self, backend: Backend) -> None:
        """Run the check on a backend. Raises AssertionError, or whatever the backend raises."""
        with Opener(backend) as open_session:
            self.run(open_session)


class Promises:
    """A decorator that makes functions checks, and keeps them in order.

    The name of a check is the function's; its promise is the first paragraph of the docstring.
    """

    def __init__(self) -> None:
        self.checks: list[Check] = []

    def __call__(self, run: Callable[[Opener], None]) -> Callable[[Opener], None]:
        """Make a function a check."""
        paragraph = (inspect.getdoc(run) or "").partition("\n\n")[0]
        self.checks.append(Check(run.__name__, paragraph.replace("\n", " "), run))
        return run


# What is expected


def holds(condition: bool, reason: str) -> None:
    """Expect something. Unlike an `assert`, it is also checked in an optimized Python."""
    if not condition:
        raise AssertionError(reason)


def equal(got: object, wanted: object) -> None:
    """Expect a value to equal another."""
    holds(got == wanted, f"got {_shown(got)}, not {_shown(wanted)}")


def crashes(step: Callable[[], object], what: str) -> None:
    """Expect a step of a session to raise `SandboxCrashed`."""
    try:
        step()
    except SandboxCrashed:
        return
    raise AssertionError(f"{what} did not raise SandboxCrashed")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


# Running cells


def run(session: Session, code: str, *answers: Any) -> tuple[Finished, list[HostCall]]:
    """Run a cell to its end, prepared as the host does it.

    Args:
        session: where to run it.
        code: the cell.
        answers: one for each of its calls, in order: an `Answer`, or a value to return.

    Returns:
        How it ended, and the calls that it made.
    """
    calls: list[HostCall] = []
    left = list(answers)
    prepared = session.prepare(code) if isinstance(session, Preparing) else code
    if isinstance(prepared, CellError):
        return Finished("", error=prepared, ran=False), calls
    outcome = session.feed(prepared)
    while isinstance(outcome, Suspended):
        calls.append(outcome.call)
        holds(bool(left), f"the cell makes more than {len(answers)} calls: {_shown(outcome.call)}")
        answer = left.pop(0)
        if not isinstance(answer, Answer):
            answer = Returned(answer)
        outcome = session.resume(answer)
    holds(not left, f"the cell makes only {len(calls)} of {len(answers)} calls: {_shown(code)}")
    return outcome, calls


def ran(session: Session, code: str, *answers: Any) -> Finished:
    """Run a cell that must end without an error."""
    finished, _ = run(session, code, *answers)
    if finished.error is not None:
        raise AssertionError(f"{_shown(code)} ends with {finished.error.traceback}")
    return finished


def gives(session: Session, code: str, value: Any, *answers: Any) -> None:
    """Run a cell that must end without an error, and with a value."""
    got = ran(session, code, *answers).value
    holds(got == value, f"{_shown(code)} gives {_shown(got)}, not {_shown(value)}")


def failure(session: Session, code: str, *answers: Any) -> CellError:
    """Run a cell that must end with an error, and give the error."""
    finished, _ = run(session, code, *answers)
    if finished.error is None:
        raise AssertionError(f"{_shown(code)} ends without an error")
    return finished.error


def fails(session: Session, code: str, *types: str) -> None:
    """Run a cell that must end with an error of one of these types."""
    got = failure(session, code).type
    holds(got in types, f"{_shown(code)} raises {got}, not {' or '.join(types)}")


def called(outcome: Outcome) -> HostCall:
    """Give the call of a cell that must have made one."""
    if not isinstance(outcome, Suspended):
        raise AssertionError(f"the cell ended without a call: {_shown(outcome)}")
    return outcome.call
