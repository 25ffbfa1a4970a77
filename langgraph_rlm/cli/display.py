"""Display: a run as it happens, from its progress events. Live on a terminal, plain lines when piped, nothing for machines.

Never writes to stdout: that is for answers.
"""

import re
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
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

from langgraph_rlm.progress import OUTPUT_CHARS

if TYPE_CHECKING:
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import CellEnded, CodeWritten, Event, Nudged, SubCalls, TurnStarted
    from langgraph_rlm.storage.context import ContextHandle

OUTPUT_LINES = 12
"""Most lines shown of what a cell printed."""
MAX_BARS = 5
MAX_LEFT_OUT = 10
"""Most names shown of what a folder has and was not read."""
WRONG = {
    "empty": "an empty reply",
    "prose": "a reply without code or answer",
    "unclosed_fence": "a code block that is not closed",
    "untagged_fence": "code that is not tagged as such",
}
STEPS = 10
"""Lines written for one batch of sub-calls when piped."""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

MARKDOWN = re.compile(r"^(#{1,6} |```|[-*+] |\d+\. |\|)|\*\*\S", re.MULTILINE)


class Display(Protocol):
    """Shows one run."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def show(self, event: "Event") -> None:
        """Take one progress event."""
        ...

    def spent(self, usage: "Usage | None") -> None:
        """Take what this question has spent so far."""
        ...

    def note(self, text: str) -> None:
        """Show one line."""
        ...

    def done(self, usage: "Usage") -> None:
        """Show what the run has spent in all."""
        ...


def open_display(*, quiet: bool = False, live: bool = False) -> Display:
    """The display for where stderr goes.

    Args:
        quiet: show nothing at all.
        live: whether stdout is a terminal; stderr must be one too for a live display.
    """
    if quiet:
        return Quiet()
    console = Console(stderr=True, highlight=False)
    return (
        LiveDisplay(console)
        if live and console.is_terminal and not console.is_dumb_terminal
        else LineDisplay(Console(stderr=True, width=10_000))
    )


def printable(text: str) -> str:
    """Text of a model or a file without what could steer a terminal, or cannot be encoded."""
    return CONTROL.sub("\ufffd", text.replace("\r\n", "\n")).encode("utf-8", "replace").decode()


def clipped(text: str, lines: int = OUTPUT_LINES) -> str:
    """The first lines of an output, and how many there are more."""
    all_lines = printable(text).rstrip().split("\n")
    more = [f"... {len(all_lines) - lines} more lines"] if len(all_lines) > lines + 1 else []
    return "\n".join((all_lines[:lines] if more else all_lines) + more)


def cut(output: str) -> str:
    """An event's output, with a sign where the event has its start alone."""
    return f"{output}..." if len(output) >= OUTPUT_CHARS else output


def seconds(elapsed: float) -> str:
    """A duration for people."""
    return f"{elapsed:.1f} s" if elapsed < 60 else f"{int(elapsed // 60)} min {int(elapsed % 60)} s"


def tokens(usage: "Usage") -> str:
    """Tokens for people."""
    return f"{usage['input_tokens']:,} tokens in, {usage['output_tokens']:,} out"


def nudged(event: "Nudged") -> str:
    """What was wrong with a reply."""
    return f"{WRONG[event['problem']]}: the model is told so"


def counted(number: int, noun: str) -> str:
    """`1 turn`, `2 turns`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def about(context: "ContextHandle") -> list[str]:
    """What was read for a question; of a folder also what was not."""
    files = f"{counted(context.items or 0, 'file')}, " if context.kind == "files" else ""
    skipped = list(context.skipped[:MAX_LEFT_OUT]) + ["and others"] * (
        len(context.skipped) > MAX_LEFT_OUT
    )
    return [
        f"Context: {files}{context.length:,} characters",
        *([f"Left out: {', '.join(skipped)}"] if skipped else []),
    ]


def summary(usage: "Usage", elapsed: float) -> str:
    """What a question took, on one line."""
    cost = [f"${usage['cost']:.4f}"] if usage["cost"] else []
    return ", ".join(
        [
            counted(usage["turns"], "turn"),
            counted(usage["sub_calls"], "sub-call"),
            tokens(usage),
            *cost,
            seconds(elapsed),
        ]
    )


def print_answer(answer: str) -> None:
    """Print an answer on the terminal; as Markdown where it is written so."""
    text = printable(answer)
    Console().print(Markdown(text) if MARKDOWN.search(text) else Text(text, style="bold"))


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, event: "Event") -> None:
        """Nothing."""

    def spent(self, usage: "Usage | None") -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def done(self, usage: "Usage") -> None:
        """Nothing."""


class LineDisplay(Quiet):
    """Plain lines, each with the seconds since the start. Of children only their turns."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._last: dict[str, int] = {}

    def show(self, event: "Event") -> None:
        """One event: a line, or none."""
        if event["type"] == "turn":
            self._line(
                f"{'  ' * event['depth']}turn {event['turn']} of {event['of']}{_whose(event)}"
            )
        elif event["type"] == "sub_calls":
            self._sub_calls(event)
        elif event["depth"] == 0 and event["type"] == "nudge":
            self._line(nudged(event))
        elif event["depth"] == 0 and event["type"] == "code":
            self._line("code:", event["code"].strip("\n"))
        elif event["depth"] == 0 and event["type"] == "output":
            self._line(
                f"output ({event['outcome']}):" if event["output"] else event["outcome"],
                cut(event["output"]),
            )

    def note(self, text: str) -> None:
        """One line."""
        self._line(text)

    def done(self, usage: "Usage") -> None:
        """One line."""
        self._line(summary(usage, time.monotonic() - self._start))

    def _sub_calls(self, event: "SubCalls") -> None:
        """A line for each tenth of a batch."""
        key, step = (
            f"{event['trajectory']} {event['place']}",
            event["done"] * STEPS // event["total"],
        )
        if self._last.get(key) != step and event["total"] > 1:
            self._last[key] = step
            self._line(
                f"{'  ' * event['depth']}{event['function']}: {event['done']} of {event['total']}"
            )

    def _line(self, text: str, block: str = "") -> None:
        self._print(f"[{time.monotonic() - self._start:6.1f} s] {printable(text)}")
        if block.strip():
            self._print("\n".join(f"    {line}" for line in clipped(block, lines=40).split("\n")))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)


def _whose(event: "TurnStarted") -> str:
    return f" (child {event['trajectory'][:6]})" if event["depth"] else ""


@dataclass
class Batch:
    """Sub-calls that one cell waits for."""

    done: int = 0
    total: int = 0
    start: float = field(default_factory=time.monotonic)


class LiveDisplay(Quiet):
    """Turns, code and outputs scroll by; below them stay bars over the sub-calls, and one line of what is going on."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._turn, self._doing = "", "starting"
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
        """One event: something that scrolls by, or a change of what stays."""
        if event["type"] == "sub_calls":
            self._sub_calls(event)
        elif event["type"] == "usage":
            self.spent(event["usage"])
        elif event["depth"] > 0:
            (self._children.discard if event["type"] == "answer" else self._children.add)(
                event["trajectory"]
            )
        elif event["type"] == "turn":
            self._start_turn(event)
        elif event["type"] == "nudge":
            self.note(f"  {nudged(event)}")
        elif event["type"] == "code":
            self._code(event)
        elif event["type"] == "output":
            self._output(event)

    def spent(self, usage: "Usage | None") -> None:
        """Tokens never go back: the events of a batch are ahead of the state."""
        if usage and (self._usage is None or usage["input_tokens"] >= self._usage["input_tokens"]):
            self._usage = usage

    def note(self, text: str) -> None:
        """One line that scrolls by."""
        self._console.print(Text(printable(text), style="dim"))

    def done(self, usage: "Usage") -> None:
        """One line that scrolls by."""
        text = summary(usage, time.monotonic() - self._start)
        fits = len(text) + 2 < self._console.width
        self._console.print(
            Rule(text, align="left", style="cyan") if fits else Text(text, style="cyan")
        )

    def _start_turn(self, event: "TurnStarted") -> None:
        self._turn, self._doing = f"turn {event['turn']} of {event['of']}", "the model writes"
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
        good = event["outcome"] == "ok"
        if not good:
            self._console.print(Text(f"  {event['outcome']}", style="bold red"))
        if event["output"].strip():
            self._console.print(Text(self._block(event["output"]), style="dim" if good else "red"))

    def _block(self, output: str) -> str:
        """The first lines of an output as the screen wraps them, each behind a bar."""
        text = Text(printable(cut(output)).rstrip().expandtabs())
        wrapped = [
            line.plain.rstrip()
            for line in text.wrap(self._console, max(20, self._console.width - 4))
        ]
        return "\n".join(f"  | {line}" for line in clipped("\n".join(wrapped)).split("\n"))

    def _sub_calls(self, event: "SubCalls") -> None:
        key = f"{event['trajectory']} {event['place']}"
        batch = self._batches.setdefault(key, Batch())
        batch.done, batch.total = event["done"], event["total"]
        self._doing = "sub-models answer"
        if batch.total > 1:
            self._bar(key, batch, f"{'  ' * event['depth']}{event['function']}", event["depth"])

    def _bar(self, key: str, batch: Batch, name: str, depth: int) -> None:
        if key not in self._bars:
            self._bars[key] = self._progress.add_task(name, total=batch.total)
        self._progress.update(self._bars[key], completed=batch.done)
        if batch.done >= batch.total:
            self._progress.remove_task(self._bars.pop(key))
            if depth == 0:
                self.note(
                    f"  {name}: {batch.done:,} of {batch.total:,} answered in {seconds(time.monotonic() - batch.start)}"
                )

    def _render(self) -> RenderableType:
        status = Text(self._status())
        status.truncate(max(10, self._console.width - 3), overflow="ellipsis")
        self._spinner.update(text=status)
        bars = self._progress.tasks[:MAX_BARS]
        return (
            Group(self._progress.make_tasks_table(bars), self._spinner) if bars else self._spinner
        )

    def _status(self) -> str:
        calls = sum(batch.done for batch in self._batches.values())
        children = counted(len(self._children), "child RLM") + " at work" if self._children else ""
        parts = [
            self._turn,
            self._doing,
            children,
            counted(calls, "sub-call") if calls else "",
            tokens(self._usage) if self._usage else "",
        ]
        return " · ".join(
            part for part in [*parts, seconds(time.monotonic() - self._start)] if part
        )
