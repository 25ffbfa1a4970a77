"""Throughput: what a run costs on one, two and four workers that nothing hits."""

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import psycopg

from tests.deployment.cluster import Cluster
from tests.deployment.models import Models
from tests.deployment.runs import Clients, Run, judged
from tests.deployment.work import Work

WORKERS = (1, 2, 4)
GRAPHS = {"priced": "an RLM", "steps": "nothing, in as many steps"}
WARM = 4
"""Runs before those that count: each worker has loaded what it needs."""
TABLES = """
    select relname, pg_total_relation_size(c.oid) from pg_class c
    join pg_namespace n on n.oid = c.relnamespace where nspname = 'public' and relkind = 'r'
"""
COUNTS = """
    select pg_current_wal_lsn() - '0/0'::pg_lsn, xact_commit, pg_database_size(datname)
    from pg_stat_database where datname = current_database()
"""
CONNECTIONS = """
    select count(*) from pg_stat_activity
    where backend_type = 'client backend' and pid <> pg_backend_pid()
"""


@dataclass
class Row:
    """What one measurement found; sizes are bytes, times are seconds."""

    workers: int
    graph: str
    runs: int
    at_once: int
    wall: float
    runs_per_second: float
    median: float
    most: float
    """Of the 95th percentile."""
    cpu_workers: float
    cpu_postgres: float
    cpu_redis: float
    cpu_rest: float
    """Of the clients and the models, which share the machine."""
    wal: float
    commits: float
    size: float
    connections: int
    tables: dict[str, float]
    cores: int
    problems: int


@dataclass
class Taken:
    """What has been used until a moment."""

    at: float
    cpu: dict[str, float]
    wal: int
    commits: int
    size: int
    tables: dict[str, int]


def measure(options: argparse.Namespace) -> None:
    """Measure each number of workers, and print a row for each."""
    print(
        "| workers | graph | runs/s | s: median, 95% | CPU ms/run: workers, PostgreSQL, Redis, rest"
        " | KB/run | WAL KB/run | commits/run | connections |\n" + "|---" * 9 + "|"
    )
    rows: list[Row] = []
    for workers in WORKERS:
        with (
            Models(options.rate) as models,
            Cluster(models.url, workers=workers, LOG_LEVEL="WARNING") as cluster,
        ):
            for graph in GRAPHS:
                rows.append(asyncio.run(_measured(options, cluster, models, graph)))
                _print(rows[-1])
    print(f"\n{options.at_once} runs open at once; replies took {options.rate} s.\n")
    _print_tables(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=1))


async def _measured(
    options: argparse.Namespace, cluster: Cluster, models: Models, graph: str
) -> Row:
    clients, workers = Clients(cluster), len(cluster.workers)

    def made(count: int, kind: str) -> list[Run]:
        rounds = options.sub_calls // 5
        return [Run(Work(f"{graph}-{kind}{n}", rounds), {}, graph) for n in range(count)]

    await clients.all(made(WARM * workers, "warm"))
    runs = made(options.runs, "run")
    before = _taken(cluster)
    with _connections(cluster) as seen:
        await clients.all(runs, at_once=options.at_once, seconds=options.seconds)
    after = _taken(cluster)
    took = sorted(run.seconds for run in runs)
    cpu = {of: (after.cpu[of] - before.cpu[of]) / len(runs) for of in before.cpu}
    tables = {of: (size - before.tables[of]) / len(runs) for of, size in after.tables.items()}
    wrong = judged(runs, models) if graph == "priced" else []
    wall = after.at - before.at
    return Row(
        workers=workers,
        graph=graph,
        runs=len(runs),
        at_once=options.at_once,
        wall=wall,
        runs_per_second=len(runs) / wall,
        median=statistics.median(took),
        most=took[int(len(took) * 0.95)],
        cpu_workers=cpu["workers"],
        cpu_postgres=cpu["postgres"],
        cpu_redis=cpu["redis"],
        cpu_rest=cpu["rest"],
        wal=(after.wal - before.wal) / len(runs),
        commits=(after.commits - before.commits) / len(runs),
        size=(after.size - before.size) / len(runs),
        connections=max(seen),
        tables=tables,
        cores=os.cpu_count() or 1,
        problems=len(wrong),
    )


def _taken(cluster: Cluster) -> Taken:
    with psycopg.connect(cluster.postgres.url, autocommit=True) as connection:
        connection.execute("select pg_stat_force_next_flush()")
        counts: Any = connection.execute(COUNTS).fetchone()
        tables = dict(connection.execute(TABLES).fetchall())
    pids = [worker.process.pid for worker in cluster.workers if worker.process]
    cpu = {
        "workers": sum(map(_cpu, pids)),
        "postgres": _cpu(cluster.postgres.pid),
        "redis": _cpu(cluster.redis.pid),
        "rest": sum(psutil.Process().cpu_times()[:2]),
    }
    wal, commits, size = map(int, counts)
    return Taken(time.monotonic(), cpu, wal, commits, size, tables)


def _cpu(pid: int) -> float:
    """Give the CPU seconds of a process, of those that it has started, and of those that ended."""
    process = psutil.Process(pid)
    tree = [process, *process.children(recursive=True)]
    return sum(sum(each.cpu_times()[:4]) for each in tree)


@contextmanager
def _connections(cluster: Cluster) -> Iterator[list[int]]:
    """Count connections now and then, as long as it is entered."""
    seen = [0]

    async def look() -> None:
        url = cluster.postgres.url
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            while True:
                row: Any = await (await connection.execute(CONNECTIONS)).fetchone()
                seen.append(row[0] - 1)  # one more is that of the clients, who watch for ends
                await asyncio.sleep(0.5)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()


def _print(row: Row) -> None:
    cpu = (row.cpu_workers, row.cpu_postgres, row.cpu_redis, row.cpu_rest)
    shown = ", ".join(f"{each * 1000:.0f}" for each in cpu)
    failed = f" ({row.problems} FAILED)" if row.problems else ""
    print(
        f"| {row.workers} | {GRAPHS[row.graph]}{failed} | {row.runs_per_second:.1f} "
        f"| {row.median:.1f}, {row.most:.1f} | {shown} | {row.size / 1000:.0f} "
        f"| {row.wal / 1000:.0f} | {row.commits:.0f} | {row.connections} |",
        flush=True,
    )


def _print_tables(rows: list[Row]) -> None:
    last = next(row for row in reversed(rows) if row.graph == "priced")
    print("| table | KB a run |\n|---|---|")
    for name, size in sorted(last.tables.items(), key=lambda each: -each[1]):
        if size >= 50:
            print(f"| `{name}` | {size / 1000:.1f} |")
