"""Session rules: what sessions of every backend here do alike, whatever interpreter they hold."""

from collections.abc import Callable
from typing import TypeVar

from langgraph_rlm.repl.base import Session

T = TypeVar("T")

MUST_RESUME = "This session waits for an answer: resume it first."
"""Says why a cell is refused while a call waits for its answer."""
MUST_FEED = "This session waits for no answer: feed it a cell first."
"""Says why an answer is refused that no call waits for."""


def given_by_host(session: Session, give: Callable[[], T]) -> T:
    """Ask the host for a lazy value, or for the file that has it.

    If the host cannot give it, the cell cannot continue, and neither can the session: it is killed,
    and the host's own error is raised.
    """
    try:
        return give()
    except BaseException:
        session.kill()
        raise
