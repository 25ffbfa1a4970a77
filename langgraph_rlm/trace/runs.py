"""Runs: the invocations that worked on a thread, and how each of them ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from langgraph_rlm.history.run_tree import RLMTree
from langgraph_rlm.log.entries import Log, LogEntry
from langgraph_rlm.log.places import call_of
from langgraph_rlm.trace.records import RunSpan, State
from langgraph_rlm.trace.scope import time_of

Ended = Literal["finished", "paused", "killed", "running"]
HOW: dict[State, Ended] = {
    "done": "finished",
    "paused": "paused",
    "running": "running",
    "stopped": "killed",
}
"""How the newest invocation ended, by the state that the thread is in now."""


@dataclass
class _Span:
    first: float
    last: float
    asks: bool = False
    """It began with a new question to a root."""
    decided: bool = False
    """It brought the answer to a pause that another invocation had ended with."""


def runs_of(rlms: Iterable[RLMTree], state: State, thread: str) -> list[RunSpan]:
    """List the invocations of a thread, first to last; none where the logs do not name them.

    A child elsewhere has invocations of its own. Of its log it counts only that somebody decided,
    which the invocation of this thread brought that ended next.
    """
    spans: dict[str, _Span] = {}
    decided: list[float] = []
    for rlm in rlms:
        for place, entry in rlm.log.items():
            at = time_of(entry)
            if "run" not in entry or at is None:
                continue
            if rlm.thread == thread:
                _note(spans, entry["run"], at, place, entry, rlm)
            elif _is_decided_later(place, entry, rlm.log):
                decided.append(at)
    for at in decided:
        later = [span for span in spans.values() if span.last >= at]
        if later:
            min(later, key=lambda span: span.first).decided = True
    ordered = sorted(spans.items(), key=lambda each: each[1].first)
    ends: list[Ended] = [*(_how(span) for _, span in ordered[1:]), HOW[state]]
    runs: list[RunSpan] = []
    for (run, span), ended in zip(ordered, ends, strict=False):
        times: Any = {"from": span.first, "to": span.last}
        runs.append(RunSpan(run=run, ended=ended, **times))
    return runs


def _note(
    spans: dict[str, _Span], run: str, at: float, place: str, entry: LogEntry, rlm: RLMTree
) -> None:
    began = round(at - entry.get("seconds", 0.0), 3)
    span = spans.setdefault(run, _Span(began, at))
    span.first = min(span.first, began)
    span.last = max(span.last, at)
    span.asks |= entry["kind"] == "run" and rlm.depth == 0
    span.decided |= _is_decided_later(place, entry, rlm.log)


def _is_decided_later(place: str, entry: LogEntry, log: Log) -> bool:
    """Whether an entry is the answer to a pause, written by another invocation than the call."""
    if entry["kind"] != "reply" or "decision" not in entry:
        return False
    call = log.get(call_of(place))
    return call is not None and call.get("run") != entry.get("run")


def _how(after: _Span) -> Ended:
    """Say how an invocation ended, by what the one after it did."""
    if after.asks:
        return "finished"
    return "paused" if after.decided else "killed"
