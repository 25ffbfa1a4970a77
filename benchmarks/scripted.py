"""Scripted: scenarios of one process with scripted models (`tasks.py`). It never runs anything.

Code runs on Monty, whose interpreters cost least, so that what the package costs itself shows most;
`+python` is the sandbox that users have by default where the kernel can jail processes.
"""

from collections.abc import Callable, Mapping
from typing import Any

from cases import Aim, Case, Measure, figure
from harness import Work
from mock_server import Program
from scenarios import OVER_HTTP

SAVERS = ("memory", "sqlite", "postgres")
SIDES = ("plain", *SAVERS)


def task(name: str, size: int, **options: Any) -> Work:
    """Give the work of one of `TASKS`."""
    options = {"mb": 0, "sandbox": "monty", **options}
    return Work(Program(turns=[]), "", task=name, size=size, **options)


def peak() -> Measure:
    """Measure the peak memory of all processes."""
    return Measure("peak memory", "MB", lambda sample: sample["peak_mb"])


def calls(scale: float) -> list[Case]:
    """One cell with 1,000 and 10,000 sub-calls of 10 ms, 64 at once."""
    stall = tuple(Aim(50, "value", side) for side in SAVERS)
    measures = (
        Measure("CPU, a call", "ms", figure("cpu_ms")),
        Measure("the run", "s", figure("s")),
        Measure("longest stall of the event loop", "ms", figure("stall_ms"), stall),
        Measure("database, new", "MB", figure("db_mb")),
        peak(),
    )
    return [
        Case(
            f"{number:,} calls",
            SIDES,
            task("calls", number, at_once=64, is_watched=True),
            measures,
        )
        for number in (round(1000 * scale), round(10_000 * scale))
    ]


def _steps(what: str, early: int, late: int, sides: tuple[str, ...]) -> tuple[Measure, ...]:
    aims = tuple(Aim(1.3, "value", side) for side in sides if side != "plain")
    return (
        Measure(f"{what}, the {early}th", "ms", figure("early_ms")),
        Measure(f"{what}, the {late}th", "ms", figure("late_ms")),
        Measure("the last to the first", "x", figure("growth"), aims),
        Measure(f"CPU of {what}, the {early}th", "ms", figure("early_cpu_ms")),
        Measure(f"CPU of {what}, the {late}th", "ms", figure("late_cpu_ms")),
        Measure("the last to the first by CPU", "x", figure("cpu_growth"), aims),
        Measure("database", "MB", figure("db_mb")),
    )


def questions(scale: float) -> list[Case]:
    """200 questions on one thread, a turn each; and each with a context of its own, of 10 KB."""
    number = max(24, round(200 * scale))
    sides = ("plain", "memory", "sqlite")
    measures = _steps("a question", 12, number, sides)
    return [
        Case("without contexts", sides, task("questions", number), measures),
        Case("with contexts", sides[1:], task("questions", number, mb=0.01), measures),
    ]


def turns(scale: float) -> list[Case]:
    """One question of 300 turns."""
    number = max(24, round(300 * scale))
    sides = ("plain", "memory", "sqlite")
    measures = _steps("a turn", 12, number, sides)
    return [Case(f"{number} turns", sides, task("turns", number), measures)]


def runs(scale: float) -> list[Case]:
    """200 runs at once of 5 turns and 20 sub-calls; and the same with cells that compute."""
    number = round(200 * scale)
    measures = (
        Measure("all runs", "s", figure("s")),
        Measure("CPU a run, all processes", "ms", figure("cpu_ms")),
        Measure("CPU a run, this process", "ms", figure("own_cpu_ms")),
        Measure("interpreters opened, a run", "", figure("interpreters", number)),
        Measure("longest stall of the event loop", "ms", figure("stall_ms")),
        peak(),
    )
    sides = ("plain", "memory", "sqlite", "memory+python")
    return [
        Case(
            f"{number} {name}",
            sides,
            task(task_name, number, at_once=16, is_watched=True),
            measures,
        )
        for name, task_name in (("runs", "runs"), ("runs that compute 17 ms a turn", "computing"))
    ]


def greps(scale: float) -> list[Case]:
    """50 greps of 10,000 matches in one cell."""
    number = round(50 * scale)
    measures = (
        Measure("the run", "s", figure("s")),
        Measure("the log", "MB", figure("log_mb")),
        Measure("database", "MB", figure("db_mb")),
    )
    sides = ("plain", "memory", "sqlite")
    return [Case(f"{number} greps", sides, task("greps", number, mb=1, sandbox="auto"), measures)]


def nested(scale: float) -> list[Case]:
    """1,110 RLMs, 10 of each and three levels deep, beside bare graphs and bare interpreters."""
    width = 10 if scale == 1 else 4
    measures = (
        Measure("the run", "s", figure("s")),
        Measure("CPU an RLM, all processes", "ms", figure("cpu_ms")),
        Measure("database", "MB", figure("db_mb")),
        Measure("checkpoints, an RLM", "", figure("checkpoints")),
        peak(),
    )
    work = task("nested", width, at_once=16, is_watched=True)
    name = f"{width + width**2 + width**3:,} RLMs"
    sides = ("floor", "bare-memory", "bare-sqlite", "memory", "sqlite")
    return [Case(name, sides, work, measures, reference="bare-memory")]


SCENARIOS: Mapping[str, Callable[[float], list[Case]]] = {
    **OVER_HTTP,
    "calls": calls,
    "questions": questions,
    "turns": turns,
    "runs": runs,
    "greps": greps,
    "nested": nested,
}
