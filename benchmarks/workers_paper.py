"""Paper: how far workers, a database and its connections go, from the figures of `--throughput`."""

import json
from pathlib import Path
from typing import Any

RUNS_A_DAY = 100_000
PEAK = 3
"""The busiest hour has so many times the mean."""
RUN_SECONDS = 60
"""Of a run with real models: 20 sub-calls in 4 batches, and the turns of the root model."""
MODEL_CALLS = 21
DAYS_KEPT = 30
JOBS = 16
"""N_JOBS_PER_WORKER x WORKER_COUNT: runs that one worker process has open."""
BUSY = 0.6
"""The share of a core that is planned for: the rest is for bursts, and for another worker's end."""
POOL = 20 + 10 + 20
"""Connections that one worker may open: LANGGRAPH_MAX_POOL_SIZE, SQLALCHEMY_POOL_SIZE and
SQLALCHEMY_MAX_OVERFLOW as the engine has them."""
MAX_CONNECTIONS = 100
"""PostgreSQL's own default."""


def show(path: Path) -> None:
    """Print the model and its check."""
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    ours = [row for row in rows if row["graph"] == "priced"]
    busiest = max(ours, key=lambda row: row["runs_per_second"])
    _check(ours)
    _sizes(busiest)
    _limits(busiest)


def _check(ours: list[dict[str, Any]]) -> None:
    print("The model against what was measured, runs a second:\n")
    print("| workers | a core for each worker | the machine's cores for all | measured |")
    print("|---" * 4 + "|")
    for row in ours:
        everything = sum(row[f"cpu_{of}"] for of in ("workers", "postgres", "redis", "rest"))
        print(
            f"| {row['workers']} | {row['workers'] / row['cpu_workers']:.1f} "
            f"| {row['cores'] / everything:.1f} | {row['runs_per_second']:.1f} |"
        )


def _sizes(row: dict[str, Any]) -> None:
    mean = RUNS_A_DAY / 86_400
    peak = mean * PEAK
    open_runs = peak * RUN_SECONDS
    cores = peak * row["cpu_workers"] / BUSY
    workers = max(-(-open_runs // JOBS), -(-cores // 1))
    print(f"\n{RUNS_A_DAY:,} runs a day; the busiest hour has {PEAK} times the mean:\n")
    figures = {
        "runs a second: mean, peak": f"{mean:.2f}, {peak:.2f}",
        f"open runs at the peak, of {RUN_SECONDS} s": f"{open_runs:.0f}",
        "calls of models a second at the peak": f"{peak * MODEL_CALLS:.0f}",
        f"cores of workers at the peak, {BUSY:.0%} busy": f"{cores:.1f}",
        f"workers of {JOBS} runs, of a core or less each": f"{workers:.0f}",
        "cores of PostgreSQL at the peak": f"{peak * row['cpu_postgres'] / BUSY:.2f}",
        "commits a second at the peak": f"{peak * row['commits']:.0f}",
        "connections at most": f"{workers * POOL:.0f}",
        "database a day": f"{RUNS_A_DAY * row['size'] / 1e9:.1f} GB",
        f"database of {DAYS_KEPT} days": f"{RUNS_A_DAY * row['size'] * DAYS_KEPT / 1e9:.0f} GB",
        "WAL a day": f"{RUNS_A_DAY * row['wal'] / 1e9:.1f} GB",
    }
    print("| | |\n|---|---|")
    for what, figure in figures.items():
        print(f"| {what} | {figure} |")


def _limits(row: dict[str, Any]) -> None:
    """Print what two workers with usual settings come to, what breaks first at the top."""
    a_day = 86_400 / PEAK
    limits = {
        f"connections: {MAX_CONNECTIONS} of PostgreSQL, workers of {JOBS} runs": MAX_CONNECTIONS
        // POOL
        * JOBS
        / RUN_SECONDS
        * a_day,
        f"open runs: 2 workers of {JOBS}": 2 * JOBS / RUN_SECONDS * a_day,
        f"2 workers' CPU, {BUSY:.0%} busy": 2 * BUSY / row["cpu_workers"] * a_day,
        f"one core of PostgreSQL, {BUSY:.0%} busy": BUSY / row["cpu_postgres"] * a_day,
        f"a disk of 100 GB for {DAYS_KEPT} days": 100e9 / DAYS_KEPT / row["size"],
    }
    print("\nWhat two workers with usual settings come to, in runs a day:\n\n| | |\n|---|---|")
    for what, runs in sorted(limits.items(), key=lambda each: each[1]):
        print(f"| {what} | {runs:,.0f} |")
