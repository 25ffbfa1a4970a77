"""SQL over a large CSV: `sql(...)` in a run, beside DuckDB and pandas in the same machine.

    python -m benchmarks.tables [--megabytes 100 1000]

Each way runs in a process of its own; memory is the largest resident size of all its processes.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

QUERY = "SELECT region, count(*) AS n, avg(amount) AS mean FROM {} GROUP BY region ORDER BY region"
ROWS_OF_A_BLOCK = 100_000


def write_csv(path: Path, megabytes: int) -> None:
    """Write a table of five columns: numbers, texts with commas, dates."""
    rng = random.Random(1)
    rows = (
        f"{number},r{number % 7},{rng.random() * 100:.2f},"
        f'2024-01-{number % 28 + 1:02d},"no, {number}"\n'
        for number in range(ROWS_OF_A_BLOCK)
    )
    block = "".join(rows)
    with path.open("w") as file:
        file.write("id,region,amount,day,label\n")
        for _ in range(max(1, megabytes * 1_000_000 // len(block))):
            file.write(block)


def by_sql(path: Path) -> dict[str, float]:
    """Time a run whose code asks twice: the whole of it, and each query."""
    from langgraph_rlm import create_rlm
    from langgraph_rlm.testing import ScriptedModel, cell

    asked = QUERY.format(path.stem)
    codes = [f"a = sql({asked!r})", f"b = sql({asked!r})", "FINAL(a == b)"]
    marks: list[float] = []

    def next_cell(_: str) -> str:
        marks.append(time.perf_counter())
        return cell(codes[len(marks) - 1])

    create_rlm(ScriptedModel(replies=["FINAL(1)"])).invoke({"query": "loads what there is to load"})
    with tempfile.TemporaryDirectory(dir=path.parent) as store:
        graph = create_rlm(ScriptedModel(answer=next_cell), blob_store=store)
        began = time.perf_counter()
        out = graph.invoke({"query": "q", "context": path})
        graph.rlm.sessions.close()
    assert out["answer"] == "true", out["answer"]
    first, second, third = marks[:3]
    return {"ingest": first - began, "first": second - first, "second": third - second}


def by_duckdb(path: Path) -> dict[str, float]:
    """Time DuckDB, with all threads and with one."""
    import duckdb

    times: dict[str, float] = {}
    for name, threads in (("all threads", psutil.cpu_count() or 1), ("one thread", 1)):
        began = time.perf_counter()
        with duckdb.connect(":memory:", config={"threads": threads}) as connection:
            connection.execute(QUERY.format(f"read_csv('{path}')")).fetchall()
        times[name] = time.perf_counter() - began
    return times


def by_pandas(path: Path) -> dict[str, float]:
    """Time pandas: reading all, and the columns that are needed."""
    import pandas as pd

    times: dict[str, float] = {}
    for name, columns in (("two columns", ["region", "amount"]), ("all columns", None)):
        began = time.perf_counter()
        frame = pd.read_csv(path, usecols=columns)
        frame.groupby("region")["amount"].agg(["size", "mean"])
        times[name] = time.perf_counter() - began
        del frame
    return times


WAYS: dict[str, Callable[[Path], dict[str, float]]] = {
    "sql": by_sql,
    "duckdb": by_duckdb,
    "pandas": by_pandas,
}


def measured(way: str, path: Path) -> dict[str, Any]:
    """Run one way in a process of its own, and watch the memory of all its processes."""
    command = [sys.executable, "-m", "benchmarks.tables", "--way", way, "--file", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    most = 0

    def watch() -> None:
        nonlocal most
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                family = [parent, *parent.children(recursive=True)]
                most = max(most, sum(each.memory_info().rss for each in family))
            except psutil.NoSuchProcess:
                pass
            time.sleep(0.02)

    watching = threading.Thread(target=watch)
    watching.start()
    out, _ = process.communicate()
    watching.join()
    return {"seconds": json.loads(out), "megabytes": most / 1e6}


def main() -> None:
    """Print a line for each size and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(WAYS[given.way](given.file)))
        return
    with tempfile.TemporaryDirectory() as folder:
        for size in given.megabytes:
            path = Path(folder, f"csv{size}.csv")
            write_csv(path, size)
            for way in WAYS:
                found = measured(way, path)
                times = ", ".join(f"{name} {took:.2f} s" for name, took in found["seconds"].items())
                print(f"{size} MB {way}: {times}; {found['megabytes']:.0f} MB", flush=True)
            path.unlink()


if __name__ == "__main__":
    main()
