"""Run: the command line of the benchmarks.

python benchmarks/run.py [SCENARIO ...] [--reps 3] [--json PATH]
"""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import Mock, Sample, mock_server, run_once
from scenarios import SCENARIOS, Aim, Case, Measure

HEADINGS = ("scenario", "case", "measure", "side", "plain", "measured", "ratio", "extra", "aim", "")


@dataclass(frozen=True)
class Row:
    """One measure on one side: medians over the repetitions.

    The ratio to the plain side, and the difference from it, are taken within each repetition: a
    machine that is slow for a minute is slow for both sides.
    """

    scenario: str
    case: str
    measure: str
    unit: str
    side: str
    plain: float | None
    value: float
    values: list[float]
    """The value of every repetition."""
    ratio: float | None
    extra: float | None
    aim: str
    met: bool | None
    """None where there is no aim."""


def main() -> int:
    """Run, print the table and write the JSON, even of a run that is cut short.

    Returns:
        The exit code: 1 when an aim is missed and `--strict` is given.
    """
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows: list[Row] = []
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1) / 2:
        print(
            f"The machine is busy (load {load:.1f}): believe ratios and CPU, not milliseconds.",
            file=sys.stderr,
        )
    try:
        with mock_server() as mock:
            for name in options.scenario or SCENARIOS:
                for case in SCENARIOS[name]():
                    rows += rows_of(name, case, repeated(mock, case, options.reps))
                    print(f"{name}: {case.name} done", file=sys.stderr)
    finally:
        print("\n".join(table(rows)))
        if options.json:
            _write(options.json, rows, load, options.reps)
    has_missed = any(row.met is False for row in rows)
    return int(options.strict and has_missed)


def _write(path: Path, rows: list[Row], load: float, reps: int) -> None:
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": load,
        "reps": reps,
    }
    figures = {"machine": machine, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(figures, indent=1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The cost of the package against plain loops over the same ChatOpenAI, "
        "on one mock server."
    )
    parser.add_argument(
        "scenario",
        nargs="*",
        metavar="SCENARIO",
        help=f"{', '.join(SCENARIOS)}; all when none is named",
    )
    parser.add_argument(
        "--reps",
        type=int,
        default=3,
        help="runs of each side of a case, in turn; medians are shown (default 3)",
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--strict", action="store_true", help="end with 1 when an aim is missed")
    options = parser.parse_args()
    unknown = set(options.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    return options


def repeated(mock: Mock, case: Case, reps: int) -> dict[str, list[Sample]]:
    """Run each side `reps` times, or a multiple of it.

    The sides take turns, so that a busy spell of the machine meets all of them.
    """
    samples: dict[str, list[Sample]] = {side: [] for side in case.sides}
    for _ in range(reps * case.runs):
        for side in case.sides:
            samples[side].append(run_once(mock, case.work, side))
    return samples


def rows_of(scenario: str, case: Case, samples: dict[str, list[Sample]]) -> Iterator[Row]:
    """Make the rows of one case."""
    for measure in case.measures:
        values = {side: [measure.read(sample) for sample in samples[side]] for side in case.sides}
        for side in case.sides:
            if side != "plain":
                yield _row(scenario, case, measure, side, values.get("plain", []), values[side])


def _row(
    scenario: str, case: Case, measure: Measure, side: str, plain: list[float], values: list[float]
) -> Row:
    figures = _figures(values, plain)
    aim = next((aim for aim in measure.aims if aim.side == side), None)
    return Row(
        scenario=scenario,
        case=case.name,
        measure=measure.name,
        unit=measure.unit,
        side=side,
        plain=statistics.median(plain) if plain else None,
        value=statistics.median(values),
        values=values,
        ratio=figures.get("ratio"),
        extra=figures.get("extra"),
        aim="" if aim is None else _shown_aim(aim, measure.unit),
        met=_is_met(aim, figures),
    )


def _figures(values: list[float], plain: list[float]) -> dict[str, float]:
    """Give the medians of a measure: its value, and its ratio to and difference from `plain`."""
    figures = {"value": statistics.median(values)}
    if plain:
        pairs = list(zip(values, plain, strict=True))
        figures["extra"] = statistics.median(value - beside for value, beside in pairs)
        if all(plain):
            figures["ratio"] = statistics.median(value / beside for value, beside in pairs)
    return figures


def _is_met(aim: Aim | None, figures: Mapping[str, float]) -> bool | None:
    if aim is None or aim.of not in figures:
        return None
    return figures[aim.of] <= aim.most


def _shown_aim(aim: Aim, unit: str) -> str:
    return {
        "value": f"{aim.most:g} {unit}",
        "ratio": f"{aim.most:g}x",
        "extra": f"+{aim.most:g} {unit}",
    }[aim.of]


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
    value = f"{_number(row.value)} {row.unit}"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    extra = "" if row.extra is None else f"{row.extra:+.3g}"
    numbers = (_number(row.plain), value, ratio, extra)
    return (row.scenario, row.case, row.measure, row.side, *numbers, row.aim, met)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
