"""Network: what runs cost whose PostgreSQL is some milliseconds away, and what a kill loses then.

    python benchmarks/network.py [--ms 0 1 5 20] [--package BEFORE] [--reps 3]
    python benchmarks/network.py --work batch runs --side pool

Work with scripted models on Monty, at `durability="sync"`, each in a process of its own, with
connections that are open already: a run of one turn; a batch of 1,000 sub-calls of 50 ms, 64 at
once; 100 children (`rlm_query`), 64 at once; 50 runs at once of 3 turns and 10 sub-calls. A way of
20 ms is one of 40 there and back. Statements and round trips are counted on the way
(`delayed.py`). `lost` is how many answers the database does not have when the process is killed at
its 600th of the batch.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IS_WORKER = sys.argv[1:2] == ["--worker"]
if not IS_WORKER:  # it has another checkout's package
    sys.path.insert(0, str(ROOT))  # run as a script or as a module

WORK = ("turn", "batch", "children", "runs", "lost")
SIDES = ("memory", "one", "pool")
CALLS, CHILDREN, RUNS, AT_ONCE, KILLED_AT = 1000, 100, 50, 64, 600


# The worker: one process, one piece of work


@asynccontextmanager
async def opened(side: str, url: str) -> AsyncIterator[Any]:
    """Open a saver whose connections are there already."""
    if side == "memory":
        from langgraph.checkpoint.memory import InMemorySaver

        yield InMemorySaver()
        return
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    if side == "one":
        async with AsyncPostgresSaver.from_conn_string(url) as saver:
            yield saver
        return
    from psycopg.rows import dict_row
    from psycopg_pool import AsyncConnectionPool

    kwargs: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    async with AsyncConnectionPool(url, min_size=4, max_size=10, kwargs=kwargs) as pool:
        await pool.wait()
        yield AsyncPostgresSaver(pool)


def graph_of(saver: Any, what: str, sub: Any, folder: str) -> Any:
    """Make a graph whose root model plays a piece of work."""
    from langgraph_rlm import Limits, create_rlm

    return create_rlm(
        root_of(what),
        sub_model=sub,
        checkpointer=saver,
        blob_store=folder,
        sandbox="monty",
        limits=Limits(max_depth=2, max_concurrency=AT_ONCE, max_sub_calls=10**6),
    )


def root_of(what: str) -> Any:
    """Make the script of a piece of work. A question that is `short` is answered at once."""
    from langgraph_rlm.testing import ScriptedModel, cell

    done = cell("FINAL('done')")
    if what == "runs":
        asked = cell("asked = llm_query_batched(['a', 'b', 'c', 'd', 'e'])")
        return ScriptedModel(replies=[asked, asked, done])
    batch = cell(f"FINAL(len(llm_query_batched([str(i) for i in range({CALLS})])))")
    children = cell(f"FINAL(len(rlm_query_batched(['short'] * {CHILDREN})))")
    code = {"turn": done, "children": children}.get(what, batch)
    return ScriptedModel(answer=lambda text: done if "short" in text else code)


async def _ask(graph: Any, thread: str) -> str:
    config = {"configurable": {"thread_id": thread}}
    out = await graph.ainvoke({"query": thread}, config, durability="sync")
    return out["answer"]


async def _runs(graph: Any) -> None:
    await asyncio.gather(*(_ask(graph, f"run {number}") for number in range(RUNS)))


DOES: Mapping[str, Callable[[Any], Awaitable[Any]]] = {
    "turn": lambda graph: _ask(graph, "turn"),
    "batch": lambda graph: _ask(graph, "batch"),
    "lost": lambda graph: _ask(graph, "batch"),
    "children": lambda graph: _ask(graph, "parent"),
    "runs": _runs,
}


async def work(side: str, what: str, url: str, folder: str) -> None:
    """Do a piece of work, and print its figures; between two lines the work itself happens."""
    from langgraph_rlm.testing import ScriptedModel

    answered = 0

    def answer(_: str) -> str:
        nonlocal answered
        answered += 1
        if what == "lost" and answered == KILLED_AT:
            print(json.dumps({"answered": answered - 1}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return "yes"

    sub = ScriptedModel(answer=answer, seconds=0.05)
    async with opened(side, url) as saver:
        graph = graph_of(saver, what, sub, folder)
        await _ask(graph, "short, to warm up")
        print("{}", flush=True)
        sys.stdin.readline()
        wall, cpu = time.perf_counter(), time.process_time()
        await DOES[what](graph)
        took = {"s": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
        print(json.dumps(took), flush=True)
        sys.stdin.readline()


# The measuring


def measured(side: str, what: str, way: Any, package: Path) -> dict[str, float]:
    """Measure a piece of work in a new database and a new process."""
    import psycopg

    name = f"db{time.time_ns()}"
    with psycopg.connect(way.url(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    _set_up(way.url(name))
    paths = os.pathsep.join([str(package.resolve()), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory() as folder:
        given = [sys.executable, __file__, "--worker", side, what, way.url(name), folder]
        worker = subprocess.Popen(given, stdin=-1, stdout=-1, env=env, text=True)
        assert worker.stdin is not None
        assert worker.stdout is not None
        if worker.stdout.readline() != "{}\n":
            raise RuntimeError(f"{side} {what} did not begin")
        before = way.counted.copy()
        worker.stdin.write("\n")
        worker.stdin.flush()
        figures: dict[str, float] = json.loads(worker.stdout.readline())
        counted = way.counted.copy().since(before)
        worker.communicate("\n")
    if what == "lost":
        time.sleep(1)  # what was under way arrives
        return {"lost": figures["answered"] - _saved(way.url(name))}
    return {**figures, "trips": counted.trips, "statements": counted.statements}


def _set_up(url: str) -> None:
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(url) as saver:
        saver.setup()


def _saved(url: str) -> int:
    """Count the answers of the batch that are stored, each a piece of the log."""
    from langgraph.checkpoint.postgres import PostgresSaver

    found: set[str] = set()
    with PostgresSaver.from_conn_string(url) as saver:
        for saved in saver.list({"configurable": {"thread_id": "batch"}}):
            for _, channel, value in saved.pending_writes or []:
                if channel == "log" and isinstance(value, dict):
                    found |= {place for place in value if place.startswith("0.0/0/")}
    return len(found)


def table(options: argparse.Namespace) -> None:
    """Measure all, and print a table."""
    from benchmarks.delayed import Delayed
    from tests.faults.databases import Postgres

    print(f"load {os.getloadavg()[0]:.1f}\n")
    print("| ms | work | saver | s | CPU, s | round trips | statements | lost |")
    print("|---|---|---|---|---|---|---|---|")
    with Postgres() as server:
        for ms in options.ms:
            with Delayed(str(server.socket), ms / 1000) as way:
                for what in options.work:
                    for side in options.side:
                        if what == "lost" and side == "memory":
                            continue
                        taken = [
                            measured(side, what, way, options.package) for _ in range(options.reps)
                        ]
                        print(_row(ms, what, side, taken), flush=True)


def _row(ms: float, what: str, side: str, taken: list[dict[str, float]]) -> str:
    def shown(name: str, form: str) -> str:
        values = [figures[name] for figures in taken if name in figures]
        return format(statistics.median(values), form) if values else ""

    cells = [shown("s", ".2f"), shown("cpu", ".2f")]
    cells += [shown(name, ",.0f") for name in ("trips", "statements", "lost")]
    return f"| {ms:g} | {what} | {side} | {' | '.join(cells)} |"


def main() -> None:
    """The command."""
    if IS_WORKER:
        asyncio.run(work(*sys.argv[2:]))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--ms", nargs="+", type=float, default=[0, 1, 5, 20], help="one way")
    parser.add_argument("--work", nargs="+", choices=WORK, default=[*WORK])
    parser.add_argument("--side", nargs="+", choices=SIDES, default=[*SIDES])
    parser.add_argument("--package", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--reps", type=int, default=1)
    table(parser.parse_args())


if __name__ == "__main__":
    main()
