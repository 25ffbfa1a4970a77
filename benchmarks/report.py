"""Report: rows as a table for a terminal, as Markdown for README.md, and as a chart."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from cases import is_ours
from figures import Row
from harness import BEFORE
from worker import PEERS

HEADINGS = ("scenario", "case", "measure", "side", "median", "spread", "ratio", "extra", "aim", "")
CHART_COLUMNS = 3


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Give the rows as a Markdown table, lined up for a terminal."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for index, line in enumerate(cells):
        padded = [text.ljust(width) for text, width in zip(line, widths, strict=True)]
        yield f"| {' | '.join(padded)} |"
        if index == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "", True: "ok", False: "MISSED"}[row.met]
    value = f"{number(row.value)} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x {row.reference}"
    extra = "" if row.extra is None else f"{row.extra:+.3g}"
    measured = (value, spread(row), ratio, extra)
    return (row.scenario, row.case, row.measure, row.side, *measured, row.aim, met)


def markdown(rows: Sequence[Row], notes: Iterable[str]) -> Iterator[str]:
    """Give a table for each scenario: a line for each side, a column for each case's measures.

    Each figure is the median, with the least and the most in brackets, and the ratio to the
    reference where the measure is one of time.
    """
    for scenario, of_scenario in groupby(rows, lambda row: row.scenario):
        kept = list(of_scenario)
        loads = [load for row in kept for load in row.loads]
        yield f"### `{scenario}`\n"
        yield f"Load before runs: {min(loads):.1f} to {max(loads):.1f}. Median (least to most).\n"
        yield from _pivoted(kept)
        yield ""
    yield from (f"- {note}" for note in notes)


def _pivoted(rows: Sequence[Row]) -> Iterator[str]:
    sides = list(dict.fromkeys(row.side for row in rows))
    lines = list(dict.fromkeys((row.case, row.measure, row.unit) for row in rows))
    found = {(row.case, row.measure, row.side): row for row in rows}
    yield f"| | {' | '.join(f'`{side}`' for side in sides)} | aim |"
    yield "|---|" + "---|" * (len(sides) + 1)
    for case, measure, unit in lines:
        line = [found.get((case, measure, side)) for side in sides]
        aims = [f"`{row.side}` {row.aim}" for row in line if row is not None and row.aim]
        heading = f"{case}: {measure}{', ' + unit if unit else ''}"
        yield f"| {heading} | {' | '.join(map(_figure, line))} | {', '.join(aims)} |"


def _figure(row: Row | None) -> str:
    if row is None:
        return ""
    ratio = "" if row.ratio is None else f", {row.ratio:.2f}x"
    missed = " **missed**" if row.met is False else ""
    return f"{number(row.value)} ({spread(row)}){ratio}{missed}"


def spread(row: Row) -> str:
    """Give the least and the most of a row's values."""
    return f"{number(min(row.values))} to {number(max(row.values))}"


def number(value: float) -> str:
    """Give three digits, and no more than a figure has."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def chart(rows: Sequence[Row], path: Path) -> None:
    """Draw the first measure of each case: a bar for each side, with its spread.

    Needs matplotlib, which the dev group has.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [list(of) for _, of in groupby(rows, lambda row: (row.scenario, row.case))]
    height = max(1, -(-len(panels) // CHART_COLUMNS))
    figure, axes = pyplot.subplots(
        height, CHART_COLUMNS, figsize=(5 * CHART_COLUMNS, 3 * height), squeeze=False
    )
    for axis, panel in zip(axes.flat, panels, strict=False):
        _draw(axis, panel)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _draw(axis: Any, panel: Sequence[Row]) -> None:
    first = panel[0]
    bars = [row for row in panel if row.measure == first.measure]
    below = [row.value - min(row.values) for row in bars]
    above = [max(row.values) - row.value for row in bars]
    axis.barh(
        [row.side for row in bars],
        [row.value for row in bars],
        xerr=[below, above],
        color=[_colour(row.side) for row in bars],
    )
    for index, row in enumerate(bars):
        axis.text(max(row.values), index, f" {number(row.value)}", va="center", fontsize=7)
    axis.invert_yaxis()
    axis.set_title(f"{first.scenario}, {first.case}: {first.measure}, {first.unit}", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.margins(x=0.15)


def _colour(side: str) -> str:
    """Tell what is ours, what it was before, what is a peer, and what is a reference."""
    if side.startswith(BEFORE):
        return "#9ecae1"
    if is_ours(side):
        return "#2171b5"
    return "#fd8d3c" if side in PEERS else "#bdbdbd"
