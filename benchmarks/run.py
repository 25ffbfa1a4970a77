"""Run: the command line of the benchmarks.

python benchmarks/run.py [SCENARIO ...] [--reps 3] [--package DIR] [--peers DIR] [--markdown FILE]
"""

import argparse
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from cases import Case, expanded
from dialects import python_of
from figures import Row, rows_of
from harness import HERE, Mock, Sample, Surroundings, mock_server, run_once
from report import chart, markdown, table
from scripted import SCENARIOS
from worker import PEERS

sys.path.append(str(HERE.parent))  # for tests/faults, which starts PostgreSQL
QUICK = 0.1


def main() -> int:
    """Run, print the table and write the files, even of a run that is cut short.

    Returns:
        The exit code: 1 when a side failed, or an aim is missed and `--strict` is given.
    """
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows: list[Row] = []
    notes = [_machine(options.reps)]
    try:
        with ExitStack() as servers:
            cases = list(_cases(options))
            around = _surroundings(options, servers, cases, notes)
            for name, case in cases:
                began = time.monotonic()
                case = replace(case, sides=_sides(case, options, around))
                rows += rows_of(name, case, repeated(around, case, options.reps, notes))
                took = time.monotonic() - began
                print(f"{name}: {case.name} done, {took:.0f} s", file=sys.stderr, flush=True)
    finally:
        print("\n".join([*table(rows), "", *notes]))
        _write(options, rows, notes)
    has_missed = any(row.met is False for row in rows)
    has_failed = any(note.startswith(FAILED) for note in notes)
    return int(has_failed or (options.strict and has_missed))


FAILED = "FAILED"
"""How the note of a side that failed begins."""


def _machine(reps: int) -> str:
    load = os.getloadavg()[0]
    if load > (os.cpu_count() or 1) / 2:
        print(
            f"The machine is busy (load {load:.1f}): believe ratios and CPU, not milliseconds.",
            file=sys.stderr,
        )
    return (
        f"{os.cpu_count()} CPUs, {platform.machine()}, Python {platform.python_version()}, "
        f"load {load:.1f} at the start, {reps} repetitions."
    )


def _cases(options: argparse.Namespace) -> Iterator[tuple[str, Case]]:
    scale = QUICK if options.quick else 1.0
    for name in options.scenario or SCENARIOS:
        for case in SCENARIOS[name](scale):
            if options.sides:
                chosen = tuple(side for side in case.sides if side in options.sides)
                case = replace(case, sides=chosen)
            yield name, case


def _surroundings(
    options: argparse.Namespace,
    servers: ExitStack,
    cases: Sequence[tuple[str, Case]],
    notes: list[str],
) -> Surroundings:
    mock: Mock = servers.enter_context(mock_server())
    postgres = ""
    if any("postgres" in case.sides for _, case in cases):
        postgres = _postgres(servers, notes)
    return Surroundings(mock, options.package, options.peers, postgres)


def _postgres(servers: ExitStack, notes: list[str]) -> str:
    """Start a PostgreSQL server, and give its address; empty, with a note why, where none can."""
    try:
        from tests.faults.databases import CannotStart, Postgres
    except ImportError as error:
        notes.append(f"PostgreSQL was left out: {error}")
        return ""
    try:
        return servers.enter_context(Postgres()).url
    except (CannotStart, ImportError) as error:
        notes.append(f"PostgreSQL was left out: {error}")
        return ""


def _sides(case: Case, options: argparse.Namespace, around: Surroundings) -> tuple[str, ...]:
    """Give the sides of a case that can run here."""
    folder = options.peers
    peers = [side for side in PEERS if folder is not None and python_of(folder, side).exists()]
    sides = expanded(case.sides, has_before=options.package is not None, peers=tuple(peers))
    return tuple(side for side in sides if around.postgres or not side.endswith("postgres"))


def repeated(
    around: Surroundings, case: Case, reps: int, notes: list[str]
) -> dict[str, list[Sample]]:
    """Run each side `reps` times, or a multiple of it; a side that fails is noted and left out.

    The sides take turns, so that a busy spell of the machine meets all of them.
    """
    samples: dict[str, list[Sample]] = {side: [] for side in case.sides}
    for _ in range(reps * case.runs):
        for side in tuple(samples):
            try:
                samples[side].append(run_once(around, case.work, side))
            except RuntimeError as error:
                del samples[side]
                notes.append(f"{FAILED}: {case.name}, {side}: {error}")
                print(notes[-1], file=sys.stderr, flush=True)
    return samples


def _write(options: argparse.Namespace, rows: Sequence[Row], notes: Sequence[str]) -> None:
    if options.json:
        figures = {"notes": notes, "rows": [asdict(row) for row in rows]}
        options.json.write_text(json.dumps(figures, indent=1))
    if options.markdown:
        options.markdown.write_text("\n".join(markdown(rows, notes)) + "\n")
    if options.chart and rows:
        chart(rows, options.chart)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="The cost of the package against plain loops over the same models, "
        "on one mock server or with scripted models."
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
    parser.add_argument("--quick", action="store_true", help="sizes of a tenth")
    parser.add_argument("--sides", nargs="+", metavar="SIDE", help="only these (see sides.py)")
    parser.add_argument(
        "--package",
        type=lambda given: Path(given).resolve(),
        metavar="DIR",
        help="another checkout of the package, run as before/... in alternation",
    )
    parser.add_argument(
        "--peers",
        type=lambda given: Path(given).absolute(),
        metavar="DIR",
        help="a folder with virtual environments v_rlms, v_dspy and v_da; see README.md",
    )
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--markdown", type=Path, help="write tables for README.md to this file")
    parser.add_argument("--chart", type=Path, help="draw a chart as PNG to this file")
    parser.add_argument("--strict", action="store_true", help="end with 1 when an aim is missed")
    options = parser.parse_args()
    unknown = set(options.scenario) - set(SCENARIOS)
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}: there are {', '.join(SCENARIOS)}")
    if options.package and not (options.package / "langgraph_rlm").is_dir():
        parser.error(f"--package {options.package} holds no langgraph_rlm")
    return options


if __name__ == "__main__":
    sys.exit(main())
