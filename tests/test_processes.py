"""Workers for hostile files: they are locked in, bounded, ended, and never left behind."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.processes import worker as workers
from langgraph_rlm.processes.pool import Pool
from langgraph_rlm.processes.worker import Bounds, Worker, WorkerFailed, WorkerRefused
from tests.jails import needs_a_jail
from tests.structure import ROOT

BOUNDS = Bounds(memory_bytes=256 << 20, folder_bytes=8 << 20, threads=8, reply_bytes=1 << 20)
MODULE = "tests.hostile_module"


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        workers, "PACKAGE", ROOT / "tests"
    )  # the worker loads a module of the tests


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    found = Worker(MODULE, BOUNDS, tmp_path)
    yield found
    found.close()


def test_it_reads_what_it_is_given_and_writes_in_its_folder(worker: Worker, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("text")
    path = worker.give(source, "a.txt")
    assert worker.ask({"do": "read", "path": path}, 5) == "text"
    assert worker.ask({"do": "write", "path": "mine"}, 5) == 5
    assert (worker.folder / "mine").read_text() == "owned"
    worker.empty()
    with pytest.raises(WorkerRefused, match="No such file"):
        worker.ask({"do": "read", "path": path}, 5)
    assert not list(worker.folder.iterdir())


@needs_a_jail
def test_it_can_neither_change_what_it_is_given_nor_leave(worker: Worker, tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("text")
    path = worker.give(source, "a.txt")
    attempts = [
        {"do": "write", "path": path},
        {"do": "write", "path": str(source)},
        {"do": "read", "path": str(source)},
        {"do": "read", "path": "/etc/passwd"},
        {"do": "read", "path": f"/proc/{os.getpid()}/environ"},
        {"do": "change", "path": path},
        {"do": "link", "path": path},
        {"do": "connect"},
        {"do": "start"},
    ]
    for attempt in attempts:
        with pytest.raises(WorkerRefused, match=r"Permission|not permitted|denied"):
            worker.ask(attempt, 5)
    assert source.read_text() == "text"
    assert worker.ask({"do": "pid"}, 5) == worker.pid  # it still answers


def test_it_knows_no_secret_of_the_host(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert "secret" not in str(worker.ask({"do": "environment"}, 5))


def test_memory_is_bounded_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerRefused) as refused:
        worker.ask({"do": "memory", "bytes": 1 << 30}, 5)
    assert refused.value.type == "MemoryError"
    assert worker.ask({"do": "memory", "bytes": 1 << 20}, 5) == 1 << 20


@pytest.mark.parametrize(
    ("request_", "seconds", "why"),
    [
        ({"do": "loop"}, 0.3, "took too long"),
        ({"do": "die"}, 5, "exit code"),
        ({"do": "disk", "bytes": 4 << 20}, 5, "its files have"),
        pytest.param({"do": "threads", "count": 20}, 5, "threads", marks=needs_a_jail),
    ],
)
def test_a_worker_that_takes_too_much_is_ended(
    worker: Worker, request_: dict[str, object], seconds: float, why: str
) -> None:
    began = time.monotonic()
    with pytest.raises(WorkerFailed, match=why):
        worker.ask(request_, seconds)
    assert time.monotonic() - began < 10
    assert not worker.is_alive
    with pytest.raises(WorkerFailed, match="had ended"):
        worker.ask({"do": "pid"}, 5)


def test_an_answer_is_bounded(worker: Worker) -> None:
    with pytest.raises(WorkerRefused, match="more than can be handed"):
        worker.ask({"do": "much", "bytes": 2 << 20}, 5)


def test_a_module_that_is_not_there_is_told() -> None:
    with pytest.raises(SandboxError, match="no_such_module"):
        Worker("tests.no_such_module", BOUNDS)


def test_a_pool_lends_the_same_worker_again_and_replaces_one_that_died() -> None:
    pool = Pool(MODULE, BOUNDS, most=1)
    with pool.worker() as worker:
        first = worker.ask({"do": "pid"}, 5)
        worker.ask({"do": "write", "path": "left"}, 5)
    with pool.worker() as worker:
        assert worker.ask({"do": "pid"}, 5) == first
        assert not list(worker.folder.iterdir())
        with pytest.raises(WorkerFailed):
            worker.ask({"do": "die"}, 5)
    with pool.worker() as worker:
        assert worker.ask({"do": "pid"}, 5) != first
    pool.release_idle()
    assert not worker.is_alive
    assert not worker.folder.exists()


def test_a_pool_has_no_more_workers_than_it_may() -> None:
    pool = Pool(MODULE, BOUNDS, most=2)
    at_work, most = 0, 0
    lock = threading.Lock()

    def use() -> None:
        nonlocal at_work, most
        with pool.worker() as worker:
            with lock:
                at_work += 1
                most = max(most, at_work)
            worker.ask({"do": "pid"}, 5)
            time.sleep(0.2)  # a start may take longer than an answer
            with lock:
                at_work -= 1

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.release_idle()
    assert most == 2


def test_workers_end_with_their_process(tmp_path: Path) -> None:
    code = (
        "from langgraph_rlm.processes import worker as w; from pathlib import Path\n"
        f"w.PACKAGE = Path({str(ROOT / 'tests')!r})\n"
        "from langgraph_rlm.processes.pool import Pool\n"
        f"pool = Pool({MODULE!r}, w.Bounds(), most=1)\n"
        "with pool.worker() as worker: print(worker.pid, worker.folder, flush=True)\n"
    )
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    pid, folder = said.split()
    assert not Path(folder).exists()
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
