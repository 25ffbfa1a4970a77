"""Errors: broken configuration, missing data, a dead sandbox. What model code does wrong is an outcome, never one of these.

Every message says what happened, the value, and what to do about it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

SHOWN_CHARS = 200
"""Most characters of a wrong value that an error shows."""

MAX_PROBLEMS = 3
"""Most problems of one value that an error tells."""


def problems_in(error: "ValidationError", *, has_values: bool = True) -> str:
    """Tell what pydantic refused, each as `place=value: why` or `place: why`, the first few. No key is shown."""
    told: list[str] = []
    for each in error.errors(include_url=False)[:MAX_PROBLEMS]:
        place = ".".join(map(str, each["loc"])) or "it"
        if has_values and each["type"] != "missing" and "key" not in place:
            place += f"={shown(each['input'])}"
        told.append(f"{place}: {each['msg']}")
    return "; ".join(told)


def shown(value: object) -> str:
    """A value as an error shows it: its `repr`, cut at `SHOWN_CHARS`."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS else f"{text[:SHOWN_CHARS]}..."


class RLMError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(RLMError):
    """An argument of `create_rlm`, `Limits` or the command is wrong: an unknown provider, model, limit, sandbox or tool."""


class ContextError(RLMError):
    """An input cannot become a context: missing, unreadable, binary, not UTF-8, or empty."""


class BlobError(RLMError):
    """A stored value is missing or altered; the message names its digest and how to supply it."""


class ReplayDivergedError(RLMError):
    """Logged code, run again, did something else than its log says."""

    place: str | None = None
    """Of the cell or the call in the log."""
    then: Any = None
    """The entry in the log."""
    now: Any = None
    """The entry that it would have now; None when nothing is there to compare."""


class ForkError(RLMError):
    """A place in a thread's log cannot be edited: it is not there, it follows from others, or nothing waits for it."""


class SandboxError(RLMError):
    """The sandbox cannot be started or died; the host is unharmed."""


class InputError(RLMError):
    """The messages or the options of a chat call are wrong: nothing to answer, content that cannot be read, an unknown option."""


class UnknownToolCallError(RLMError):
    """A tool message answers a call that is not known here: another owner's, of another store, or deleted since."""

    def __init__(self, message: str, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)
        """Of the calls that are not known."""


class ApprovalNeededError(RLMError):
    """A tool waits for a human's approval, and the model was called where no graph could pause.

    `model.resume(error.run, decisions)` goes on: a decision for each action of `request`, in order.
    """

    def __init__(self, message: str, run: str, request: dict[str, Any]) -> None:
        super().__init__(message)
        self.run = run
        """Of the run that waits; it stays in the checkpointer."""
        self.request = request
        """LangChain's `HITLRequest`: `action_requests` and `review_configs`, one for each call that waits."""


class ThreadBusyError(RLMError):
    """Two callers, of one process or of two, run one thread at the same time."""


class ResumeError(RLMError):
    """An answer to a pause has the wrong form, or no pause waits for it. Nothing was stored: the pause is still open."""
