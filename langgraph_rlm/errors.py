"""Errors: broken configuration, missing data, a dead sandbox.

What model code does wrong is an outcome of its cell, never one of these. Every message says what
happened, the value, and what to do about it.
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
    """Say what pydantic refused: the first few problems, each as `name=value: why` or `name: why`.

    No key is shown.
    """
    told: list[str] = []
    for problem in error.errors(include_url=False)[:MAX_PROBLEMS]:
        name = ".".join(map(str, problem["loc"])) or "it"
        if has_values and problem["type"] != "missing" and "key" not in name:
            name += f"={shown(problem['input'])}"
        told.append(f"{name}: {problem['msg']}")
    return "; ".join(told)


def shown(value: object) -> str:
    """Give a value as an error shows it: its `repr`, cut at `SHOWN_CHARS`."""
    text = repr(value)
    if len(text) <= SHOWN_CHARS:
        return text
    return f"{text[:SHOWN_CHARS]}..."


class RLMError(RuntimeError):
    """Base of every error that this package raises on purpose. Catch it to catch them all.

    It is a `RuntimeError`, and those of what a caller gave are `ValueError`s too: LangGraph's
    server shows its clients the messages of these, and of no errors that it does not know.
    """


class ConfigurationError(RLMError):
    """Raised when a graph, a chat model, a server or a command is set up with a wrong option.

    For example an unknown provider, model, limit, sandbox or tool, or a missing package. Nothing
    has run yet: correct the option that the message names.
    """


class ContextError(RLMError, ValueError):
    """Raised when an input has no question, or something in it cannot become a context.

    Such a thing is missing, unreadable, binary, not UTF-8, or empty. Correct what the message
    names, and ask again.
    """


class BlobError(RLMError):
    """Raised when a stored value is missing or was altered.

    The message names its digest. Give the blob store that has it, or restore it there; the thread
    then continues.
    """


class ReplayDivergedError(RLMError):
    """Raised when logged code, run again, does something else than its log says.

    Its causes are an edited log, another version of this package, or a sandbox that is not
    deterministic. Continue from an earlier checkpoint; edit a log with `fork` only. If a saved run
    was replayed, the difference is the result of that test.
    """

    place: str | None = None
    """The place of the cell or the call in the log."""
    then: Any = None
    """The entry in the log."""
    now: Any = None
    """The entry that it would have now; None when there is nothing to compare."""


class ForkError(RLMError):
    """Raised when an entry of a thread's log cannot be edited.

    It is not there, it follows from other entries, or nothing waits for its RLM any more. Fork at
    the place that the message names, or at one that is in the log.
    """


class SandboxError(RLMError):
    """Raised when the sandbox cannot be started, or died. The host is unharmed.

    Invoke the thread again: its code continues in a new sandbox, from the last checkpoint. If that
    one dies too, the machine may be short of memory.
    """


class InputError(RLMError, ValueError):
    """Raised when the messages or the options of a chat call are wrong.

    For example nothing to answer, content that cannot be read, or an unknown option. Correct what
    the message names, and call again.
    """


class SettingsError(InputError):
    """Raised when what a run sets for itself is unknown, wrong, not allowed, or not what it began
    with.

    Nothing was stored. The message names the setting, the value, and what would be taken.
    """


class UnknownToolCallError(RLMError):
    """Raised when a tool message answers a call that is not known here.

    The call is another owner's, is in another checkpointer, or has been deleted. Call with the
    owner and the checkpointer of the reply that made it, or ask the question again.
    """

    def __init__(self, message: str, ids: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.ids = list(ids)
        """The ids of the calls that are not known."""


class ApprovalNeededError(RLMError):
    """Raised when a tool waits for a human's approval, and no graph around the model could pause.

    `model.resume(error.run, decisions)` continues: one decision for each action of `request`, in
    order.
    """

    def __init__(self, message: str, run: str, request: dict[str, Any]) -> None:
        super().__init__(message)
        self.run = run
        """The id of the run that waits; the run stays in the checkpointer."""
        self.request = request
        """LangChain's `HITLRequest`: `action_requests` and `review_configs`, one for each call."""


class ModelReplyError(RLMError):
    """Raised when what a model or its server sent cannot be used as a reply.

    For example a page of HTML, nothing at all, a call of a tool that it was not given, or, after
    several tries, an answer of another form than the one that was asked for. The message says what
    was sent. Ask again, or ask another model.
    """


class ThreadBusyError(RLMError):
    """Raised when a thread is already running, in this process or in another.

    Wait until that invocation has ended, or use another thread.
    """


class ThreadTakenOverError(ThreadBusyError):
    """Raised when another process has taken over the thread that this run works on.

    This process was silent for longer than its lease lasts, for example because it was stopped or
    cut off from the database. It can neither save nor call a model for this run any more. Nothing
    is lost: the other process continues from what was saved.
    """


class ChildTaskError(RLMError, ValueError):
    """Raised when what asks to be run as a child RLM was not made by this deployment, or not for
    this thread.

    Nothing was stored. Where it is your own deployment's, give the parent and the worker the same
    `LANGGRAPH_RLM_CHILDREN_KEY`. It is a ValueError too, as `SettingsError` is.
    """


class ChildrenUnreachableError(RLMError, RuntimeError):
    """Raised when the engine that runs child RLMs elsewhere cannot be reached, or refuses.

    Children that run go on. Invoke the parent's thread again when the engine is back: it finds its
    children where they are, and asks none of them twice.
    """


class ResumeError(RLMError, ValueError):
    """Raised when an answer to a pause has the wrong form, or no pause waits for it.

    Nothing was stored: the pause is still open. Resume again with an answer of the form that the
    message tells.
    """

    def __init__(self, message: str, problem: str = "") -> None:
        super().__init__(message)
        self.problem = problem
        """What is wrong with the answer, without its schema, where the message has both."""


class AnsweredError(ResumeError):
    """Raised when a pause that is answered does not wait: it is over, or has an answer already.

    Nothing was stored. Look at the thread's open pauses; continue it with None as the input.
    """
