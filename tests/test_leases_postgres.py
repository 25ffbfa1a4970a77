"""One run of a thread at a time over PostgreSQL, whatever machine it is on: rows that end unless they are renewed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from langgraph_rlm import ConfigurationError, ThreadBusyError, ThreadTakenOverError, aforget
from langgraph_rlm.history.prune import aprune
from langgraph_rlm.pregel.leases import database_of, is_leased, lease
from langgraph_rlm.testing import ScriptedModel

from .faults.databases import CannotStart, Postgres, checkpoints, open_saver, settle
from .faults.provider import Provider
from .faults.scenario import digest_of
from .lease_process import ANSWER, IN_FLIGHT, ITEMS, open_pool, reply_to
from .models import rlm, root, thread

FOLDER = Path(__file__).parent.parent
FAR = "11111111-2222-3333-4444-555555555555 4026531836 12 34"
"""A process on another machine."""
SECONDS = "1.5"
"""How long leases last here."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    try:
        postgres = Postgres()
    except CannotStart as error:
        pytest.skip(str(error))
    with postgres:
        yield postgres


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_LEASE_SECONDS", SECONDS)


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(seconds=0.4, reply=reply_to) as running:
        yield running


class Worker:
    """A process that runs a thread."""

    def __init__(self, pid: int, out: Path) -> None:
        self._process = psutil.Process(pid)
        self._out = out

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> dict[str, Any]:
        """How it ended; nothing where it was killed."""
        self._process.wait(60)
        return json.loads(self._out.read_text()) if self._out.exists() else {}

    def close(self) -> None:
        with suppress(psutil.NoSuchProcess):
            self._process.kill()


Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.lease_process"]
    environment = {**os.environ, "LANGGRAPH_RLM_LEASE_SECONDS": SECONDS}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=FOLDER, env=environment, text=True, **pipes) as process:
        yield process
        process.communicate()


@pytest.fixture
def start(
    forks: subprocess.Popen[str], server: Postgres, provider: Provider, tmp_path: Path
) -> Iterator[Start]:
    """Starts workers of the test's own thread."""
    with ExitStack() as until_done:
        numbers = count()

        def begin(**given: Any) -> Worker:
            out = tmp_path / f"{next(numbers)}.json"
            own = {"db": server.url_for("lease"), "store": str(tmp_path), "url": provider.url, "out": str(out)}
            assert forks.stdin is not None and forks.stdout is not None
            print(json.dumps({**own, "thread": tmp_path.name, **given}), file=forks.stdin, flush=True)
            worker = Worker(int(forks.stdout.readline()), out)
            until_done.callback(worker.close)
            return worker

        yield begin


def rows(server: Postgres) -> list[Any]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        try:
            return connection.execute("SELECT thread_id, token FROM langgraph_rlm_leases").fetchall()
        except psycopg.errors.UndefinedTable:
            return []


def do(server: Postgres, sql: str, *values: Any) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql, values)  # pyright: ignore[reportArgumentType]


def put_row(server: Postgres, thread: str, seconds: float, run: str | None = None) -> None:
    """Have somebody on another machine hold a thread."""
    do(
        server,
        "INSERT INTO langgraph_rlm_leases VALUES (%s, 'far', %s, %s, now() + make_interval(secs => %s))",
        *(thread, FAR, run, seconds),
    )


def saved_items(server: Postgres, thread: str) -> set[str]:
    """The digests of the calls whose answers are in the database."""
    found = re.findall(r"<(item \d+)>", str([each.pending_writes for each in checkpoints(server.url, thread)]))
    return {digest_of([{"content": item, "role": "user"}]) for item in found}


def asked_since(provider: Provider, thread: str, before: int = 0) -> Counter[str]:
    return Counter(call.digest for call in provider.asked(thread)[before:])


# --- processes that die


@pytest.mark.parametrize("more", [{}, {"connections": 1}, {"sync": True}], ids=str)
def test_a_killed_process_is_followed_at_once_on_its_machine(
    start: Start, server: Postgres, provider: Provider, tmp_path: Path, more: Any
) -> None:
    """Its lease has not ended, but the holder is known to be gone. Nothing saved is asked again, and no row stays."""
    name = tmp_path.name
    first = start(**more)
    assert provider.wait_for(name, 12, 60)
    do(server, "UPDATE langgraph_rlm_leases SET expires_at = now() + interval '1 hour'")
    first.send(signal.SIGKILL)
    first.ended()
    settle(server.url_for("lease"))
    saved, before = saved_items(server, name), len(provider.asked(name))
    done = start(resume=True, **more).ended()
    assert done["answer"] == ANSWER
    assert done["usage"]["sub_calls"] == ITEMS
    assert saved and not saved & asked_since(provider, name, before).keys()
    assert not rows(server)


def test_a_process_that_died_on_another_machine_is_followed_when_its_lease_ends(
    start: Start, server: Postgres, provider: Provider, tmp_path: Path
) -> None:
    first = start()
    assert provider.wait_for(tmp_path.name, 12, 60)
    first.send(signal.SIGKILL)
    first.ended()
    do(
        server,
        "UPDATE langgraph_rlm_leases SET holder = %s, expires_at = now() + interval '5 s'",
        FAR,
    )
    began = time.monotonic()
    done = start(resume=True).ended()
    assert done["answer"] == ANSWER
    assert time.monotonic() - began > 4.5


# --- processes that are stopped, and come back


@pytest.mark.parametrize("during", [False, True], ids=["after", "during"])
def test_a_stopped_process_that_comes_back_neither_writes_nor_asks(
    start: Start, server: Postgres, provider: Provider, tmp_path: Path, during: bool
) -> None:
    """While another one works on the thread, or after it: what the first one had in flight is lost, and nothing else."""
    name = tmp_path.name
    first = start()
    assert provider.wait_for(name, 12, 60)
    first.send(signal.SIGSTOP)
    time.sleep(0.5)  # for what it had sent to be counted
    before, kept = len(provider.asked(name)), saved_items(server, name)
    second = start(resume=True)
    if during:
        assert provider.wait_for(name, before + 4, 60)
        first.send(signal.SIGCONT)
    done = second.ended()
    assert done["answer"] == ANSWER
    asked, saved = provider.asked(name), checkpoints(server.url, name)
    first.send(signal.SIGCONT)
    lost = first.ended()
    assert lost["error"] == "ThreadTakenOverError"
    assert len(provider.asked(name)) == len(asked)
    assert checkpoints(server.url, name) == saved
    assert done["usage"]["sub_calls"] == ITEMS
    assert kept and not kept & asked_since(provider, name, before).keys()
    assert max(asked_since(provider, name, before).values()) == 1
    assert not rows(server)
