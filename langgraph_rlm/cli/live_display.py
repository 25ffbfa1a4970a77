"""Live display: a run on a terminal, as it happens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Event as Flag
from threading import RLock, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, ConsoleRenderable, Group, RenderableType
from rich.control import Control
from rich.live import Live
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import ControlType
from rich.syntax import Syntax
from rich.text import Text

from langgraph_rlm.cli.display import Quiet
from langgraph_rlm.cli.display_text import (
    clipped,
    cut,
    differing,
    nudged,
    seconds,
    summary,
    waiting,
)
from langgraph_rlm.cli.run_tree_view import RunTreeView
from langgraph_rlm.cli.status_lines import StatusLines, signs_of
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.budget.limits import Limits
    from langgraph_rlm.budget.usage import Usage
    from langgraph_rlm.progress import CellEnded, CodeWritten, Event, TurnStarted

DRAWN_EVERY = 0.1
"""Seconds."""
CODE_LINES = 60
"""Most lines shown of a cell's code."""
LINE_CHARS = 1_000
"""Most characters shown of one line of code: to colour a very long one takes seconds."""


@dataclass(frozen=True)
class _Drawn:
    """What stands on the screen."""

    columns: Sequence[int]
    """Of each line."""
    width: int
    """Columns that the screen had."""

    def wrapped_at(self, width: int) -> int:
        """Count the rows that its lines take beyond one each on a narrower screen."""
        if not 0 < width < self.width:
            return 0
        return sum((columns - 1) // width for columns in self.columns if columns)


class ResizedLive(Live):
    """A live area that stays clean when the terminal gets narrower.

    The terminal then wraps the lines that stand there, so that more rows have to be cleared than
    were written.

    It has a thread of its own to draw it anew, instead of rich's: between rich's look at how many
    rows stand there and the drawing, what another thread prints would leave a row behind.
    """

    def __init__(self, lines: Callable[[], Sequence[Text]], console: Console) -> None:
        """Describe an area of lines that are asked for again and again."""
        self._lines = lines
        self._drawing = RLock()
        self._is_over = Flag()
        self._drawer = Thread(target=self._draw_again, daemon=True)
        self._made = _Drawn((), 0)
        self._drawn = self._made
        super().__init__(
            console=console, get_renderable=self._render, auto_refresh=False, transient=True
        )

    def start(self, refresh: bool = False) -> None:
        """Draw the area, and keep it new."""
        super().start(refresh)
        self._drawer.start()

    def stop(self) -> None:
        """Clear the area."""
        self._is_over.set()
        self._drawer.join()
        super().stop()

    def show(self, shown: RenderableType) -> None:
        """Print something that scrolls by above the area."""
        with self._drawing:
            self.console.print(shown)

    def _draw_again(self) -> None:
        while not self._is_over.wait(DRAWN_EVERY):
            with self._drawing:
                self.refresh()

    def _render(self) -> RenderableType:
        lines = self._lines()
        self._made = _Drawn([line.cell_len for line in lines], self.console.width)
        return Group(*lines)

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Put the clearing of wrapped rows ahead of what is drawn."""
        wrapped = self._drawn.wrapped_at(self.console.width)
        found = super().process_renderables(renderables)
        self._drawn = self._made
        if not wrapped:
            return found
        up = (ControlType.CURSOR_UP, 1)
        clear = (ControlType.ERASE_IN_LINE, 2)
        return [Control(ControlType.CARRIAGE_RETURN, clear, *([up, clear] * wrapped)), *found]


class LiveDisplay(Quiet):
    """Turns, code and outputs scroll by.

    Below them stay the tree of RLMs at work, the bars of their sub-calls, and what is spent.
    """

    def __init__(self, console: Console, limits: "Limits | None" = None) -> None:
        self._console = console
        self._usage: Usage | None = None
        self._tree = RunTreeView()
        self._status = StatusLines(self._tree, limits, signs_of(console.encoding))
        self._live = ResizedLive(self._lines, console)

    def __enter__(self) -> Self:
        """Start; after a question to a person it starts again, with what it knows."""
        self._live = ResizedLive(self._lines, self._console)
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
        ended = self._tree.take(event)
        if ended is not None and ended.depth == 0 and ended.total > 1:
            answered = f"{ended.done:,} of {ended.total:,} answered in {seconds(ended.elapsed)}"
            self.note(f"  {ended.function}: {answered}")
        if event["type"] == "usage":
            self.spent(event["usage"])
        elif event["type"] == "waiting":
            self.note(f"  {waiting(event)}")
        elif event["depth"] > 0:
            return
        elif event["type"] == "turn":
            self._turn(event)
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
        self._live.show(Text(printable(text), style="dim"))

    def done(self, usage: "Usage") -> None:
        """Print one line that scrolls by."""
        text = summary(usage, self._status.elapsed)
        if len(text) + 2 < self._console.width:
            self._live.show(self._rule(text))
        else:
            self._live.show(Text(text, style="cyan"))

    def _rule(self, text: str) -> Rule:
        signs = signs_of(self._console.encoding)
        return Rule(text, align="left", style="cyan", characters=signs.rest)

    def _turn(self, event: "TurnStarted") -> None:
        self._live.show(self._rule(f"Turn {event['turn']}"))

    def _code(self, event: "CodeWritten") -> None:
        lines = clipped(event["code"].strip("\n"), CODE_LINES).split("\n")
        code = Syntax(
            "\n".join(_start_of(line) for line in lines),
            "python",
            theme="ansi_dark",
            background_color="default",
            word_wrap=True,
        )
        self._live.show(Padding(code, (0, 0, 0, 2)))

    def _output(self, event: "CellEnded") -> None:
        style = "dim"
        if event["outcome"] != "ok":
            style = "red"
            self._live.show(Text(f"  {event['outcome']}", style="bold red"))
        if event["output"].strip():
            self._live.show(Text(self._block(event["output"]), style=style))

    def _block(self, output: str) -> str:
        """Give the first lines of an output as the screen wraps them, each after a bar."""
        text = Text(printable(cut(output)).rstrip().expandtabs())
        wrapped = text.wrap(self._console, max(20, self._console.width - 4))
        lines = "\n".join(line.plain.rstrip() for line in wrapped)
        return "\n".join(f"  | {line}" for line in clipped(lines).split("\n"))

    def _lines(self) -> Sequence[Text]:
        width, height = self._console.size
        return self._status.lines(self._usage, width, height)


def _start_of(line: str) -> str:
    if len(line) <= LINE_CHARS:
        return line
    return f"{line[:LINE_CHARS]}..."
