"""Run: the command line of the benchmarks. `python benchmarks/run.py [SCENARIO ...] [--reps 3] [--json PATH]`."""

import argparse
import json
import os
import platform
import signal
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from harness import Mock, Sample, mock_server, run_once
from scenarios import SCENARIOS, Aim, Case, Measure

HEADINGS = ("scenario", "case", "measure", "side", "plain", "measured", "ratio", "extra", "aim", "")


@dataclass(frozen=True)
class Row:
    """One measure on one side: medians over the repetitions.

    A ratio to the plain side, or what is above it, is taken within each repetition: a machine that is slow for a minute is so for both.
    """

    scenario: str
    case: str
    measure: str
    unit: str
    side: str
    plain: float | None
    value: float
    values: list[float]
    """Of every repetition."""
    ratio: float | None
    extra: float | None
    aim: str
    met: bool | None
    """None where nothing is aimed at."""


def main() -> int:
    """Run, print the table, write the JSON, also of a run that is cut short; 1 when an aim is missed and `--strict` is given."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows, load = list[Row](), os.getloadavg()[0]
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
            machine = {
                "cpus": os.cpu_count(),
                "python": platform.python_version(),
                "load_before": load,
                "reps": options.reps,
            }
            options.json.write_text(
                json.dumps({"machine": machine, "rows": [asdict(row) for row in rows]}, indent=1)
            )
    return 1 if options.strict and any(row.met is False for row in rows) else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The cost of the package against plain loops over the same ChatOpenAI on one mock server."
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
    if unknown := set(options.scenario) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    return options


def repeated(mock: Mock, case: Case, reps: int) -> dict[str, list[Sample]]:
    """Each side `reps` times (or a multiple of it), in turn, so that a busy spell of the machine meets all of them."""
    samples: dict[str, list[Sample]] = {side: [] for side in case.sides}
    for _ in range(reps * case.runs):
        for side in case.sides:
            samples[side].append(run_once(mock, case.work, side))
    return samples


def rows_of(scenario: str, case: Case, samples: dict[str, list[Sample]]) -> Iterator[Row]:
    """The rows of one case."""
    for measure in case.measures:
        values = {side: [measure.read(sample) for sample in samples[side]] for side in case.sides}
        for side in case.sides:
            if side != "plain":
                yield _row(scenario, case, measure, side, values.get("plain", []), values[side])


def _row(
    scenario: str, case: Case, measure: Measure, side: str, plain: list[float], values: list[float]
) -> Row:
    pairs, median = (
        list(zip(values, plain, strict=True)) if plain else [],
        statistics.median(values),
    )
    got = {
        "value": median,
        "ratio": statistics.median(value / beside for value, beside in pairs)
        if pairs and all(plain)
        else None,
        "extra": statistics.median(value - beside for value, beside in pairs) if pairs else None,
    }
    aim = next((aim for aim in measure.aims if aim.side == side), None)
    found = None if aim is None else got[aim.of]
    return Row(
        scenario=scenario,
        case=case.name,
        measure=measure.name,
        unit=measure.unit,
        side=side,
        plain=statistics.median(plain) if plain else None,
        value=median,
        values=values,
        ratio=got["ratio"],
        extra=got["extra"],
        aim=_shown_aim(aim, measure.unit),
        met=None if aim is None or found is None else found <= aim.most,
    )


def _shown_aim(aim: Aim | None, unit: str) -> str:
    if aim is None:
        return ""
    return {
        "value": f"{aim.most:g} {unit}",
        "ratio": f"{aim.most:g}x",
        "extra": f"+{aim.most:g} {unit}",
    }[aim.of]


def table(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as a Markdown table, lined up for a terminal."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for index, line in enumerate(cells):
        yield (
            "| "
            + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
            + " |"
        )
        if index == 0:
            yield "|" + "|".join("-" * (width + 2) for width in widths) + "|"


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "", True: "ok", False: "MISSED"}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
    numbers = (
        _number(row.plain),
        f"{_number(row.value)} {row.unit}",
        ratio,
        "" if row.extra is None else f"{row.extra:+.3g}",
    )
    return (row.scenario, row.case, row.measure, row.side, *numbers, row.aim, met)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
