"""Campaign: the long form. Kills at every write of the saver, and at random moments until there are enough, on both databases.

    python -m tests.faults.campaign --kills 500

It prints the figures as it goes and a table at the end, and ends with 1 when a call was made again after its result had been saved, or
anything else was wrong, or there were fewer kills. Ctrl-C or SIGTERM ends it early: the threads under way are judged first, and no kill is lost
from the table.
"""

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from langgraph_rlm.repl import SANDBOXES

from .databases import Postgres
from .harness import Harness, Kill, Verdict
from .provider import Provider

Plan = list[list[Kill]]
"""One list of kills for each thread."""


@dataclass
class Tally:
    """What a campaign has done on one database."""

    database: str
    boundaries: int = 0
    """Kills at a write of the saver."""
    random: int = 0
    """Kills at any other moment."""
    verdicts: list[Verdict] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in zip(HEADER, self.row(), strict=True))

    def row(self) -> list[object]:
        """Of the table."""
        total = sum(verdict.kills for verdict in self.verdicts)
        wrong = sum(bool(verdict.problems) for verdict in self.verdicts)
        repeated = sum(len(verdict.repeated_after_saved) for verdict in self.verdicts)
        in_flight = sum(verdict.repeated_in_flight for verdict in self.verdicts)
        resumed = sum(verdict.resumes for verdict in self.verdicts)
        fresh = sum(verdict.started_again for verdict in self.verdicts)
        return [
            self.database,
            len(self.verdicts),
            total,
            self.boundaries,
            self.random,
            resumed,
            fresh,
            repeated,
            wrong,
            in_flight,
        ]


HEADER = [
    "database",
    "threads",
    "kills",
    "at a write",
    "random",
    "resumes",
    "of nothing saved",
    "repeated after saved",
    "wrong",
    "repeated in flight",
]


class Campaign:
    """Runs ordeals on several databases at once, one thread of execution for each."""

    def __init__(self, note: Callable[[str], None] = lambda _: None) -> None:
        self.tallies: list[Tally] = []
        self._note = note
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Start no more threads; those under way are still judged."""
        self._stopped.set()

    @property
    def kills(self) -> int:
        """Kills so far."""
        with self._lock:
            return sum(tally.boundaries + tally.random for tally in self.tallies)

    def random_kills_of(self, database: str) -> int:
        """Random kills so far on one database."""
        with self._lock:
            return sum(tally.random for tally in self.tallies if tally.database == database)

    @property
    def failures(self) -> list[Verdict]:
        """Threads with anything wrong."""
        return [
            verdict for tally in self.tallies for verdict in tally.verdicts if not verdict.is_clean
        ]

    def run(
        self, harnesses: dict[str, Harness], plans: Callable[[str, Harness], Iterator[list[Kill]]]
    ) -> None:
        """Go through the plans of all harnesses at once.

        Args:
            harnesses: by the name of their database.
            plans: the kills of each thread, by name and harness.
        """
        with ThreadPoolExecutor(len(harnesses)) as workers:
            for done in [
                workers.submit(self._work, name, harness, plans)
                for name, harness in harnesses.items()
            ]:
                done.result()

    def _work(
        self, name: str, harness: Harness, plans: Callable[[str, Harness], Iterator[list[Kill]]]
    ) -> None:
        tally = Tally(name)
        with self._lock:
            self.tallies.append(tally)
        with harness:
            for number, kills in enumerate(plans(name, harness)):
                if self._stopped.is_set():
                    break
                verdict = harness.ordeal(f"{name}-{number}", kills)
                with self._lock:
                    tally.verdicts.append(verdict)
                    at_a_write = sum(kill.write is not None for kill in kills[: verdict.kills])
                    tally.boundaries += at_a_write
                    tally.random += verdict.kills - at_a_write
                if not verdict.is_clean:
                    self._note(f"{kills} {verdict}")
                if number % 10 == 9:
                    self._note(f"{time.strftime('%H:%M:%S')} {tally}")

    def table(self) -> str:
        """The figures, by database."""
        rows = [
            HEADER,
            *(tally.row() for tally in sorted(self.tallies, key=lambda tally: tally.database)),
        ]
        widths = [max(len(str(row[column])) for row in rows) for column in range(len(HEADER))]
        return "\n".join(
            " | ".join(str(cell).rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows
        )


def random_kills(harness: Harness, chance: random.Random) -> list[Kill]:
    """One to five kills of a thread: after some seconds, or some calls and a moment."""
    seconds, calls = harness.reference["seconds"], len(harness.expected)
    kills: list[Kill] = []
    for _ in range(chance.randint(1, 5)):
        if chance.random() < 0.5:
            kills.append(Kill(seconds=chance.uniform(0.05, seconds)))
        else:
            kills.append(
                Kill(calls=chance.randint(1, calls // 2), seconds=chance.uniform(0.0, 0.05))
            )
    return kills


def harnesses_in(
    folder: Path,
    provider: Provider,
    postgres: Postgres | None,
    durability: str = "sync",
    sandbox: str = "monty",
) -> dict[str, Harness]:
    """One harness for each database, by its name."""
    found = {
        "SQLite": Harness(
            f"sqlite:{folder}/threads.db", folder / "sqlite", provider, durability, sandbox
        )
    }
    if postgres is not None:
        found["PostgreSQL"] = Harness(
            postgres.url_for("faults"), folder / "postgresql", provider, durability, sandbox
        )
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=500, help="at least so many in all")
    parser.add_argument(
        "--random",
        type=int,
        default=150,
        help="at least so many of them at random moments, half on each database",
    )
    parser.add_argument(
        "--both",
        action="store_true",
        help="before AND after every write on each database, not one each",
    )
    parser.add_argument("--every", type=int, default=1, help="kill at every N-th write only")
    parser.add_argument("--durability", default="sync", choices=["sync", "async"])
    parser.add_argument("--sandbox", default="monty", choices=list(SANDBOXES))
    parser.add_argument("--seed", type=int, default=random.getrandbits(32))
    args = parser.parse_args()
    print(f"seed {args.seed}", flush=True)
    campaign, began = Campaign(lambda line: print(line, flush=True)), time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: campaign.stop())

    def plans(name: str, harness: Harness) -> Iterator[list[Kill]]:
        chance = random.Random(f"{args.seed} {name}")
        for write in range(1, harness.reference["writes"] + 1, args.every):
            for after in (False, True) if args.both else (name == "SQLite",):
                yield [Kill(write=write, after=after)]
        while campaign.kills < args.kills or campaign.random_kills_of(name) * 2 < args.random:
            yield random_kills(harness, chance)

    with (
        tempfile.TemporaryDirectory(prefix="rlm-faults-") as folder,
        Provider() as provider,
        Postgres() as postgres,
    ):
        harnesses = harnesses_in(Path(folder), provider, postgres, args.durability, args.sandbox)
        campaign.run(harnesses, plans)
    print(campaign.table())
    print(
        f"{campaign.kills} kills in {time.monotonic() - began:.0f} s; {len(campaign.failures)} threads with anything wrong.",
        flush=True,
    )
    return 1 if campaign.failures or campaign.kills < args.kills else 0


if __name__ == "__main__":
    sys.exit(main())
