"""Broken: what a client is told whose answer breaks off because a process ends."""

from collections.abc import Callable, Mapping

from langgraph_rlm.server.answers import Door
from langgraph_rlm.server.errors import DO_NOT_RETRY, Refused
from langgraph_rlm.server.replies import failed
from langgraph_rlm.server.responses.events import broken_off

RETRY = {"x-should-retry": "true", "retry-after": "1"}
"""Headers for OpenAI's clients: another server is there, or this one soon."""

BROKEN_OFF: Mapping[Door, Callable[[Refused], bytes]] = {
    "chat": lambda error: failed(error.body),
    "completion": lambda error: failed(error.body),
    "response": broken_off,
    "stored response": broken_off,
}
"""The last event of a stream that is cut off."""


def restarted() -> Refused:
    """Give the error of a request whose run process has died.

    What killed it may be the request itself: clients are not to send it again unasked.
    """
    message = "The process of the runs ended, and starts again. What the run had done is kept."
    return Refused(503, message, code="restarted", headers=DO_NOT_RETRY)


def handed_over() -> Refused:
    """Give the error of a request that was not done when its server had to stop."""
    message = (
        "This server stops, and the request was not done in time. Ask again: another server "
        "answers, and a run that was called for by the result of a tool, or with the same "
        "Idempotency-Key, goes on where it was."
    )
    return Refused(503, message, code="server_stopping", headers=RETRY)
