"""Kill threads: runs threads of batches in processes, kills these, resumes them, and judges.

Saved is what the database holds in any form: replies carry marks, which are looked for in its
bytes. So it does not depend on how the package lays a batch out.
"""

import json
import os
import random
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.kill_runner import TURNS, program
from tests.faults.databases import settle
from tests.faults.harness import Lane, end_group
from tests.faults.provider import Asked, Provider
from tests.faults.scenario import digest_of

HANGS_AFTER = 120
"""Seconds."""
DELIVERY_SECONDS = 0.03
"""After a kill, for the provider to count the last requests that the dead process had sent."""
SHARE_BY_TIME = 0.25
"""So many of the kills come at a moment that has nothing to do with calls."""


def replies_of(calls: int) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    """Make the model: it replies with a cell of the program, or with a prompt's own mark."""
    cells = program(calls)

    def reply(messages: Sequence[Mapping[str, Any]]) -> str:
        mark = f"[{digest_of(messages)}]"
        if messages[0]["role"] != "system":
            return mark
        turn = sum(message["role"] == "assistant" for message in messages)
        return f"{mark}\n```repl\n{cells[turn]}\n```"

    return reply


@dataclass(frozen=True)
class Moment:
    """When a process dies: once it has made so many calls, and so many seconds later."""

    calls: int = 0
    seconds: float = 0.0


@dataclass
class Killed:
    """What was true when a process died."""

    asked: int
    """Calls of the thread so far."""
    answered: set[str]
    """Calls of this process whose reply had been written."""
    saved: set[str]


@dataclass
class Ended:
    """How one process ended."""

    killed: Killed | None
    result: dict[str, Any]


class Threads:
    """Threads of one size in one database, one process at a time."""

    def __init__(
        self, db: str, folder: Path, provider: Provider, *, calls: int, at_once: int, own: bool
    ) -> None:
        """Start what forks the processes.

        Args:
            db: a URL of `tests/faults/databases.py`.
            folder: takes blobs, results and logs.
            provider: the model server.
            calls: of each of the two batches.
            at_once: calls in flight.
            own: whether the saver is of a class of the user's own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.db = db
        self.calls = calls
        self.provider = provider
        self._folder = folder
        self._options = ["--calls", str(calls), "--at-once", str(at_once)]
        self._options += ["--own"] if own else []
        self._lane = Lane(folder, "benchmarks.kill_runner")

    def close(self) -> None:
        """End what forks."""
        self._lane.close()

    def run(self, thread: str, moment: Moment | None, *, resume: bool = False) -> Ended:
        """Run one process to its end, or to its death at a moment."""
        out = self._folder / f"{thread}.json"
        given = {"--db": self.db, "--store": str(self._folder / "blobs"), "--out": str(out)}
        given |= {"--url": self.provider.url, "--thread": thread}
        arguments = [text for pair in given.items() for text in pair]
        arguments += [*self._options, *(["--resume"] if resume else [])]
        before = len(self.provider.asked(thread))
        pid = self._lane.start(arguments)
        killer = Killer(self.provider, thread, pid, moment or Moment(seconds=HANGS_AFTER))
        status = self._lane.wait()
        died_at = killer.over()
        end_group(pid)
        if status == -signal.SIGKILL and died_at is not None:
            return Ended(self._seen(thread, before, died_at), {})
        result = json.loads(out.read_text()) if out.exists() else {"error": f"ended with {status}"}
        return Ended(None, result)

    def _seen(self, thread: str, before: int, died_at: float) -> Killed:
        time.sleep(DELIVERY_SECONDS)
        asked = self.provider.asked(thread)
        own = asked[before:]
        answered = {call.digest for call in own if call.replied and call.replied <= died_at}
        return Killed(len(asked), answered, self.saved(thread))

    def saved(self, thread: str) -> set[str]:
        """Give the digests of the calls whose replies the database holds."""
        settle(self.db)
        rows = _sqlite_rows if self.db.startswith("sqlite:") else _postgres_rows
        found: set[str] = set()
        for value in rows(self.db, thread):
            found |= {mark.decode() for mark in re.findall(rb"\[([0-9a-f]{16})\]", bytes(value))}
        return found


def _sqlite_rows(db: str, thread: str) -> list[Any]:
    path = Path(db.removeprefix("sqlite:"))
    if not path.exists():
        return []
    with closing(sqlite3.connect(path)) as database:
        try:
            query = (
                "SELECT value FROM writes WHERE thread_id = :thread UNION ALL "
                "SELECT checkpoint FROM checkpoints WHERE thread_id = :thread"
            )
            return [row[0] for row in database.execute(query, {"thread": thread}) if row[0]]
        except sqlite3.OperationalError:  # the process died before it had made its tables
            return []


def _postgres_rows(db: str, thread: str) -> list[Any]:
    import psycopg

    query = (
        "SELECT blob FROM checkpoint_writes WHERE thread_id = %(thread)s UNION ALL "
        "SELECT blob FROM checkpoint_blobs WHERE thread_id = %(thread)s"
    )
    with psycopg.connect(db) as database:
        try:
            return [row[0] for row in database.execute(query, {"thread": thread}) if row[0]]
        except psycopg.errors.UndefinedTable:
            return []


class Killer:
    """Kills a process at its moment, unless it has ended by then."""

    def __init__(self, provider: Provider, thread: str, pid: int, moment: Moment) -> None:
        self._provider = provider
        self._thread = thread
        self._pid = pid
        self._moment = moment
        self._until = len(provider.asked(thread)) + moment.calls
        self._is_over = threading.Event()
        self._died_at: float | None = None
        self._waiting = threading.Thread(target=self._wait_and_kill)
        self._waiting.start()

    def over(self) -> float | None:
        """Note that the process has ended, and give when it was killed, if it was."""
        self._is_over.set()
        self._waiting.join()
        return self._died_at

    def _wait_and_kill(self) -> None:
        while not self._provider.wait_for(self._thread, self._until, 0.05):
            if self._is_over.is_set():
                return
        if not self._is_over.wait(self._moment.seconds):
            self._died_at = time.monotonic()
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)


@dataclass
class Totals:
    """What came of all threads."""

    counts: Counter[str] = field(default_factory=Counter[str])
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Totals") -> None:
        """Add another's."""
        self.counts.update(other.counts)  # as zeros are told too, which `+=` drops
        self.problems += other.problems


@dataclass(frozen=True)
class Reference:
    """An undisturbed run, with which others are compared."""

    result: dict[str, Any]
    expected: frozenset[str]
    seconds: float


def undisturbed(threads: Threads) -> Reference:
    """Run once without a kill, and check that what was asked is what is found saved."""
    thread = f"undisturbed-{random.getrandbits(32):08x}"
    began = time.monotonic()
    ended = threads.run(thread, None)
    seconds = time.monotonic() - began
    assert "error" not in ended.result, ended.result["error"]
    expected = frozenset(call.digest for call in threads.provider.asked(thread))
    assert len(expected) == 2 * threads.calls + TURNS, len(expected)
    assert expected == threads.saved(thread), "marks of replies are not found in the database"
    return Reference(ended.result, expected, seconds)


def ordeal(threads: Threads, reference: Reference, most: int, rng: random.Random) -> Totals:
    """Run one thread and kill it again and again, at most `most` times, until it has its answer."""
    thread = f"thread-{rng.getrandbits(40):010x}"
    kills: list[Killed] = []
    ended = threads.run(thread, _moment(reference, kills, rng))
    while ended.killed is not None:
        kills.append(ended.killed)
        moment = _moment(reference, kills, rng) if len(kills) < most else None
        ended = threads.run(thread, moment, resume=True)
    return judged(reference, threads.provider.asked(thread), kills, ended.result)


def _moment(reference: Reference, kills: Sequence[Killed], rng: random.Random) -> Moment:
    if rng.random() < SHARE_BY_TIME:
        return Moment(seconds=rng.uniform(0, reference.seconds))
    left = len(reference.expected) - (len(kills[-1].saved) if kills else 0)
    return Moment(calls=rng.randint(1, max(left, 1)), seconds=rng.uniform(0, 0.03))


def judged(
    reference: Reference, asked: Sequence[Asked], kills: Sequence[Killed], result: dict[str, Any]
) -> Totals:
    """Compare what the provider was asked with what was saved at each kill, and count."""
    totals = Totals()
    counts = totals.counts
    seen = [call.digest for call in asked]
    usage = result.get("usage", {})
    counts["runs"] += 1
    counts["kills"] += len(kills)
    counts["calls answered"] += sum(call.replied is not None for call in asked)
    counts["calls asked again"] += len(seen) - len(set(seen))
    paid = set[str]()
    ends = [*[killed.asked for killed in kills], len(seen)][1:]
    for killed, end in zip(kills, ends, strict=True):
        lost = killed.answered - killed.saved
        paid |= lost
        counts["answered, and saved at the kill"] += len(killed.answered & killed.saved)
        counts["answered, not saved at the kill"] += len(lost)
        counts["answered and asked again"] += sum(one in paid for one in seen[killed.asked : end])
        counts["SAVED AND ASKED AGAIN"] += sum(one in killed.saved for one in seen[killed.asked :])
    if result.get("error"):
        totals.problems.append(result["error"])
    checks = {
        "WRONG ANSWERS": all(result.get(key) == reference.result[key] for key in SAME),
        "STRANGE CALLS": set(seen) == reference.expected,
        "LEDGERS THAT DIFFER": all(usage.get(key) == reference.result["usage"][key] for key in OF),
        "BUDGETS OVER": usage.get("sub_calls", 0) <= len(reference.expected) - TURNS,
    }
    for name, holds in checks.items():
        counts[name] += not holds
        if not holds:
            totals.problems.append(f"{name}: {json.dumps(result)[:500]}")
    return totals


SAME = ("answer", "stop_reason")
OF = ("sub_calls", "model_calls", "input_tokens", "output_tokens", "turns")
