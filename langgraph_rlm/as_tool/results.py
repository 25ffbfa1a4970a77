"""Results: what an agent gets of a run: a text for its model, and an artifact for programs."""

from collections.abc import Mapping
from typing import Any, NotRequired

from typing_extensions import TypedDict

from langgraph_rlm.as_tool.runs import Outcome
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.text import clip
from langgraph_rlm.state import Coverage
from langgraph_rlm.storage.out_files import GivenFile

ANSWER_CHARS = 40_000
"""Most characters of an answer that an agent's model is shown."""

SHOWN_FILES = 20
"""Most names of files that an agent's model is shown."""


class Artifact(TypedDict):
    """The artifact of the tool's message: plain values."""

    stop_reason: str
    """`answered`, or the name of the limit that ended the run."""
    usage: Usage
    """What the run has spent."""
    coverage: Coverage | None
    """What of the contexts was covered; None where none has text."""
    files: list[GivenFile]
    """What the code gave back; `save_files` saves them."""
    structured_response: Any
    """The answer as plain JSON values, where it has a form; else None."""
    thread: NotRequired[str]
    """By which a later call of the same agent continues with the contexts of this one."""


def artifact_of(outcome: Outcome) -> Artifact:
    """Give what programs read of a run."""
    values = outcome.values
    artifact = Artifact(
        stop_reason=values["stop_reason"],
        usage=values["usage"],
        coverage=values.get("coverage"),
        files=values.get("files") or [],
        structured_response=values.get("structured_response"),
    )
    if outcome.thread is not None:
        artifact["thread"] = outcome.thread
    return artifact


def content_of(outcome: Outcome, *, shows_thread: bool) -> str:
    """Give what the agent's model reads of a run: the answer, and what it must know of it.

    Args:
        outcome: of the run.
        shows_thread: whether a later call may continue it.
    """
    values = outcome.values
    lines = [clip(values["answer"], limit=ANSWER_CHARS)]
    if values["stop_reason"] != "answered":
        lines.append(_stopped(values))
    if files := values.get("files"):
        lines.append(f"[Files: {_names(files)}]")
    if shows_thread and outcome.thread is not None:
        lines.append(f"[thread: {outcome.thread}]")
    return "\n\n".join(line for line in lines if line)


def _stopped(values: Mapping[str, Any]) -> str:
    """Say that the answer is of a run that a limit ended, and of how much of the contexts it is."""
    text = f"[The limit {values['stop_reason']} ended this work: the answer is the best so far"
    coverage: Coverage | None = values.get("coverage")
    if coverage is not None and coverage["seen"] is not None:
        text += f", of {coverage['seen']:.0%} of the text"
    return f"{text}.]"


def _names(files: list[GivenFile]) -> str:
    shown = [repr(file["name"]) for file in files[:SHOWN_FILES]]
    more = len(files) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
