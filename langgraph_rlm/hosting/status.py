"""Status: how a thread stands, by its newest checkpoint, as plain values. Runs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from langgraph_rlm.budget.usage import Usage, spent
from langgraph_rlm.hosting.pauses import Pause, pauses_of
from langgraph_rlm.state import Coverage

State = Literal["none", "done", "waiting", "open"]


@dataclass(frozen=True)
class Status:
    """How one thread stands."""

    thread: str
    state: State
    """`none`: there is no such thread. `done`: it has the answer to its last question. `waiting`:
    calls wait for a person. `open`: unfinished, and running or stopped."""
    answer: str = ""
    stop_reason: str = ""
    """Empty while there is no answer."""
    structured: Any = None
    usage: Usage = field(default_factory=spent)
    coverage: Coverage | None = None
    files: Sequence[Mapping[str, Any]] = ()
    """What code gave back: name, type, size and digest."""
    pauses: Sequence[Pause] = ()


async def status_of(graph: Any, thread: str) -> Status:
    """Read how a thread stands.

    Args:
        graph: an RLM with a checkpointer, or a graph with RLMs as nodes, whose last message is its
            answer.
        thread: its id.
    """
    config: Any = {"configurable": {"thread_id": thread}}
    state = await graph.aget_state(config)
    values: Mapping[str, Any] = state.values
    if not values and not state.tasks:
        return Status(thread, "none")
    usage = values.get("usage") or spent()
    if state.tasks or state.next:
        pauses = await pauses_of(graph, config)
        return Status(thread, "waiting" if pauses else "open", usage=usage, pauses=pauses)
    return answered(thread, values)


def answered(thread: str, values: Mapping[str, Any]) -> Status:
    """Give how a thread stands whose last question has its answer.

    Args:
        thread: its id.
        values: what its graph gave: an RLM, or another graph, whose last message is the answer.
    """
    return Status(
        thread,
        "done",
        answer=_answer(values),
        stop_reason=values.get("stop_reason") or "answered",
        structured=values.get("structured_response"),
        usage=values.get("usage") or spent(),
        coverage=values.get("coverage"),
        files=values.get("files") or (),
    )


def _answer(values: Mapping[str, Any]) -> str:
    """Give the answer of an RLM, or the last message of another graph."""
    answer = values.get("answer")
    messages: Any = values.get("messages")
    if answer is None and messages:
        answer = messages[-1].text
    return "" if answer is None else str(answer)
