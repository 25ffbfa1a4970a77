"""Live display: a run on a terminal, as it happens."""

import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.rule import Rule
from rich.spinner import Spinner
from rich.syntax import Syntax
from rich.text import Text

from langgraph_rlm.cli.display import Quiet
from langgraph_rlm.cli.display_text import (
    batch_key,
    clipped,
    counted,
    cut,
    differing,
    indented,
    nudged,
    printable,
    replayed,
    seconds,
    summary,
    tokens,
)

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import CellEnded, CodeWritten, Event, SubCalls, TurnStarted

MAX_BARS = 5


@dataclass
class Batch:
    """The sub-calls that one cell waits for."""

    done: int = 0
    total: int = 0
    start: float = field(default_factory=time.monotonic)


class LiveDisplay(Quiet):
    """Turns, code and outputs scroll by.

    Below them stay the bars of the sub-calls, and one line that says what happens now.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._turn = ""
        self._doing = "starting"
        self._usage: Usage | None = None
        self._batches: dict[str, Batch] = {}
        self._children: set[str] = set()
        self._bars: dict[str, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
        )
        self._spinner = Spinner("dots", style="cyan")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=10, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def show(self, event: "Event") -> None:
        """Show an event: as something that scrolls by, or as a change of what stays."""
        if event["type"] == "sub_calls":
            self._sub_calls(event)
        elif event["type"] == "usage":
            self.spent(event["usage"])
        elif event["depth"] > 0:
            self._child(event)
        elif event["type"] == "turn":
            self._start_turn(event)
        elif event["type"] == "replay":
            self._doing = replayed(event)
        elif event["type"] == "nudge":
            self.note(f"  {nudged(event)}")
        elif event["type"] == "files_differ":
            self.note(f"  {differing(event)}")
        elif event["type"] == "code":
            self._code(event)
        elif event["type"] == "output":
            self._output(event)

    def spent(self, usage: "Usage | None") -> None:
        """Take a usage unless an event was ahead of it: tokens never become fewer.

        The events of a batch come before the state that counts the batch.
        """
        if usage and (self._usage is None or usage["input_tokens"] >= self._usage["input_tokens"]):
            self._usage = usage

    def note(self, text: str) -> None:
        """Print one line that scrolls by."""
        self._console.print(Text(printable(text), style="dim"))

    def done(self, usage: "Usage") -> None:
        """Print one line that scrolls by."""
        text = summary(usage, time.monotonic() - self._start)
        if len(text) + 2 < self._console.width:
            self._console.print(Rule(text, align="left", style="cyan"))
        else:
            self._console.print(Text(text, style="cyan"))

    def _child(self, event: "Event") -> None:
        if event["type"] == "answer":
            self._children.discard(event["trajectory"])
        else:
            self._children.add(event["trajectory"])

    def _start_turn(self, event: "TurnStarted") -> None:
        self._turn = f"turn {event['turn']} of {event['of']}"
        self._doing = "the model writes"
        self._console.print(Rule(f"Turn {event['turn']}", align="left", style="cyan"))

    def _code(self, event: "CodeWritten") -> None:
        self._doing = "code runs"
        code = Syntax(
            printable(event["code"]).strip("\n"),
            "python",
            theme="ansi_dark",
            background_color="default",
            word_wrap=True,
        )
        self._console.print(Padding(code, (0, 0, 0, 2)))

    def _output(self, event: "CellEnded") -> None:
        self._doing = "code ran"
        style = "dim"
        if event["outcome"] != "ok":
            style = "red"
            self._console.print(Text(f"  {event['outcome']}", style="bold red"))
        if event["output"].strip():
            self._console.print(Text(self._block(event["output"]), style=style))

    def _block(self, output: str) -> str:
        """Give the first lines of an output as the screen wraps them, each after a bar."""
        text = Text(printable(cut(output)).rstrip().expandtabs())
        wrapped = text.wrap(self._console, max(20, self._console.width - 4))
        lines = "\n".join(line.plain.rstrip() for line in wrapped)
        return "\n".join(f"  | {line}" for line in clipped(lines).split("\n"))

    def _sub_calls(self, event: "SubCalls") -> None:
        key = batch_key(event)
        batch = self._batches.setdefault(key, Batch())
        batch.done = event["done"]
        batch.total = event["total"]
        self._doing = "sub-models answer"
        if batch.total > 1:
            self._bar(key, batch, indented(event["function"], event["depth"]), event["depth"])

    def _bar(self, key: str, batch: Batch, name: str, depth: int) -> None:
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(name, total=batch.total)
        self._progress.update(self._bars[key], completed=batch.done)
        if batch.done >= batch.total:
            self._progress.remove_task(self._bars.pop(key))
            if depth == 0:
                took = seconds(time.monotonic() - batch.start)
                self.note(f"  {name}: {batch.done:,} of {batch.total:,} answered in {took}")

    def _render(self) -> RenderableType:
        status = Text(self._status())
        status.truncate(max(10, self._console.width - 3), overflow="ellipsis")
        self._spinner.update(text=status)
        bars = self._progress.tasks[:MAX_BARS]
        if not bars:
            return self._spinner
        return Group(self._progress.make_tasks_table(bars), self._spinner)

    def _status(self) -> str:
        calls = sum(batch.done for batch in self._batches.values())
        parts = [self._turn, self._doing]
        if self._children:
            parts.append(f"{counted(len(self._children), 'child RLM')} at work")
        if calls:
            parts.append(counted(calls, "sub-call"))
        if self._usage:
            parts.append(tokens(self._usage))
        parts.append(seconds(time.monotonic() - self._start))
        return " · ".join(part for part in parts if part)
