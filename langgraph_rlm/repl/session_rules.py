"""Session rules: what sessions of every backend here do alike, whatever interpreter they hold."""

from langgraph_rlm.repl.base import Session, SessionSpec, Value

MUST_RESUME = "This session waits for an answer: resume it first."
"""Says why a cell is refused while a call waits for its answer."""
MUST_FEED = "This session waits for no answer: feed it a cell first."
"""Says why an answer is refused that no call waits for."""


def lazy_value(session: Session, spec: SessionSpec, name: str) -> Value:
    """Ask the host for a lazy value.

    If the host cannot give it, the cell cannot continue, and neither can the session: it is killed,
    and the host's own error is raised.
    """
    try:
        return spec.values[name]()
    except BaseException:
        session.kill()
        raise
