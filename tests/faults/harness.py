"""Harness: starts runs in processes, kills them, resumes them, and compares what the provider saw with what had been saved.

Saved is what the database holds after the kill, in any namespace: the log entries and tool results among its pending writes.
"""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from langgraph_rlm.storage.blobs import BlobStore

from . import databases
from .provider import Asked, Provider
from .scenario import marks

RUN_SECONDS = 60
"""No run takes that long; one that does hangs."""
DELIVERY_SECONDS = 0.02
"""After a kill, for the provider to count the last requests that the dead process had sent."""


@dataclass(frozen=True)
class Kill:
    """When a process dies: at a write of its saver, after some calls, or after some seconds; never when all are None."""

    write: int | None = None
    """Counted from 1 within that process."""
    after: bool = False
    """After that write, rather than before it."""
    calls: int | None = None
    """Once the provider has seen this many more calls of the thread, and `seconds` later."""
    seconds: float = 0.0


@dataclass
class Ended:
    """How one process ended."""

    killed: bool
    result: dict[str, Any]


@dataclass
class Verdict:
    """What came of one thread that was killed and resumed until it had its answer."""

    thread: str
    kills: int = 0
    resumes: int = 0
    started_again: int = 0
    """Resumes that found nothing saved, because the kill came before the first checkpoint."""
    repeated_after_saved: list[str] = field(default_factory=list)
    """Calls that were made again although their result was saved. None are allowed."""
    repeated_in_flight: int = 0
    """Calls that were made again because the kill came before their result was saved."""
    problems: list[str] = field(default_factory=list)
    """A wrong answer, wrong usage, an error, a call that the undisturbed run does not make, a worker left behind."""
    last_seconds: float = 0.0
    """Of the last process."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.repeated_after_saved and not self.problems


class Lane:
    """One process that forks runners; one run at a time."""

    def __init__(self, folder: Path, module: str = "tests.faults.runner") -> None:
        self._log = (folder / f"lane-{random.getrandbits(32):08x}.log").open("w+b")
        environment = {**os.environ, "LANGSMITH_TRACING": "false", "PYTHONUNBUFFERED": "1"}
        self._server = subprocess.Popen(
            [sys.executable, "-m", module, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            start_new_session=True,  # a Ctrl-C is for the harness, which ends it
        )

    def start(self, arguments: list[str]) -> int:
        """Fork a run, and give its process id, which is its session's and group's too."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(arguments) + "\n")
        self._server.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """The exit code of the run, negative for a signal."""
        return int(self._line())

    def _line(self) -> str:
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        if not line:
            self._log.seek(0)
            raise RuntimeError(f"The runners' server died: {self._log.read().decode()[-2000:]}")
        return line

    def close(self) -> None:
        """End it."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(10)
        self._log.close()


class Harness:
    """Threads of the scenario in one database, one after another."""

    def __init__(
        self,
        db: str,
        folder: Path,
        provider: Provider,
        durability: str = "sync",
        sandbox: str = "monty",
    ) -> None:
        """Use as a context manager.

        Args:
            db: a URL of `databases`, for this harness alone.
            folder: takes blobs, results and logs.
            durability: LangGraph's: when checkpoints are written.
            sandbox: what runs the code.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.db = db
        self._folder = folder
        self._provider = provider
        self._durability = durability
        self._sandbox = sandbox
        self._blobs = BlobStore.open(folder / "blobs")
        self.undisturbed = f"undisturbed-{random.getrandbits(32):08x}"
        """The thread of the run that all others are compared with."""
        self.reference: dict[str, Any] = {}
        """Result of the undisturbed run; `writes` is how many moments there are to be killed at."""
        self.expected: dict[str, str] = {}
        """Kind by digest of every call that it made."""

    def __enter__(self) -> Self:
        self._lane = Lane(self._folder)
        try:
            self._refer()
        except BaseException:
            self._lane.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lane.close()

    def _refer(self) -> None:
        thread = self.undisturbed
        ended = self.run(thread)
        assert "error" not in ended.result, ended.result["error"]
        asked = self._provider.asked(thread)
        self.reference = ended.result
        self.expected = {call.digest: call.kind for call in asked}
        assert len(self.expected) == len(asked), "the scenario asks the same twice"
        assert set(self.expected) == self.saved(thread), "what was saved is not what was asked"

    def run(self, thread: str, kill: Kill | None = None, *, resume: bool = False) -> Ended:
        """One process, to its end or its death."""
        out = self._folder / "out.json"
        out.unlink(missing_ok=True)
        kill = kill or Kill()
        arguments = [
            "--db",
            self.db,
            "--store",
            str(self._folder / "blobs"),
            "--url",
            self._provider.url,
            "--thread",
            thread,
        ]
        arguments += [
            "--out",
            str(out),
            "--durability",
            self._durability,
            "--sandbox",
            self._sandbox,
            *(["--resume"] if resume else []),
        ]
        arguments += (
            ["--kill-at", str(kill.write), *(["--after"] if kill.after else [])]
            if kill.write is not None
            else []
        )
        before = len(self._provider.asked(thread))
        pid = self._lane.start(arguments)
        with self._assassin(pid, thread, before, kill):
            status = self._lane.wait()
        leftover = end_group(pid)
        if status == -signal.SIGKILL and leftover:
            raise RuntimeError(f"Workers outlived their killed run: {leftover}")
        return Ended(status == -signal.SIGKILL, json.loads(out.read_text()) if out.exists() else {})

    @contextmanager
    def _assassin(self, pid: int, thread: str, before: int, kill: Kill) -> Iterator[None]:
        """Kills the process at its moment, unless it has ended by then."""
        over = threading.Event()

        def wait_and_kill() -> None:
            if kill.calls is not None:
                until = time.monotonic() + RUN_SECONDS
                while not self._provider.wait_for(thread, before + kill.calls, 0.05):
                    if over.is_set() or time.monotonic() > until:
                        break
            limit = kill.seconds if kill.calls is not None or kill.seconds else RUN_SECONDS
            if not over.wait(limit):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

        waiting = threading.Thread(target=wait_and_kill)
        waiting.start()
        try:
            yield
        finally:
            over.set()
            waiting.join()

    def saved(self, thread: str) -> set[str]:
        """Digests of the calls whose results the database holds, at any depth."""
        databases.settle(self.db)
        found: set[str] = set()
        for checkpoint in databases.checkpoints(self.db, thread):
            for _, channel, value in checkpoint.pending_writes or ():
                replies = (
                    value.values() if channel == "log" else (value,) if channel == "reply" else ()
                )
                found |= {mark for entry in replies for mark in self._marks(entry)}
        return found

    def _marks(self, entry: Any) -> set[str]:
        """A turn's own mark, an answer's; a child's answer carries those of its calls, which were saved before it."""
        text = {"turn": entry.get("reply"), "reply": entry.get("value")}.get(entry["kind"])
        return set() if text is None else marks(self._blobs.get_text(text))

    def ordeal(self, thread: str, kills: list[Kill]) -> Verdict:
        """Run a thread, killing it at each of these moments in turn, then let it finish, and judge."""
        verdict = Verdict(thread)
        known: list[tuple[int, set[str]]] = []
        ended = self.run(thread, kills[0])
        for kill in [*kills[1:], None]:
            if not ended.killed:
                break
            verdict.kills += 1
            time.sleep(DELIVERY_SECONDS)
            known.append((len(self._provider.asked(thread)), self.saved(thread)))
            verdict.resumes += 1
            ended = self.run(thread, kill, resume=True)
            verdict.started_again += bool(ended.result.get("started_again"))
        self.judge(verdict, ended.result, known, killed=ended.killed)
        return verdict

    def judge(
        self,
        verdict: Verdict,
        result: dict[str, Any],
        known: list[tuple[int, set[str]]],
        *,
        killed: bool,
    ) -> None:
        """Compare what the provider was asked with what `known` says was saved: pairs of calls so far and digests, one for each kill."""
        asked = self._provider.asked(verdict.thread)
        for at, saved in known:
            verdict.repeated_after_saved += [
                call.digest for call in asked[at:] if call.digest in saved
            ]
        verdict.repeated_in_flight = (
            len(asked) - len({call.digest for call in asked}) - len(verdict.repeated_after_saved)
        )
        verdict.last_seconds = result.get("seconds", 0.0)
        verdict.problems += self._problems(result, asked, killed=killed)

    def _problems(
        self, result: dict[str, Any], asked: list[Asked], *, killed: bool
    ) -> Iterator[str]:
        if killed or not result:
            yield (
                f"the last process had no end within {RUN_SECONDS} s"
                if killed
                else "the last process left no result"
            )
        if "error" in result:
            yield f"error: {result['error']}"
            return
        for key in ("answer", "stop_reason", "usage"):
            if result.get(key) != self.reference[key] and not (
                key == "usage" and _same_usage(result.get(key), self.reference[key])
            ):
                yield f"wrong {key}: {result.get(key)!r}, not {self.reference[key]!r}"
        if strange := {call.digest for call in asked} ^ set(self.expected):
            yield f"calls that only one of the two runs made: {sorted(strange)}"


def _same_usage(usage: Any, expected: Any) -> bool:
    """Time differs from run to run; every count must not."""
    counts = [
        {key: value for key, value in (of or {}).items() if key != "seconds"}
        for of in (usage, expected)
    ]
    return counts[0] == counts[1]


def end_group(pid: int) -> list[str]:
    """Wait for the interpreters that a run started to end with it; end those that do not, and name them."""
    until = time.monotonic() + 5
    while members := _group(pid):
        if time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            return members
        time.sleep(0.005)
    return []


def _group(pid: int) -> list[str]:
    try:
        os.killpg(pid, 0)
    except ProcessLookupError:
        return []
    found: list[str] = []
    for process in psutil.process_iter(["pid", "name", "status"]):
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getpgid(process.pid) == pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(f"{process.info['name']} ({process.pid})")
    return found
