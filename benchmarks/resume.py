"""Resume: how long a run that has computed for long takes to go on in a new process.

    python benchmarks/resume.py            # 60 s of computing in six cells; takes three minutes
    python benchmarks/resume.py 6          # 6 s

A run computes in cells, and pauses for an approval; a new process gives it and goes on. With
snapshots and without, on Monty. Then what a snapshot costs, by what the interpreter holds.
"""

import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from langgraph_rlm import Limits, create_rlm
from langgraph_rlm.repl import snapshots
from langgraph_rlm.repl.base import SessionSpec
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.testing import ScriptedModel, cell

CELLS = 6
COMPUTE = "n = 0\nwhile n < {}:\n    n += 1\nprint(n)"
HELD = {
    "ten small variables": "a = b = c = 1\nd = e = f = 'text'\ng = h = i = j = [1, {'k': 2.5}]",
    "a text of 1 MB": "x = 'x' * (1 << 20)",
    "a text of 10 MB": "x = 'x' * (10 << 20)",
    "a text of 50 MB": "x = 'x' * (50 << 20)",
    "1,000,000 numbers": "x = list(range(1_000_000))",
    "1,000,000 texts": "x = [str(i) for i in range(1_000_000)]",
}


def ask(text: str) -> str:
    """Ask a human."""
    return text


def graph_of(folder: Path, saver: Any, loops: int) -> Any:
    """Give the graph of the run."""
    codes = [COMPUTE.format(loops)] * CELLS
    return create_rlm(
        ScriptedModel(replies=[*map(cell, codes), cell("FINAL(ask('x') + str(n))")]),
        tools=[ask],
        interrupt_on={"ask": True},
        limits=Limits(max_cell_seconds=600),
        checkpointer=saver,
        blob_store=folder / "blobs",
    )


def play(step: str, folder: Path, loops: int) -> None:
    """Play one step in this process, and print what it took."""
    if step.endswith("without"):
        snapshots.AFTER_SECONDS = float("inf")
    given = {"query": "go"} if step.startswith("start") else Command(resume={"type": "approve"})
    with SqliteSaver.from_conn_string(str(folder / "db")) as saver:
        graph = graph_of(folder, saver, loops)
        start = time.monotonic()
        out = graph.invoke(given, {"configurable": {"thread_id": "t"}})
        wall = time.monotonic() - start
    print(json.dumps({"wall": wall, "charged": out["usage"]["seconds"]}))


def resumes(loops: int) -> None:
    """Play a run with snapshots and without, each step in a process of its own."""
    for kind in ("with", "without"):
        with tempfile.TemporaryDirectory() as folder:
            took: list[dict[str, float]] = []
            for step in ("start", "resume"):
                command = [sys.executable, __file__, f"{step}-{kind}", folder, str(loops)]
                took.append(json.loads(subprocess.check_output(command)))
            stored = [
                path.read_bytes() for path in Path(folder, "blobs").rglob("*") if path.is_file()
            ]
            sizes = [len(data) for data in stored if data.startswith(snapshots.MARK)]
        charged = took[1]["charged"] - took[0]["charged"]
        print(
            f"{kind:>7} snapshots: computed for {took[0]['wall']:.1f} s, "
            f"went on after {took[1]['wall']:.2f} s, of which {charged:.2f} s were charged; "
            f"{len(sizes)} snapshots, {sum(sizes):,} bytes"
        )


def costs() -> None:
    """Print what a dump and a load take, by what the interpreter holds."""
    spec = SessionSpec(frozenset(), {}, datetime.now(UTC), "seed", 1 << 30)
    backend = MontyBackend()
    for name, code in HELD.items():
        session: Any = backend.open(spec)
        session.feed(code)
        session.dump()  # the first one of a process takes longer
        start = time.perf_counter()
        state = session.dump()
        dumped = time.perf_counter()
        backend.load(spec, state)
        loaded = time.perf_counter()
        print(
            f"{name:>20}: {len(state):>12,} bytes, dump {(dumped - start) * 1000:8.2f} ms, "
            f"load {(loaded - dumped) * 1000:8.2f} ms"
        )
    backend.close()


def loops_of(seconds: float) -> int:
    """Tell how many loops take so long on this machine, for each cell."""
    backend = MontyBackend()
    session = backend.open(SessionSpec(frozenset(), {}, datetime.now(UTC), "seed", 1 << 30))
    start = time.monotonic()
    session.feed(COMPUTE.format(2_000_000))
    took = time.monotonic() - start
    backend.close()
    return int(2_000_000 * seconds / took / CELLS)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        play(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    else:
        costs()
        resumes(loops_of(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
