"""Line display: a run as plain lines on stderr, for a pipe or a log file."""

import time
from typing import TYPE_CHECKING

from rich.console import Console

from langgraph_rlm.cli.display import Quiet
from langgraph_rlm.cli.display_text import (
    batch_key,
    clipped,
    cut,
    differing,
    indented,
    nudged,
    replayed,
    summary,
    waiting,
)
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import CellEnded, Event, SubCalls, TurnStarted

STEPS = 10
"""Lines written for one batch of sub-calls."""
BLOCK_LINES = 40
"""Most lines shown of a cell's code, or of what it printed."""


class LineDisplay(Quiet):
    """Plain lines, each with the seconds since the start. Children show only their turns."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._last_steps: dict[str, int] = {}

    def show(self, event: "Event") -> None:
        """Write a line for an event, or none."""
        if event["type"] == "turn":
            self._turn(event)
        elif event["type"] == "sub_calls":
            self._sub_calls(event)
        elif event["type"] == "waiting":
            self._line(waiting(event))
        elif event["depth"] > 0:
            return
        elif event["type"] == "replay":
            self._line(replayed(event))
        elif event["type"] == "nudge":
            self._line(nudged(event))
        elif event["type"] == "files_differ":
            self._line(differing(event))
        elif event["type"] == "code":
            self._line("code:", event["code"].strip("\n"))
        elif event["type"] == "output":
            self._output(event)

    def note(self, text: str) -> None:
        """Write one line."""
        self._line(text)

    def done(self, usage: "Usage") -> None:
        """Write one line."""
        self._line(summary(usage, time.monotonic() - self._start))

    def _turn(self, event: "TurnStarted") -> None:
        line = indented(f"turn {event['turn']} of {event['of']}", event["depth"])
        if event["depth"]:
            line += f" (child {event['trajectory'][:6]})"
        self._line(line)

    def _output(self, event: "CellEnded") -> None:
        if event["output"]:
            self._line(f"output ({event['outcome']}):", cut(event["output"]))
        else:
            self._line(event["outcome"])

    def _sub_calls(self, event: "SubCalls") -> None:
        """Write a line for each tenth of a batch."""
        key = batch_key(event)
        step = event["done"] * STEPS // event["total"]
        if self._last_steps.get(key) != step and event["total"] > 1:
            self._last_steps[key] = step
            line = f"{event['function']}: {event['done']} of {event['total']}"
            self._line(indented(line, event["depth"]))

    def _line(self, text: str, block: str = "") -> None:
        self._print(f"[{time.monotonic() - self._start:6.1f} s] {printable(text)}")
        if block.strip():
            lines = clipped(block, BLOCK_LINES).split("\n")
            self._print("\n".join(f"    {line}" for line in lines))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)
