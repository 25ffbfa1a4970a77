"""Scenarios: what is run, on which sides, and what is measured. Never runs anything."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

from harness import Sample, Work
from mock_server import Program

Read = Callable[[Sample], float]
CALLS = 1000
PROMPT = "f'chunk {i}\\n' + context[i * size:(i + 1) * size]"


@dataclass(frozen=True)
class Aim:
    """The most that one side may take, and what that is compared with."""

    most: float
    of: Literal["value", "ratio", "extra"]
    """The value itself, its ratio to the plain side's, or its difference from that."""
    side: str = "package"


@dataclass(frozen=True)
class Measure:
    """One number of a run."""

    name: str
    unit: str
    read: Read
    aims: tuple[Aim, ...] = ()


@dataclass(frozen=True)
class Case:
    """One thing to run on several sides, alternately."""

    name: str
    sides: tuple[str, ...]
    work: Work
    measures: tuple[Measure, ...]
    runs: int = 1
    """How often each side runs in one repetition: more where a small difference is looked for."""


def cell(code: str) -> str:
    """Give a root model's reply with one cell."""
    return f"```repl\n{code}\n```"


def work(
    turns: list[str],
    answer: str,
    *,
    sub_ms: float = 0,
    sub_chars: int = 10,
    **options: Any,
) -> Work:
    """Give the work of some root replies.

    Args:
        turns: the replies.
        answer: what they answer.
        sub_ms: see `Program`.
        sub_chars: see `Program`.
        **options: other fields of `Work`.
    """
    program = Program(turns=turns, sub_ms=sub_ms, sub_chars=sub_chars)
    return Work(program=program, answer=answer, **options)


def root_gaps(sample: Sample) -> list[float]:
    """Measure the milliseconds from the end of each root reply to the next root call's arrival."""
    roots = [call for call in sample["calls"] if call["model"] == "root"]
    return [1000 * (after["arrived"] - before["left"]) for before, after in pairwise(roots)]


def first_call(sample: Sample) -> float:
    """Measure the seconds from the caller's call to the first root call."""
    return sample["calls"][0]["arrived"] - sample["report"]["called"]


def whole_run(sample: Sample) -> float:
    """Measure the seconds of the whole run."""
    return sample["report"]["ended"] - sample["report"]["called"]


def between_turns(sample: Sample) -> float:
    """Measure the median of `root_gaps`."""
    return statistics.median(root_gaps(sample))


def iteration() -> list[Case]:
    """Cells that read a little of a context, one turn after another."""
    turns = [
        cell(f"print({number}, context[{100 * number}:{100 * number + 50}].count('o'))")
        for number in range(10)
    ]
    turns.append(cell("FINAL('done')"))
    measures = (Measure("an iteration", "ms", between_turns, (Aim(4, "extra"),)),)
    sides = ("plain", "package", "sqlite")
    return [
        Case(f"{mb:g} MB", sides, work(turns, "done", mb=mb), measures, runs=3)
        for mb in (0.01, 10, 100)
    ]


def fan_out() -> list[Case]:
    """One cell with a batch of 1,000 sub-calls over 10 MB, 10 KB and 50 ms each."""
    code = (
        f"size = len(context) // {CALLS}\n"
        f"replies = llm_query_batched([{PROMPT} for i in range({CALLS})])\n"
        "print(len(replies), replies[0])"
    )
    turns = [
        cell(code),
        cell("FINAL(str(len([1 for reply in replies if reply.startswith('len=')])))"),
    ]
    aims = (Aim(1.2, "ratio"), Aim(1.2, "ratio", "memory"), Aim(1.4, "ratio", "sqlite"))
    measures = (
        Measure("the batch", "s", lambda sample: root_gaps(sample)[0] / 1000, aims),
        Measure("CPU of the process", "s", lambda sample: sample["report"]["cpu_s"]),
    )
    sides = ("plain", "bare-memory", "bare-sqlite", "package", "memory", "sqlite")
    return [
        Case(f"{many} at once", sides, work(turns, str(CALLS), sub_ms=50, at_once=many), measures)
        for many in (16, 64)
    ]


def sequential() -> list[Case]:
    """One cell that asks 100 times, one after another, over 1 MB."""
    code = "replies = []\nfor i in range(100):\n    replies.append(llm_query(f'item {i}'))"
    measures = (
        Measure("a call", "ms", lambda sample: root_gaps(sample)[0] / 100),
        Measure("CPU of the process, a call", "ms", lambda sample: sample["report"]["cpu_s"] * 10),
    )
    task = work([cell(code), cell("FINAL(str(len(replies)))")], "100", mb=1)
    return [Case("100 calls", ("plain", "package", "sqlite"), task, measures)]


def context() -> list[Case]:
    """A run of two turns whose code reads all of the context."""
    code = "found = sum(1 for line in context.splitlines() if 'NEEDLE' in line)\nprint(found)"
    cases: list[Case] = []
    for mb in (1, 10, 100):
        aims = (Aim(0.25, "value"),) if mb == 10 else ()
        measures = (
            Measure("to the first root call", "s", first_call, aims),
            Measure("the whole run", "s", whole_run),
            Measure("peak memory", "MB", lambda sample: sample["peak_mb"]),
        )
        task = work([cell(code), cell("FINAL(str(found))")], str(10 * mb), mb=mb, is_watched=True)
        cases.append(Case(f"{mb} MB", ("plain", "package", "sqlite"), task, measures))
    return cases


def imports() -> list[Case]:
    """An import of the package (plain: of langchain_openai), and all until there is a graph."""
    measures = (
        Measure("import", "s", lambda sample: sample["report"]["import_s"], (Aim(0.15, "value"),)),
        Measure("import, clients and graph", "s", lambda sample: sample["report"]["ready_s"]),
    )
    return [Case("a new process", ("plain", "package"), work([], ""), measures)]


def size() -> list[Case]:
    """The SQLite file after calls over 10 MB, in a batch and one after another.

    Prompts have 10 KB, replies 200 bytes.
    """
    start = f"size = len(context) // {CALLS}\n"
    batch = start + f"replies = llm_query_batched([{PROMPT} for i in range({{calls}})])"
    loop = (
        start + f"replies = []\nfor i in range({{calls}}):\n    replies.append(llm_query({PROMPT}))"
    )
    return [
        _size(name, code, calls, aim)
        for name, code, aim in (("batch", batch, 3), ("loop", loop, 10))
        for calls in (250, 500, 1000)
    ]


def _size(name: str, code: str, calls: int, aim: float) -> Case:
    aims = (Aim(aim, "value", "sqlite"),) if calls == 1000 else ()
    measures = (
        Measure("SQLite file", "MB", lambda sample: sample["db_bytes"] / 1e6, aims),
        Measure("a call in it", "KB", lambda sample: sample["db_bytes"] / 1e3 / calls),
        Measure("blob store", "MB", lambda sample: sample["store_bytes"] / 1e6),
    )
    turns = [cell(code.replace("{calls}", str(calls))), cell("FINAL(str(len(replies)))")]
    return Case(f"{name} of {calls}", ("sqlite",), work(turns, str(calls), sub_chars=200), measures)


SCENARIOS: Mapping[str, Callable[[], list[Case]]] = {
    "iteration": iteration,
    "fanout": fan_out,
    "sequential": sequential,
    "context": context,
    "import": imports,
    "size": size,
}
