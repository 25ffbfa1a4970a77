"""Workers: runs on several workers of Aegra that are killed, stopped and cut off.

    python benchmarks/workers.py --quick                       # about a minute
    python benchmarks/workers.py --workers 4 --runs 200 --faults kill stop cut
    python benchmarks/workers.py --throughput                  # 1, 2 and 4 workers, nothing hit
    python benchmarks/workers.py --paper figures.json     # 100,000 runs a day, from its figures

Each run makes up to 20 sub-calls, in batches of 5; a quarter of them want 30 and may make 20
(`max_sub_calls`), and a quarter may spend 0.21 USD (`max_cost`), which are 20 sub-calls and the
root's call. Clients start them over HTTP at any worker that answers. A worker is hit every few
seconds. It ends with 1 when a run does not end with `success`, when an answer is wrong, when a call
is made again whose reply had been saved, or when a budget is over.

It needs an environment with Aegra: `make .venv/aegra`. What cuts workers off are network
namespaces, which root makes; nothing leaves them.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # run as a script or as a module

from benchmarks import workers_network, workers_paper, workers_throughput  # noqa: E402
from benchmarks.workers_faults import Fault, Faults  # noqa: E402
from tests.deployment.cluster import Cluster  # noqa: E402
from tests.deployment.models import Ask, Models  # noqa: E402
from tests.deployment.runs import CALL_COST, Clients, Run, SavedReplies, judged  # noqa: E402
from tests.deployment.work import Work  # noqa: E402

WIDTH = 5
KINDS = ("kill", "stop", "cut")
LATE_SECONDS = 60.0
"""How long after a fault a call may arrive that was begun before it: TCP sends again less and less
often."""


def works(options: argparse.Namespace) -> list[Run]:
    """Give the runs: a half without limits, the others wanting half as much again as they may."""
    rounds = options.sub_calls // WIDTH
    runs: list[Run] = []
    for number in range(options.runs):
        limits: dict[str, Any] = {}
        if number % 4 == 1:
            limits = {"max_sub_calls": options.sub_calls}
        if number % 4 == 3:
            limits = {"max_cost": round((options.sub_calls + 1) * CALL_COST, 4)}
        wanted = rounds * 3 // 2 if limits else rounds
        kids = 0 if limits else options.kids
        runs.append(Run(Work(f"run{number}", wanted, WIDTH, kids), limits))
    return runs


def campaign(options: argparse.Namespace, opened: ExitStack) -> int:
    """Hit workers in the middle of runs, and print what became of the runs.

    Returns:
        The exit code.
    """
    bridge, host = None, "127.0.0.1"
    placed: dict[str, Any] = {}
    if "cut" in options.faults:
        bridge, host = opened.enter_context(workers_network.Bridge()), workers_network.HOST
        placed = {"place": bridge.place}
    saved = SavedReplies()
    models = opened.enter_context(Models(options.rate, host, saved))
    env = {"BG_JOB_MAX_RETRIES": "20", "CHILDREN": options.children}
    if options.kids:
        env["N_JOBS_PER_WORKER"] = "64"  # a parent that waits keeps its place
    cluster = opened.enter_context(
        Cluster(models.url, workers=options.workers, host=host, **placed, **env)
    )
    saved.url = cluster.postgres.url
    runs, clients = works(options), Clients(cluster)
    faults = Faults(
        cluster,
        bridge,
        options.faults,
        every=options.every,
        stall=options.stall,
        seed=options.seed,
    )
    began = time.monotonic()
    asyncio.run(_hit(clients, faults, runs, options))
    problems = judged(runs, models, [fault.at for fault in faults.done])
    _report(options, runs, faults.done, models, time.monotonic() - began, clients.retries)
    print("\n".join(problems))
    if options.asks:
        _write_asks(options.asks, runs, models, faults.done)
    if problems and options.logs:
        for worker in cluster.workers:
            (options.logs / worker.log.name).write_bytes(worker.log.read_bytes())
    return int(bool(problems))


def _write_asks(path: Path, runs: Sequence[Run], models: Models, faults: Sequence[Fault]) -> None:
    """Write each call and each fault, in the order of time, as lines of JSON."""
    asks = [vars(ask) for run in runs for ask in models.tally(run.work.name).asks]
    lines = [*asks, *({**vars(fault), "arrived": fault.at} for fault in faults)]
    ordered = sorted(lines, key=lambda line: line["arrived"])
    path.write_text("\n".join(map(json.dumps, ordered)))


async def _hit(
    clients: Clients, faults: Faults, runs: Sequence[Run], options: argparse.Namespace
) -> None:
    hitting = asyncio.create_task(faults.run())
    await clients.all(runs, at_once=options.at_once, seconds=options.seconds)
    hitting.cancel()
    await asyncio.gather(hitting, return_exceptions=True)


def _report(
    options: argparse.Namespace,
    runs: Sequence[Run],
    faults: Sequence[Fault],
    models: Models,
    seconds: float,
    retries: int,
) -> None:
    tallies = [models.tally(run.work.name) for run in runs]
    again = [ask for tally in tallies for ask in tally.again]
    saved = sum(ask.was_saved for ask in again)
    print(f"\n{options.workers} workers, {len(runs)} runs, {seconds:.0f} s, seed {options.seed}\n")
    print("| fault | times | runs hit | went on after s: median, 95%, most |\n|---|---|---|---|")
    for kind in options.faults:
        of_kind = [fault for fault in faults if fault.kind == kind]
        hit = sum(len(fault.threads) for fault in of_kind)
        print(
            f"| {kind} | {len(of_kind)} | {hit} | {_spread(_recoveries(of_kind, runs, models))} |"
        )
    struck = {thread for fault in faults for thread in fault.threads}
    print("\n| | |\n|---|---|")
    rows = {
        "ends": ", ".join(
            f"{n} {what or 'none'}" for what, n in Counter(r.status for r in runs).items()
        ),
        "wrong answers": sum(
            "WRONG" in " ".join(run.problems(t)) for run, t in zip(runs, tallies, strict=True)
        ),
        "calls of models": sum(len(tally.asks) for tally in tallies),
        "asked again, in flight": len(again) - saved,
        "asked again, though saved": saved,
        "of these, by a worker that had been stopped or cut off": len(_late(again, faults)),
        "budgets over": sum("OVER" in p for p in judged(runs, models, [f.at for f in faults])),
        "seconds of runs not hit": _spread([r.seconds for r in runs if r.thread_id not in struck]),
        "seconds of runs hit": _spread([r.seconds for r in runs if r.thread_id in struck]),
        "requests that clients made again": retries,
    }
    for what, figure in rows.items():
        print(f"| {what} | {figure} |")
    print()


def _late(again: Sequence[Ask], faults: Sequence[Fault]) -> list[Ask]:
    """Give the calls that a worker had begun before it could know that others had its run: what it
    was about to send when it was stopped, and what the network still had when it was cut off."""
    stalled = {(f"worker{fault.worker}", fault.at) for fault in faults if fault.kind != "kill"}
    return [
        ask
        for ask in again
        if ask.was_saved
        and any(by == ask.by and at < ask.arrived < at + LATE_SECONDS for by, at in stalled)
    ]


def _recoveries(faults: Sequence[Fault], runs: Sequence[Run], models: Models) -> list[float]:
    """Give the seconds from each fault until each run that it hit asks its next call, or ends."""
    by_thread = {run.thread_id: run for run in runs}
    found: list[float] = []
    for fault in faults:
        for thread in fault.threads:
            run = by_thread[thread]
            later = [
                a.arrived for a in models.tally(run.work.name).asks if a.arrived > fault.at + 0.1
            ]
            moments = [moment for moment in (*later, run.ended_at) if moment > fault.at]
            found += [min(moments) - fault.at] if moments else []
    return found


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ordered = sorted(values)
    most_of = ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]
    return f"{statistics.median(ordered):.1f}, {most_of:.1f}, {ordered[-1]:.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--sub-calls", type=int, default=20, help="that a run may make")
    parser.add_argument("--at-once", type=int, default=24, help="runs that clients have open")
    parser.add_argument("--every", type=float, default=6, help="seconds between two faults")
    parser.add_argument("--stall", type=float, default=20, help="seconds of a stop or a cut")
    parser.add_argument("--rate", type=float, default=2, help="seconds of a call of a model")
    parser.add_argument("--faults", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--children", choices=("none", "local", "remote"), default="none")
    parser.add_argument("--seconds", type=float, default=1800, help="after which it gives up")
    parser.add_argument("--seed", type=int, default=random.getrandbits(30))
    parser.add_argument("--logs", type=Path, help="folder for the workers' logs if it fails")
    parser.add_argument("--asks", type=Path, help="file for all calls and faults, as JSON lines")
    parser.add_argument("--quick", action="store_true", help="40 runs, for a first look")
    parser.add_argument("--throughput", action="store_true")
    parser.add_argument("--json", type=Path, help="file for the figures of --throughput")
    parser.add_argument("--paper", type=Path, help="figures of --throughput, for the model")
    options = parser.parse_args()
    options.kids = 0 if options.children == "none" else 2
    if options.quick:
        options.runs, options.every, options.rate = min(options.runs, 40), 5, 1
    return options


def main() -> int:
    """The command."""
    options = _options()
    if options.paper:
        workers_paper.show(options.paper)
        return 0
    if "cut" in options.faults and not options.throughput:
        reason = workers_network.why_not()
        if reason:
            print(f"No worker is cut off: {reason}.", file=sys.stderr)
            options.faults.remove("cut")
        else:
            workers_network.enter()
    with ExitStack() as opened:
        if options.throughput:
            workers_throughput.measure(options)
            return 0
        return campaign(options, opened)


if __name__ == "__main__":
    sys.exit(main())
