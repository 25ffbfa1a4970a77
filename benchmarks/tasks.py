"""Tasks: what is measured within one process with scripted models, without a network.

Each gives figures by name. `plain` is the same work in a loop over the same models.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bare import nested_of
from clocks import LongestStall, cpu_of_all
from langchain_core.language_models import BaseChatModel
from plain import plain_loop
from sides import graph_of, how, opened, stored_mb
from worker import QUESTION, Job, make_context

from langgraph_rlm.testing import ScriptedModel, cell

Figures = dict[str, float]
COMPUTING = "total = 0\nfor i in range(200_000):\n    total += i * i\n"
"""About 17 ms in Python on an idle machine of 2026."""

AROUND = 4
"""A step is the median of so many before it and after it: one alone is chance."""


def way_of(job: Job) -> str:
    """Give what a side is without its options."""
    return job["side"].partition("+")[0]


async def calls(job: Job) -> Figures:
    """One cell with a batch of `size` sub-calls of 10 ms."""
    sub = ScriptedModel(answer=lambda _: "yes", seconds=0.01)
    turns = [
        cell(f"found = llm_query_batched([f'item {{i}}' for i in range({job['size']})])"),
        cell("FINAL(str(found.count('yes')))"),
    ]
    way = way_of(job)
    async with opened(job, way) as saver:
        await _asked(job, saver, sub, [cell("FINAL('warm')")], "warm")
        before = await stored_mb(job, way, saver)
        probe = LongestStall()
        wall, cpu = time.perf_counter(), time.process_time()
        answer = await _asked(job, saver, sub, turns, "bench")
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        probe.stop()
        _check(answer, str(job["size"]))
        return {
            "s": wall,
            "cpu_ms": cpu * 1000 / job["size"],
            "stall_ms": probe.longest * 1000,
            "db_mb": await stored_mb(job, way, saver) - before,
        }


async def _asked(job: Job, saver: Any, sub: Any, turns: list[str], thread: str) -> str:
    root = ScriptedModel(replies=turns)
    if way_of(job) == "plain":
        return await plain_loop(root, sub, QUESTION, "", job["at_once"])
    out = await graph_of(job, root, sub, saver).ainvoke({"query": QUESTION}, **how(saver, thread))
    return out["answer"]


def _check(answer: str, expected: str) -> None:
    if answer != expected:
        raise RuntimeError(f"It answered {answer[:200]!r}, expected {expected!r}.")


async def questions(job: Job) -> Figures:
    """Ask `size` questions on one thread, each answered in one turn; with `mb`, each a context."""
    steps = Steps()
    root = ScriptedModel(answer=lambda _: cell("FINAL('done')"))
    async with opened(job, way_of(job)) as saver:
        ask = _chat(root) if way_of(job) == "plain" else _thread(job, root, saver)
        for number in range(job["size"]):
            given: dict[str, Any] = {"query": f"question {number}"}
            if job["mb"]:
                given["context"] = f"{number}\n" + make_context(job["mb"])
            steps.begin()
            _check(await ask(given), "done")
            steps.end()
        return steps.figures() | {"db_mb": await stored_mb(job, way_of(job), saver)}


def _thread(job: Job, root: BaseChatModel, saver: Any) -> Callable[[Any], Awaitable[str]]:
    graph = graph_of(job, root, root, saver)

    async def ask(given: Any) -> str:
        return (await graph.ainvoke(given, **how(saver)))["answer"]

    return ask


def _chat(root: BaseChatModel) -> Callable[[Any], Awaitable[str]]:
    """Make a plain chat that remembers its messages, and runs the code of each reply."""
    messages: list[Any] = []

    async def ask(given: Any) -> str:
        found: list[str] = []
        messages.append(("user", given["query"]))
        text = (await root.ainvoke(messages)).text
        exec(
            "\n".join(re.findall(r"```repl\n(.*?)\n```", text, re.DOTALL)), {"FINAL": found.append}
        )
        messages.append(("assistant", text))
        return found[0]

    return ask


async def turns(job: Job) -> Figures:
    """One question that takes `size` turns, each a cell that prints."""
    steps = Steps()
    replies = iter([cell(f"print({number})") for number in range(job["size"] - 1)])

    def reply(_: str) -> str:
        steps.end()
        steps.begin()
        return next(replies, cell("FINAL('done')"))

    root = ScriptedModel(answer=reply)
    async with opened(job, way_of(job)) as saver:
        if way_of(job) == "plain":
            _check(await plain_loop(root, root, QUESTION, "", 1), "done")
        else:
            _check(await _thread(job, root, saver)({"query": QUESTION}), "done")
        return steps.figures() | {"db_mb": await stored_mb(job, way_of(job), saver)}


class Steps:
    """Times of equal steps, one after another."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self._took: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Note that a step begins."""
        self._began = (time.perf_counter(), time.process_time())

    def end(self) -> None:
        """Note that the step is over that began, if one did."""
        if self._began is not None:
            wall, cpu = self._began
            self._took.append((time.perf_counter() - wall, time.process_time() - cpu))

    def figures(self) -> Figures:
        """Give the 12th step and the last one, in ms, and how many times longer the last is."""
        early, late = self._around(12), self._around(len(self._took) - AROUND)
        return {
            "early_ms": early[0],
            "late_ms": late[0],
            "early_cpu_ms": early[1],
            "late_cpu_ms": late[1],
            "growth": late[0] / early[0],
            "cpu_growth": late[1] / early[1],
        }

    def _around(self, number: int) -> tuple[float, float]:
        near = self._took[max(0, number - 1 - AROUND) : number + AROUND]
        walls, cpus = (sorted(column) for column in zip(*near, strict=True))
        return 1000 * walls[len(near) // 2], 1000 * cpus[len(near) // 2]


async def runs(job: Job) -> Figures:
    """Let `size` runs be at work at once: 5 turns of 50 ms, with 20 sub-calls of 10 ms each."""
    return await _many(job, "")


async def computing(job: Job) -> Figures:
    """The same, where each of the four first turns computes as well."""
    return await _many(job, COMPUTING)


async def _many(job: Job, extra: str) -> Figures:
    batch = "found += llm_query_batched(['a', 'b', 'c', 'd', 'e'])"
    replies = [cell(f"found = []\n{extra}{batch}"), *[cell(extra + batch)] * 3]
    root = ScriptedModel(replies=[*replies, cell("FINAL(str(len(found)))")], seconds=0.05)
    sub = ScriptedModel(answer=lambda _: "yes", seconds=0.01)
    interpreters = _count_interpreters() if way_of(job) != "plain" else {"opened": 0}
    async with opened(job, way_of(job)) as saver:
        graph = None if way_of(job) == "plain" else graph_of(job, root, sub, saver)

        async def run(number: int) -> str:
            if graph is None:
                return await plain_loop(root, sub, QUESTION, "", job["at_once"])
            out = await graph.ainvoke({"query": QUESTION}, **how(saver, f"run {number}"))
            return out["answer"]

        probe = LongestStall()
        wall, cpu, own = time.perf_counter(), cpu_of_all(), time.process_time()
        answers = await asyncio.gather(*map(run, range(job["size"])))
        wall = time.perf_counter() - wall
        probe.stop()
        for answer in answers:
            _check(answer, "20")
        return {
            "s": wall,
            "cpu_ms": 1000 * (cpu_of_all() - cpu) / job["size"],
            "own_cpu_ms": 1000 * (time.process_time() - own) / job["size"],
            "stall_ms": probe.longest * 1000,
            "interpreters": interpreters["opened"],
        }


def _count_interpreters() -> Mapping[str, int]:
    """Count the interpreters that the package's sandboxes open from now on, or load."""
    from langgraph_rlm.repl.monty import MontyBackend
    from langgraph_rlm.repl.python import PythonBackend

    counted = {"opened": 0}
    for kind in (MontyBackend, PythonBackend):
        for name in ("open", "load"):
            if hasattr(kind, name):
                setattr(kind, name, _counting(getattr(kind, name), counted))
    return counted


def _counting(method: Callable[..., Any], counted: dict[str, int]) -> Callable[..., Any]:
    def counting(*args: Any, **kwargs: Any) -> Any:
        session = method(*args, **kwargs)
        counted["opened"] += session is not None
        return session

    return counting


async def greps(job: Job) -> Figures:
    """One cell with `size` greps of as many matches as the context has lines."""
    context = make_context(job["mb"])
    lines = context.count("\n")
    if way_of(job) == "plain":
        wall = time.perf_counter()
        for number in range(job["size"]):
            pattern = re.compile(f"fox|absent {number}")
            _check(str(sum(1 for line in context.splitlines() if pattern.search(line))), str(lines))
        return {"s": time.perf_counter() - wall, "log_mb": 0.0, "db_mb": 0.0}
    code = (
        f"for i in range({job['size']}):\n"
        f"    found = grep(f'fox|absent {{i}}', max_matches={lines})\n"
        "FINAL(str(len(found)))"
    )
    root = ScriptedModel(replies=[cell(code)])
    async with opened(job, way_of(job)) as saver:
        graph = graph_of(job, root, root, saver)
        wall = time.perf_counter()
        out = await graph.ainvoke({"query": QUESTION, "context": context}, **how(saver))
        wall = time.perf_counter() - wall
        _check(out["answer"], str(lines))
        state = await graph.aget_state(how(saver)["config"])
        _, log = saver.serde.dumps_typed(state.values["log"])
        stored = await stored_mb(job, way_of(job), saver)
        return {"s": wall, "log_mb": len(log) / 1e6, "db_mb": stored}


def nested_model(width: int, levels: int) -> ScriptedModel:
    """Make a model whose code asks `width` RLMs, each of them as many, so many levels deep."""

    def reply(text: str) -> str:
        level = int(re.findall(r"LEVEL-(\d)", text)[-1])
        if level == levels:
            return cell("FINAL(1)")
        asked = f"rlm_query_batched(['LEVEL-{level + 1}'] * {width})"
        return cell(f"FINAL(sum(map(int, {asked})))")

    return ScriptedModel(answer=reply)


async def nested(job: Job) -> Figures:
    """RLMs three levels deep, each asking `size` others.

    `bare-memory` and `bare-sqlite` are as many graphs of LangGraph, `floor` interpreters alone.
    """
    width = job["size"]
    rlms = width + width**2 + width**3
    if way_of(job) == "floor":
        cpu = cpu_of_all()
        seconds = await _interpreters(job["sandbox"], rlms)
        cpu = (cpu_of_all() - cpu) * 1000 / rlms
        return {"s": seconds, "cpu_ms": cpu, "db_mb": 0.0, "checkpoints": 0.0}

    is_bare = way_of(job).startswith("bare-")
    way = way_of(job).removeprefix("bare-")
    async with opened(job, way) as saver:
        root = nested_model(width, 3)
        if is_bare:
            graph, given = nested_of(width, 3, saver), {"level": 0}
        else:
            graph, given = graph_of(job, root, root, saver, max_depth=4), {"query": "LEVEL-0"}
        wall, cpu = time.perf_counter(), cpu_of_all()
        out = await graph.ainvoke(given, **how(saver))
        wall, cpu = time.perf_counter() - wall, cpu_of_all() - cpu
        answer = str(sum(out["answers"])) if is_bare else out["answer"]
        _check(answer, str(width**3))
        return {
            "s": wall,
            "cpu_ms": cpu * 1000 / rlms,
            "db_mb": await stored_mb(job, way, saver),
            "checkpoints": await _checkpoints(way, saver) / (rlms + 1),
        }


async def _checkpoints(way: str, saver: Any) -> int:
    if way == "memory":
        return sum(len(kept) for of in saver.storage.values() for kept in of.values())
    cursor = await saver.conn.execute("SELECT count(*) AS n FROM checkpoints")
    row = await cursor.fetchone()
    return row["n"] if isinstance(row, dict) else row[0]


async def _interpreters(sandbox: str, number: int) -> float:
    """Measure the seconds that so many interpreters take that run one cell each, 8 at a time."""
    from langgraph_rlm.repl.base import SessionSpec
    from langgraph_rlm.repl.sandboxes import Sandboxes

    backend = Sandboxes(sandbox).new
    spec = SessionSpec(frozenset(), {}, datetime(2026, 1, 2, tzinfo=UTC), "seed", 1 << 30)
    gate = asyncio.Semaphore(8)

    def once() -> None:
        session = backend.open(spec)
        session.feed("x = 1")
        session.close()

    async def gated() -> None:
        async with gate:
            await asyncio.to_thread(once)

    wall = time.perf_counter()
    await asyncio.gather(*(gated() for _ in range(number)))
    wall = time.perf_counter() - wall
    backend.close()
    return wall


TASKS: Mapping[str, Callable[[Job], Awaitable[Figures]]] = {
    "calls": calls,
    "questions": questions,
    "turns": turns,
    "runs": runs,
    "computing": computing,
    "greps": greps,
    "nested": nested,
}
