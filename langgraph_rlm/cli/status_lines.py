"""Status lines: what stays at the bottom of a terminal while a run works. Every line fits its
width, and together they fit the height."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from langgraph_rlm.budget.usage import Usage, sub_calls_made
from langgraph_rlm.cli.display_text import counted, money, seconds, short
from langgraph_rlm.cli.run_tree_view import Batch, Row, RunTreeView

if TYPE_CHECKING:
    from langgraph_rlm.budget.limits import Limits

MOST_ROWS = 12
"""Most lines of the tree, however high the screen."""
LEAST_BAR = 8
"""Columns below which a bar is left out."""
MOST_BAR = 40
NEARLY, ALMOST = 0.75, 0.9
"""Shares of a limit from which its amount is yellow, and red."""


@dataclass(frozen=True)
class Signs:
    """The characters that lines are drawn with."""

    full: str = "━"
    rest: str = "─"
    between: str = " · "
    branch: str = "├─ "
    last: str = "└─ "
    through: str = "│  "
    spinner: str = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


ASCII = Signs("#", "-", ", ", "|- ", "`- ", "|  ", "-\\|/")


def signs_of(encoding: str) -> Signs:
    """Give the characters for a screen: plain ones without UTF-8, and in the locale C.

    Python itself writes UTF-8 in the locale C, which a terminal in it may not show.
    """
    names = (os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next((name for name in names if name), "")
    is_plain = not encoding.lower().startswith("utf") or locale in ("C", "POSIX")
    return ASCII if is_plain else Signs()


class StatusLines:
    """Makes the lines of one run."""

    def __init__(self, tree: RunTreeView, limits: "Limits | None", signs: Signs) -> None:
        self._tree = tree
        self._limits = limits
        self._signs = signs
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._start

    def lines(self, usage: Usage | None, width: int, height: int) -> list[Text]:
        """Give the lines for a screen, the most telling ones where there is little room."""
        room = max(1, height - 1)
        first = [self._now(width)]
        budget = self._budget(usage, width)[: max(0, room - 1)]
        room -= 1 + len(budget)
        batch = self._tree.batch()
        bars = [self._bar(batch, width)] if batch is not None and room else []
        rows = self._tree.rows(min(MOST_ROWS, max(0, room - len(bars))))
        return [*first, *(self._row(row, width) for row in rows), *bars, *budget]

    def _now(self, width: int) -> Text:
        """Say what the root does."""
        root = self._tree.root()
        spinner = self._signs.spinner[int(self.elapsed * 10) % len(self._signs.spinner)]
        parts = ["starting"] if root is None else [root.turn, root.doing]
        children = self._tree.at_work()
        if children:
            parts.append(counted(children, "child RLM"))
        if self._tree.done_children:
            parts.append(f"{self._tree.done_children:,} done")
        parts.append(seconds(self.elapsed))
        said = self._signs.between.join(part for part in parts if part)
        return _fitted(Text.assemble((spinner, "cyan"), " ", said), width)

    def _row(self, row: Row, width: int) -> Text:
        signs = self._signs
        lead = "".join("   " if is_end else signs.through for is_end in row.ends[:-1])
        lead += signs.last if row.ends[-1] else signs.branch
        if row.node is None:
            return _fitted(Text(f"{lead}{row.folded:,} more at work", style="dim"), width)
        node = row.node
        batch = node.open_batch
        doing = node.doing
        if batch is not None and batch.total > 1:
            doing = f"{batch.function} {batch.done:,}/{batch.total:,}"
        parts = [node.turn, doing, seconds(time.monotonic() - node.start)]
        said = signs.between.join(part for part in parts if part)
        name = node.place or node.id[:6]
        return _fitted(Text.assemble((lead, "dim"), (name, "cyan"), "  ", said), width)

    def _bar(self, batch: Batch, width: int) -> Text:
        """Give a bar with what fits beside it: the count, then time left, rate, who waits."""
        name = f"{batch.function} "
        after = f" {batch.done:,}/{batch.total:,}"
        for part in self._about(batch):
            if cell_len(name + after + part) + len(self._signs.between) + LEAST_BAR < width:
                after += f"{self._signs.between if ' ' in after.strip() else '  '}{part}"
        room = min(MOST_BAR, width - 1 - cell_len(name) - cell_len(after))
        if room < LEAST_BAR:
            return _fitted(Text(f"{name.strip()}{after}"), width)
        full = room * batch.done // max(1, batch.total)
        bar = Text.assemble(
            name, (self._signs.full * full, "green"), (self._signs.rest * (room - full), "dim")
        )
        return _fitted(bar.append(after), width)

    def _about(self, batch: Batch) -> Sequence[str]:
        parts: list[str] = []
        left = batch.seconds_left
        if left is not None and batch.rate is not None:
            parts += [f"{seconds(left, whole=True)} left", f"{batch.rate:.1f}/s"]
        waiting = batch.total - batch.done
        if self._limits is not None:
            waiting -= self._limits.max_concurrency
        if waiting > 0:
            parts.append(f"{waiting:,} wait")
        return parts

    def _budget(self, usage: Usage | None, width: int) -> list[Text]:
        """Say what is spent of what, on as many lines as it takes, at most two."""
        lines: list[Text] = []
        for part in self._amounts(usage):
            fits = lines and lines[-1].cell_len + part.cell_len + 3 < width
            if fits:
                lines[-1].append(self._signs.between).append(part)
            elif len(lines) < 2:
                lines.append(part)
        return [_fitted(line, width) for line in lines]

    def _amounts(self, usage: Usage | None) -> list[Text]:
        limits = self._limits
        amounts: list[Text] = []
        if usage is not None:
            tokens = usage["input_tokens"] + usage["output_tokens"]
            amounts.append(_amount(tokens, limits and limits.max_tokens, short, " tokens"))
            if usage["cost"] or (limits and limits.max_cost):
                amounts.append(_amount(usage["cost"], limits and limits.max_cost, money))
            calls = max(sub_calls_made(usage), self._tree.answered)
            if calls:
                most = limits and limits.max_sub_calls
                amounts.append(_amount(calls, most, _grouped, " sub-calls"))
        if limits is not None and limits.max_seconds is not None:
            amounts.append(_amount(self.elapsed, limits.max_seconds, _whole_seconds))
        return amounts


def _grouped(number: float) -> str:
    return f"{number:,.0f}"


def _whole_seconds(number: float) -> str:
    return seconds(number, whole=True)


def _amount(
    spent: float, limit: float | None, written: Callable[[float], str], unit: str = ""
) -> Text:
    """Write an amount beside its limit, in the colour of how near it is."""
    if not limit:
        return Text(f"{written(spent)}{unit}")
    share = spent / limit
    style = ""
    if share >= NEARLY:
        style = "red" if share >= ALMOST else "yellow"
    return Text(f"{written(spent)} of {written(limit)}{unit}", style=style)


def _fitted(text: Text, width: int) -> Text:
    """Cut a line so that it stays one: a column is left free, for terminals that wrap early."""
    text.truncate(max(1, width - 1), overflow="ellipsis" if width > 4 else "crop")
    return text
