"""Summary: a trace in a few lines of text, for where no page can be shown."""

from collections import Counter
from typing import Any

from langgraph_rlm.storage.context import encodable
from langgraph_rlm.trace.reading import Trace
from langgraph_rlm.trace.records import Shown, State

ANSWER_CHARS = 2_000
CODE_LINES = 12

STATES: dict[State, str] = {
    "done": "Done",
    "paused": "Waits for an answer",
    "running": "Works",
    "stopped": "Was cut off, and can be continued",
}


def summary_of(trace: Trace) -> str:
    """Say what a thread has come to: its state, what it took, its newest question and answer."""
    head = trace.head
    asked = [record for record in trace.records if record["type"] == "question"]
    own = [record for record in asked if record["rlm"] == head["root"]]
    lines = [f"Thread {head['thread']}: {STATES[head['state']]}. {_counts(trace)}"]
    if own:
        lines.append(f"Question: {_text(own[-1]['question'])}")
    if "answer" in head:
        lines.append(f"Answer: {_text(head['answer'])}")
    lines += [
        f"Pause {record['interrupt']}: {record.get('tool', record['kind'])}"
        for record in trace.records
        if record["type"] == "pause"
    ]
    return "\n".join(lines)


def progress_of(trace: Trace) -> str:
    """Say how far a thread is: what it took so far, and the code that runs now."""
    lines = [f"{STATES[trace.head['state']]}. {_counts(trace)}"]
    cells = [record for record in trace.records if record["type"] == "cell"]
    now = next((cell for cell in cells if cell["state"] == "open"), None)
    if now is not None:
        lines += ["", *_text(now["code"]).strip().splitlines()[:CODE_LINES]]
    return "\n".join(lines)


def _counts(trace: Trace) -> str:
    """Count turns and sub-calls, over the whole tree."""
    replies: list[Any] = [
        record for record in trace.records if record["type"] == "reply" and "prompt" in record
    ]
    states = Counter(reply["state"] for reply in replies)
    turns = sum(1 for record in trace.records if record["type"] == "turn")
    done = states["answered"] + states["failed"]
    told = [f"{turns:,} turn{'s' * (turns != 1)}", f"{done:,} of {len(replies):,} sub-calls"]
    spent = trace.records[-1]
    if spent["type"] == "spent":
        told.append(f"{spent['tokens'][-1]:,} tokens")
        if spent["cost"][-1]:
            told.append(f"${spent['cost'][-1]:.4f}")
    return ", ".join(told)


def _text(shown: Shown) -> str:
    if isinstance(shown, str):
        return encodable(shown[:ANSWER_CHARS])
    return encodable(f"{shown['start']} [...]")
