"""What the contract's tests share: how to open a session and run cells in it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psutil

from langgraph_rlm.repl.base import (
    Answer,
    Finished,
    HostCall,
    Outcome,
    Returned,
    Session,
    Suspended,
)

CLOCK = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MEGABYTE = 1 << 20

Open = Callable[..., Session]
"""Opens a session; arguments replace fields of its spec."""


def run(session: Session, code: str, *answers: Any) -> tuple[Finished, list[HostCall]]:
    """Run a cell to its end with these answers to its calls, in order."""
    outcome, calls = session.feed(code), list[HostCall]()
    given = iter(answers)
    while isinstance(outcome, Suspended):
        calls.append(outcome.call)
        answer = next(given)
        outcome = session.resume(answer if isinstance(answer, Answer) else Returned(answer))
    assert next(given, None) is None, "the cell made fewer calls than it had answers"
    return outcome, calls


def ran(session: Session, code: str, *answers: Any) -> Finished:
    """Run a cell that must end without an error."""
    finished = run(session, code, *answers)[0]
    assert finished.error is None, finished.error.traceback
    return finished


def failed(session: Session, code: str, *answers: Any) -> str:
    """Run a cell that must end with an error; its type."""
    finished = run(session, code, *answers)[0]
    assert finished.error is not None
    return finished.error.type


def suspended(outcome: Outcome) -> HostCall:
    """The call of a cell that must have made one."""
    assert isinstance(outcome, Suspended), outcome
    return outcome.call


def rss() -> int:
    """Bytes of memory of this process."""
    return psutil.Process().memory_info().rss
