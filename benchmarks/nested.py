"""Nested: a tree of RLMs, 10 x 10 x 10 and so on. What each costs, in time and on disk.

    python benchmarks/nested.py [--width 10] [--levels 3] [--rounds 3] [--sides floor memory sqlite]

The root's code asks `width` RLMs, each of which asks as many, for so many levels; those of the last
answer at once. `floor` makes the same calls of the same model and runs the same cells in the same
interpreters, with no graph, log or ledger; `bare` has no checkpointer, `memory` LangGraph's
`InMemorySaver`, `sqlite` its `AsyncSqliteSaver` with durability "async", the default, and `sync`
the same with durability "sync". Each runs in a new process; the sides take turns.
"""

import argparse
import asyncio
import json
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import create_rlm
from langgraph_rlm.log.reply import parse_reply
from langgraph_rlm.repl.base import Returned, SessionSpec, Suspended
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.testing import ScriptedModel, cell

SIDES = ("floor", "bare", "memory", "sqlite", "sync")
FUNCTIONS = frozenset({"rlm_query_batched", "FINAL"})
AT_ONCE = 16
"""Calls of models at once on each level, as `Limits` has it."""
COUNTS = {
    "checkpoints": "SELECT count(*) FROM checkpoints",
    "rows": "SELECT count(*) FROM writes",
    "MB of checkpoints": "SELECT sum(length(checkpoint)) / 1e6 FROM checkpoints",
    "MB of metadata": "SELECT sum(length(metadata)) / 1e6 FROM checkpoints",
    "MB of rows": "SELECT sum(length(value)) / 1e6 FROM writes",
}


def rlms(width: int, levels: int) -> int:
    """How many RLMs the tree has, its root included."""
    return sum(width**level for level in range(levels + 1))


def model_of(width: int, levels: int) -> ScriptedModel:
    """A model that writes the code of each level."""

    def answer(text: str) -> str:
        level = int(re.findall(r"LEVEL-(\d)", text)[-1])
        if level == levels:
            return cell("FINAL(1)")
        return cell(f"FINAL(sum(map(int, rlm_query_batched(['LEVEL-{level + 1}'] * {width}))))")

    return ScriptedModel(answer=answer)


async def floor(width: int, levels: int) -> str:
    """The same calls and cells without a graph: the answer."""
    model, backend = model_of(width, levels), MontyBackend()
    slots = [asyncio.Semaphore(AT_ONCE) for _ in range(levels + 1)]

    async def ask(question: str, depth: int) -> str:
        async with slots[depth]:
            reply = await model.ainvoke([HumanMessage(question)])
            return await run(parse_reply(reply.text).cells[0], depth)

    async def run(code: str, depth: int) -> str:
        spec = SessionSpec(FUNCTIONS, {}, datetime.now(UTC), "seed", 1 << 30)
        session = await asyncio.to_thread(backend.open, spec)
        outcome = await asyncio.to_thread(session.feed, code)
        while isinstance(outcome, Suspended):
            call = outcome.call
            if call.function == "FINAL":
                session.close()
                return str(call.args[0])
            replies = await asyncio.gather(*(ask(each, depth + 1) for each in call.args[0]))
            outcome = await asyncio.to_thread(session.resume, Returned([*replies]))
        raise RuntimeError(outcome)

    return await ask("LEVEL-0", 0)


async def package(width: int, levels: int, saver: Any, folder: Path, **options: Any) -> str:
    """The package's answer."""
    rlm: Any = create_rlm(
        model_of(width, levels),
        sandbox="monty",
        limits={"max_depth": levels + 1, "max_sub_calls": 1_000_000},
        checkpointer=saver,
        blob_store=folder / "blobs",
    )
    config: Any = {"configurable": {"thread_id": "nested"}}
    return (await rlm.ainvoke({"query": "LEVEL-0"}, config, **options))["answer"]


async def on_sqlite(width: int, levels: int, folder: Path, durability: str) -> str:
    """The package's answer, saved in a file."""
    async with AsyncSqliteSaver.from_conn_string(str(folder / "run.db")) as saver:
        return await package(width, levels, saver, folder, durability=durability)


def started(side: str, width: int, levels: int, folder: Path) -> Awaitable[str]:
    """The run of a side."""
    if side == "floor":
        return floor(width, levels)
    if side in ("sqlite", "sync"):
        return on_sqlite(width, levels, folder, "sync" if side == "sync" else "async")
    return package(width, levels, InMemorySaver() if side == "memory" else None, folder)


def measure(side: str, width: int, levels: int) -> dict[str, float]:
    """Run a side here, and say what it took."""
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began, cpu = time.perf_counter(), time.process_time()
        answer = asyncio.run(asyncio.wait_for(started(side, width, levels, folder), 600))
        figures = {"s": time.perf_counter() - began, "CPU s": time.process_time() - cpu}
        assert answer == str(width**levels), answer
        if side in ("sqlite", "sync"):
            figures |= stored(folder / "run.db", rlms(width, levels))
    return figures


def stored(path: Path, count: int) -> dict[str, float]:
    """What a run of so many RLMs has left in its database."""
    database = sqlite3.connect(path)
    found = {name: database.execute(query).fetchone()[0] for name, query in COUNTS.items()}
    database.close()
    found["checkpoints an RLM"] = found.pop("checkpoints") / count
    found["rows an RLM"] = found.pop("rows") / count
    return {"MB": path.stat().st_size / 1e6, **found}


def in_new_process(side: str, width: int, levels: int) -> dict[str, float]:
    """Run a side in a process of its own."""
    command = [sys.executable, __file__, "--width", str(width), "--levels", str(levels)]
    found = subprocess.run([*command, "--here", side], capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


def table(rounds: Mapping[str, list[dict[str, float]]]) -> None:
    """Print the medians of each side."""
    for side, each in rounds.items():
        medians = {what: statistics.median(one[what] for one in each) for what in each[0]}
        shown = (f"{what} {value:.2f}" for what, value in medians.items())
        print(f"{side:8} {', '.join(shown)}", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=10)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--here", choices=SIDES, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.here:
        print(json.dumps(measure(args.here, args.width, args.levels)))
        return
    found: dict[str, list[dict[str, float]]] = {side: [] for side in args.sides}
    for _ in range(args.rounds):
        for side in args.sides:
            found[side].append(in_new_process(side, args.width, args.levels))
    print(f"{rlms(args.width, args.levels) - 1:,} nested RLMs")
    table(found)


if __name__ == "__main__":
    main()
