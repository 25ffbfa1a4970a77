"""Harness: starts the mock server and one worker at a time, and watches the worker's memory.

The memory is that of the worker and of all processes that it starts.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import psutil
from dialects import program_for, python_of
from mock_server import Call, Program
from worker import PEERS, Job, Report

HERE = Path(__file__).parent
BEFORE = "before/"
"""Sides of the package of another checkout begin with it."""

SAMPLE_SECONDS = 0.01
SAMPLES_PER_LOOK = 5
"""New processes are looked for less often than memory is read: it costs more."""


class Sample(TypedDict):
    """One run of one side: what the worker says, what the mock saw, what is left on disk."""

    report: Report
    calls: list[Call]
    peak_mb: float
    """Most resident memory of all its processes together, in 10**6 bytes; 0 if not watched."""
    db_bytes: int
    """The SQLite file with its journal, after the run."""
    store_bytes: int
    """The blob store, its context included."""
    load: float
    """Of the machine before the run: processes that ran or waited, over the last minute."""


class Mock:
    """A running mock server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def set_program(self, program: Program) -> None:
        """Set what it answers from now on."""
        body = json.dumps(program).encode()
        request = urllib.request.Request(f"{self.url}/program", body, method="PUT")
        self._opener.open(request).close()

    def calls(self) -> list[Call]:
        """Give the calls since the program was set."""
        with self._opener.open(f"{self.url}/calls") as reply:
            return json.load(reply)


@contextmanager
def mock_server() -> Iterator[Mock]:
    """Run a mock server in a process of its own, which ends with the block."""
    process = subprocess.Popen(
        [sys.executable, HERE / "mock_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Mock(int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Work:
    """What one run does, whatever its side."""

    program: Program
    answer: str
    """What every side must answer."""
    mb: float = 10
    at_once: int = 16
    is_watched: bool = False
    """Whether memory is sampled: it costs some CPU."""
    timeout: float = 600
    """Seconds."""
    task: str = ""
    """See `Job`: what runs instead of the program."""
    size: int = 0
    """Of the task."""
    sandbox: str = "auto"
    """Where code runs: by default where it runs for users."""
    javascript: tuple[str, ...] = ()
    """The program for an agent whose code is JavaScript; see `dialects.py`."""


@dataclass(frozen=True)
class Surroundings:
    """What runs may use beside the mock server."""

    mock: Mock
    package: Path | None = None
    """Another checkout of the package, for sides that begin with `before/`."""
    peers: Path | None = None
    """The folder with the peers' virtual environments."""
    postgres: str = ""
    """A PostgreSQL server; empty where there is none."""


def run_once(around: Surroundings, work: Work, side: str) -> Sample:
    """Run one side in a fresh process with an empty store.

    Raises:
        RuntimeError: it fails, or answers something else.
    """
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-bench-") as folder:
        around.mock.set_program(program_for(side, work.program, work.javascript))
        job = Job(
            side=side.removeprefix(BEFORE),
            task=work.task,
            size=work.size,
            mb=work.mb,
            at_once=work.at_once,
            sandbox=work.sandbox,
            url=f"{around.mock.url}/v1" if work.program["turns"] else "",
            folder=folder,
            postgres=around.postgres,
        )
        load = os.getloadavg()[0]
        report, peak = _in_new_process(around, side, job, work)
        if report["answer"] != work.answer:
            raise RuntimeError(
                f"{side} answered {report['answer'][:200]!r}, expected {work.answer!r}."
            )
        return Sample(
            report=report,
            calls=around.mock.calls(),
            peak_mb=peak,
            db_bytes=_size(Path(folder).glob("run.db*")),
            store_bytes=_size(Path(folder, "blobs").rglob("*")),
            load=load,
        )


def _in_new_process(around: Surroundings, side: str, job: Job, work: Work) -> tuple[Report, float]:
    process = subprocess.Popen(
        [_python(around, side), HERE / "worker.py", json.dumps(job)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(around, side),
    )
    memory = Memory(process.pid) if work.is_watched else None
    try:
        out, err = process.communicate(timeout=work.timeout)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{side} had no end within {error.timeout:g} s.") from None
    finally:
        _end(process)
        peak = memory.stop() if memory else 0.0
    if process.returncode != 0 or not out:
        raise RuntimeError(f"{side} ended with {process.returncode}:\n{err[-2000:]}")
    return json.loads(out.splitlines()[-1]), peak


def _python(around: Surroundings, side: str) -> str:
    if side in PEERS and around.peers is not None:
        return str(python_of(around.peers, side))
    return sys.executable


def _environment(around: Surroundings, side: str) -> dict[str, str]:
    """Give a worker the package of the checkout that its side is of; peers have their own."""
    environment = os.environ | {"LANGSMITH_TRACING": "false", "PYTHONWARNINGS": "ignore"}
    checkout = around.package if side.startswith(BEFORE) else HERE.parent
    environment.pop("PYTHONPATH", None)
    return environment if side in PEERS else environment | {"PYTHONPATH": str(checkout)}


def _end(process: subprocess.Popen[str]) -> None:
    """End a worker that hangs, and all that it has started."""
    if process.poll() is None:
        with suppress(psutil.Error):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.communicate()


class Memory:
    """Samples the resident memory of a process and of all that it starts."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._peak = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        """End sampling, and give the peak in 10**6 bytes."""
        self._stopped.set()
        self._thread.join()
        return self._peak / 1e6

    def _watch(self) -> None:
        tree: list[Any] = [self._root]
        count = 0
        while not self._stopped.wait(SAMPLE_SECONDS):
            if count % SAMPLES_PER_LOOK == 0:
                with suppress(psutil.Error):
                    tree = [self._root, *self._root.children(recursive=True)]
            self._peak = max(self._peak, sum(map(_resident, tree)))
            count += 1


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _size(files: Iterator[Path]) -> int:
    return sum(file.stat().st_size for file in files if file.is_file())
