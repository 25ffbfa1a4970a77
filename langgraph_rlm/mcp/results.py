"""Results: what the tools give, as values with a schema, and as text for a model."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.hosting.pauses import Pause
from langgraph_rlm.hosting.status import Status
from langgraph_rlm.state import Coverage
from langgraph_rlm.storage.context import ContextHandle

ANSWER_CHARS = 100_000
"""Most characters of an answer that is given."""
MOST_NAMED = 100
"""Most contexts, and most files, that a result names."""


class Covered(BaseModel):
    """How much of the contexts the answer rests on."""

    seen: float | None = Field(description="Share of the contexts' bytes that models have read")
    bytes: int
    code_read_all: bool = Field(description="Code went through a whole context")


class Spent(BaseModel):
    """What the thread has cost so far."""

    input_tokens: int
    output_tokens: int
    cost: float = Field(description="US dollars of the calls whose price is known")
    unpriced_calls: int
    turns: int
    sub_calls: int
    seconds: float


class Given(BaseModel):
    """A file that the code made."""

    name: str
    type: str
    bytes: int


class Read(BaseModel):
    """A context that `read` and `search` take."""

    name: str
    kind: str
    length: int = Field(description="Characters")
    source: str | None = None


class Waiting(BaseModel):
    """A call that waits for a person."""

    id: str
    tool: str
    arguments: Any
    decisions: list[str]
    about: str = ""


class Outcome(BaseModel):
    """How a question stands."""

    state: Literal["done", "waiting", "running", "stopped"]
    thread: str
    answer: str | None = None
    structured: Any = None
    stop_reason: str | None = Field(
        default=None, description="answered, or the limit that ended it with the best answer so far"
    )
    coverage: Covered | None = None
    usage: Spent
    files: list[Given] = []
    contexts: list[Read] = []
    pauses: list[Waiting] = []
    next: str = Field(default="", description="What to do now")


class Excerpt(BaseModel):
    """A part of a context."""

    text: str
    start: int
    end: int
    length: int = Field(description="Characters of the whole context")


class Match(BaseModel):
    """A line in which something was found."""

    text: str
    line: int
    start: int
    end: int
    path: str | None = None


class Found(BaseModel):
    """What a search has found."""

    matches: list[Match]
    total: int = Field(description="All matches from `start` on")


NEXT: Mapping[str, str] = {
    "done": "",
    "running": "Still working: call status with this thread.",
    "stopped": "The run has stopped before its end: call resume with this thread to continue it.",
    "waiting": "Calls wait for a person, who answers on the page of `langgraph-rlm ui` or with "
    "`langgraph-rlm resume THREAD`. Then call resume with this thread.",
}
"""What a client does in each state."""


def outcome_of(
    status: Status, *, is_running: bool, contexts: Mapping[str, ContextHandle]
) -> Outcome:
    """Make the result of a thread.

    Args:
        status: how the thread stands in the database.
        is_running: whether a process runs it.
        contexts: its contexts by name.
    """
    state: Any = status.state
    if is_running:
        state = "running"
    elif state == "open":
        state = "stopped"
    outcome = Outcome(
        state=state,
        thread=status.thread,
        usage=_spent(status.usage),
        contexts=_read(contexts),
        next=NEXT[state],
    )
    if state == "waiting":
        outcome.pauses = [each for pause in status.pauses for each in _waiting(pause)]
    if state == "done":
        outcome.answer = _cut(status.answer, status.thread)
        outcome.structured = status.structured
        outcome.stop_reason = status.stop_reason
        outcome.coverage = _covered(status.coverage)
        outcome.files = _given(status.files)
    return outcome


def text_of(outcome: Outcome) -> str:
    """Write a result as a model reads it."""
    lines = [outcome.answer] if outcome.answer is not None else []
    lines += [_asked(waiting) for waiting in outcome.pauses]
    lines += [outcome.next] if outcome.next else []
    return "\n\n".join([*lines, f"[{'; '.join(_facts(outcome))}]"])


def _facts(outcome: Outcome) -> list[str]:
    facts = [outcome.state, f"thread {outcome.thread}"]
    if outcome.stop_reason not in (None, "answered"):
        facts.append(f"ended by its limit {outcome.stop_reason}, with the best answer so far")
    covered, spent = outcome.coverage, outcome.usage
    if covered is not None and covered.seen is not None:
        facts.append(f"models have read {covered.seen:.0%} of {covered.bytes:,} bytes")
    if covered is not None and covered.code_read_all:
        facts.append("code has gone through all of a context")
    facts.append(f"{spent.input_tokens:,} tokens in, {spent.output_tokens:,} out")
    facts.append(f"${spent.cost:.4f}" if not spent.unpriced_calls else "price not known")
    if outcome.files:
        facts.append(f"files: {', '.join(file.name for file in outcome.files)}")
    return facts


def _asked(waiting: Waiting) -> str:
    return f"Waits: {waiting.tool}, under the id {waiting.id}"


def _cut(answer: str, thread: str) -> str:
    if len(answer) <= ANSWER_CHARS:
        return answer
    more = len(answer) - ANSWER_CHARS
    return (
        f"{answer[:ANSWER_CHARS]}\n[{more:,} more characters: langgraph-rlm resume {thread} "
        "prints all of it]"
    )


def _spent(usage: Usage) -> Spent:
    return Spent(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cost=usage["cost"],
        unpriced_calls=usage["unpriced_calls"],
        turns=usage["turns"],
        sub_calls=usage["sub_calls"],
        seconds=round(usage["seconds"], 3),
    )


def _covered(coverage: Coverage | None) -> Covered | None:
    if coverage is None:
        return None
    return Covered(seen=coverage["seen"], bytes=coverage["size"], code_read_all=coverage["whole"])


def _given(files: Sequence[Mapping[str, Any]]) -> list[Given]:
    return [
        Given(name=file["name"], type=file["type"], bytes=file["size"])
        for file in files[:MOST_NAMED]
    ]


def _read(contexts: Mapping[str, ContextHandle]) -> list[Read]:
    names = {handle: name for name, handle in contexts.items() if name != "context"}
    return [
        Read(name=name, kind=handle.kind, length=handle.length, source=handle.source)
        for handle, name in [*names.items()][-MOST_NAMED:]
    ]


def _waiting(pause: Pause) -> list[Waiting]:
    if not pause.actions:
        about = "It asks for an answer that fits its schema."
        return [Waiting(id=pause.id, tool="", arguments=pause.value, decisions=[], about=about)]
    return [
        Waiting(
            id=pause.id,
            tool=action.tool,
            arguments=action.arguments,
            decisions=[] if pause.kind == "external" else [*action.allowed],
            about=_about(pause, action.description),
        )
        for action in pause.actions
    ]


def _about(pause: Pause, description: str) -> str:
    if pause.is_doubtful:
        return f"This call was cut off, and may have run already. {description}".rstrip()
    return description
