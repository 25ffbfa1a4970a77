"""Branches: the ends of a thread's history, and where each parts from the one that is traced."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.databases import StepRow
from langgraph_rlm.trace.records import Branch
from langgraph_rlm.trace.scope import known
from langgraph_rlm.trace.texts import Texts

MOST_BRANCHES = 50
"""Most branches that are told of, the newest: the log of each is read."""


async def branches_of(
    graph: Any,
    own: Mapping[str, Any],
    steps: Iterable[StepRow],
    current: str,
    log: Log,
    texts: Texts,
) -> list[Branch]:
    """List the branches of a namespace, oldest end first.

    Args:
        graph: reads the log of an end.
        own: `thread_id` and `checkpoint_ns`.
        steps: the checkpoints of the thread.
        current: the end of the branch that is traced.
        log: its log.
        texts: takes long questions.
    """
    parents = {step.id: step.parent for step in steps if step.namespace == own["checkpoint_ns"]}
    line = _line(parents, current)
    ends = sorted(parents.keys() - set(parents.values()))
    found: list[Branch] = []
    for end in ends[-MOST_BRANCHES:]:
        state = await graph.aget_state({"configurable": {**own, "checkpoint_id": end}})
        branch = Branch(
            checkpoint=end,
            at=datetime.fromisoformat(state.created_at).timestamp(),
            # the traced checkpoint may be in the middle of a branch
            current=current in _line(parents, end),
        )
        if not branch["current"]:
            other: Log = state.values.get("log", {})
            shared = next((step for step in _line(parents, end) if step in line), None)
            questions = questions_of(other)
            question = texts.of(questions[-1]["question"]) if questions else None
            place = _first_difference(log, other)
            branch.update(known(parted=shared, place=place, question=question))
        found.append(branch)
    return found


def _line(parents: Mapping[str, str | None], end: str) -> dict[str, None]:
    """Give the checkpoints from an end back to the first one, in that order."""
    line: dict[str, None] = {}
    at: str | None = end
    while at is not None and at in parents and at not in line:
        line[at] = None
        at = parents[at]
    return line


def _first_difference(log: Log, other: Log) -> str | None:
    """Name the first place, in the order of writing, at which another log is not this one."""
    for place, entry in other.items():
        if log.get(place) != entry:
            return place
    return next((place for place in log if place not in other), None)
