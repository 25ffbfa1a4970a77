"""Kill: what a kill loses of large batches, and a campaign of kills over batches.

    python benchmarks/kill.py [--reps 3]
    python benchmarks/kill.py --kills 500 [--db sqlite postgres] [--lanes 2]

The first kills runs of a batch of 1,000 calls of 50 ms, 64 at once, at their 300th and 600th call,
and counts the replies that the database does not hold. `own class` is LangGraph's saver in a class
of the user's own, which the package leaves alone: there is no group commit.

The second kills runs of two batches at any moment, most of them within a batch, and resumes each in
a new process until it has its answer. It ends with 1 when an answer is wrong, when a call is made
again whose reply had been saved, or when the ledger counts other calls than an undisturbed run's.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # run as a script or as a module

from benchmarks.kill_threads import (  # noqa: E402
    Moment,
    Threads,
    Totals,
    ordeal,
    replies_of,
    undisturbed,
)
from tests.faults.databases import CannotStart, Postgres  # noqa: E402
from tests.faults.provider import Provider  # noqa: E402

LOSS_CALLS = 1000
MOMENTS = (300, 600)
"""Calls at which a run is killed whose loss is measured."""
CAMPAIGN_CALLS = 60
KILLS_OF_A_THREAD = 12


def databases(names: list[str], folder: Path, servers: ExitStack) -> Iterator[tuple[str, str]]:
    """Give the name and the URL of each database; PostgreSQL is left out where none can start."""
    for name in names:
        if name == "sqlite":
            yield name, f"sqlite:{folder}/run.db"
            continue
        try:
            server = servers.enter_context(Postgres())
        except CannotStart as error:
            print(f"PostgreSQL is left out: {error}", file=sys.stderr)
            continue
        yield name, server.url


def one_of(url: str, lane: str) -> str:
    """Give a lane a database of its own, whose clients have its name."""
    if url.startswith("sqlite:"):
        return url.replace("run.db", f"{lane}.db")
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {lane}".encode())
    return f"{url.replace('/postgres?', f'/{lane}?')}&application_name={lane}"


def losses(options: argparse.Namespace, folder: Path, servers: ExitStack) -> None:
    """Print what kills lose."""
    provider = servers.enter_context(Provider(seconds=0.1, reply=replies_of(LOSS_CALLS)))
    sides = [(name, url, False) for name, url in databases(options.db, folder, servers)]
    if "sqlite" in options.db:
        sides.append(("sqlite, own class", f"sqlite:{folder}/own.db", True))
    print(f"load {os.getloadavg()[0]:.1f}\n")
    print("| | killed at call | answered | saved | lost |\n|---|---|---|---|---|")
    for name, url, own in sides:
        place = folder / name
        with closing(
            Threads(one_of(url, "loss"), place, provider, calls=LOSS_CALLS, at_once=64, own=own)
        ) as threads:
            for moment in MOMENTS:
                rows = [_lost(threads, moment) for _ in range(options.reps)]
                shown = [f"{statistics.median(column):g}" for column in zip(*rows, strict=True)]
                print(f"| {name} | {moment} | {' | '.join(shown)} |", flush=True)


def _lost(threads: Threads, moment: int) -> tuple[int, int, int]:
    ended = threads.run(f"loss-{random.getrandbits(40):010x}", Moment(calls=moment))
    assert ended.killed is not None, ended.result
    answered = ended.killed.answered
    saved = answered & ended.killed.saved
    return len(answered), len(saved), len(answered) - len(saved)


def campaign(options: argparse.Namespace, folder: Path, servers: ExitStack) -> int:
    """Kill so many times on each database, and print the totals.

    Returns:
        The exit code.
    """
    provider = servers.enter_context(Provider(seconds=0.06, reply=replies_of(CAMPAIGN_CALLS)))
    has_failed = False
    for name, url in databases(options.db, folder, servers):
        began = time.monotonic()
        totals = _in_lanes(options, url, folder / name, provider)
        print(f"\n{name}: {time.monotonic() - began:.0f} s, seed {options.seed}")
        for what, count in totals.counts.items():
            print(f"  {what:32} {count:8,}")
        print("\n".join(totals.problems), end="")
        broken = any(count for what, count in totals.counts.items() if what.isupper())
        has_failed = has_failed or broken or bool(totals.problems)
    return int(has_failed)


def _in_lanes(options: argparse.Namespace, url: str, folder: Path, provider: Provider) -> Totals:
    totals, lock = Totals(), threading.Lock()

    def lane(number: int) -> None:
        rng = random.Random(options.seed + number)
        db = one_of(url, f"lane{number}")
        place = folder / f"lane{number}"
        with closing(
            Threads(db, place, provider, calls=CAMPAIGN_CALLS, at_once=16, own=False)
        ) as threads:
            reference = undisturbed(threads)
            while (left := options.kills - totals.counts["kills"]) > 0:
                came = ordeal(threads, reference, min(KILLS_OF_A_THREAD, left), rng)
                with lock:
                    totals.add(came)

    def guarded(number: int) -> None:
        try:
            lane(number)
        except Exception as error:  # noqa: BLE001 - a thread's edge: the campaign fails with it
            with lock:
                totals.problems.append(f"lane {number}: {error!r}")

    lanes = [threading.Thread(target=guarded, args=(number,)) for number in range(options.lanes)]
    for each in lanes:
        each.start()
    for each in lanes:
        each.join()
    return totals


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=0, help="how many, on each database")
    parser.add_argument("--db", nargs="+", choices=("sqlite", "postgres"))
    parser.add_argument("--lanes", type=int, default=2, help="threads at work at once")
    parser.add_argument("--reps", type=int, default=3, help="of each kill that measures a loss")
    parser.add_argument("--seed", type=int, default=random.getrandbits(30))
    parser.add_argument("--package", type=Path, default=ROOT, help="another checkout")
    options = parser.parse_args()
    options.db = options.db or ["sqlite", "postgres"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # a server that it started ends too
    os.environ["PYTHONPATH"] = os.pathsep.join([str(options.package.resolve()), str(ROOT)])
    os.environ["PYTHONSAFEPATH"] = "1"  # the current folder must not hide the other checkout
    with tempfile.TemporaryDirectory() as folder, ExitStack() as servers:
        if options.kills:
            return campaign(options, Path(folder), servers)
        losses(options, Path(folder), servers)
    return 0


if __name__ == "__main__":
    sys.exit(main())
