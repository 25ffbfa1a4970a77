"""Branches: the ends of a thread's history, and where each parts from the one that is traced."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from langgraph_rlm.history.run_tree import RLMTree
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.databases import StepRow
from langgraph_rlm.trace.records import Branch
from langgraph_rlm.trace.scope import known
from langgraph_rlm.trace.texts import Texts

MOST_BRANCHES = 50
"""Most branches that are told of, the newest: the log of each is read."""


async def branches_of(
    graph: Any, thread: str, steps: Iterable[StepRow], root: RLMTree, texts: Texts
) -> list[Branch]:
    """List the branches of a thread, oldest end first.

    Args:
        graph: reads the log of an end.
        thread: its id.
        steps: its checkpoints.
        root: the RLM that is traced, as of the branch that is traced.
        texts: takes long questions.
    """
    own = {"thread_id": thread, "checkpoint_ns": root.namespace}
    parents = {step.id: step.parent for step in steps if step.namespace == root.namespace}
    line = _line(parents, root.checkpoint)
    found: list[Branch] = []
    for end in sorted(parents.keys() - set(parents.values()))[-MOST_BRANCHES:]:
        if end == root.checkpoint:  # its log has been read, and may be large
            found.append(Branch(checkpoint=end, at=_epoch(root.updated), current=True))
            continue
        state = await graph.aget_state({"configurable": {**own, "checkpoint_id": end}})
        before = _line(parents, end)
        branch = Branch(checkpoint=end, at=_epoch(state.created_at), current=False)
        if root.checkpoint in before:  # it goes on from what is traced
            branch["current"] = True
        else:
            shared = next((step for step in before if step in line), None)
            branch.update(known(parted=shared, **_what_differs(state.values, root.log, texts)))
        found.append(branch)
    return found


def _epoch(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def _what_differs(values: Mapping[str, Any], log: Log, texts: Texts) -> dict[str, Any]:
    """Say where another branch differs, and what it was asked."""
    other: Log = values.get("log", {})
    questions = questions_of(other)
    question = texts.of(questions[-1]["question"]) if questions else None
    return {"place": _first_difference(log, other), "question": question}


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
