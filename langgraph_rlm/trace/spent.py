"""Spent: what a tree had spent at any time, from the times and costs in its logs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from langgraph_rlm.budget.usage import Share, sub_calls_made, whole
from langgraph_rlm.history.run_tree import RLMTree
from langgraph_rlm.trace.records import SpentRecord

MOST_POINTS = 2_000
"""Most points of the series: more than a chart has columns. Those between are left out, not the
sums, which run on."""


@dataclass(frozen=True)
class _Step:
    at: float
    cost: float
    tokens: int
    sub_calls: int


def spent_record(rlms: Iterable[RLMTree]) -> SpentRecord | None:
    """Add up what RLMs have spent, by time.

    Returns:
        None where the logs have no times.
    """
    steps = sorted((step for rlm in rlms for step in _steps(rlm)), key=lambda step: step.at)
    if not steps:
        return None
    record = SpentRecord(type="spent", id="spent", at=[], cost=[], tokens=[], sub_calls=[])
    every = -(-len(steps) // MOST_POINTS)
    cost, tokens, sub_calls = 0.0, 0, 0
    for number, step in enumerate(steps, 1):
        cost += step.cost
        tokens += step.tokens
        sub_calls += step.sub_calls
        if number % every == 0 or number == len(steps):
            record["at"].append(step.at)
            record["cost"].append(round(cost, 9))
            record["tokens"].append(tokens)
            record["sub_calls"].append(sub_calls)
    return record


def _steps(rlm: RLMTree) -> Iterator[_Step]:
    """Give what each entry of an RLM's log has spent.

    The answer of a child counts as one call here: what the child has spent is in its own log. Only
    where that is not there any more, the answer stands for it.
    """
    for place, entry in rlm.log.items():
        if entry["kind"] not in ("turn", "reply", "compaction"):
            continue
        at, usage = entry.get("at"), entry.get("usage")
        if at is not None and usage is not None:
            yield _step(at, usage, is_counted=place not in rlm.children)


def _step(at: float, usage: Share, *, is_counted: bool) -> _Step:
    spent = whole(usage)
    if not is_counted:
        return _Step(at, 0.0, 0, 1)
    tokens = spent["input_tokens"] + spent["output_tokens"]
    return _Step(at, spent["cost"], tokens, sub_calls_made(spent))
