"""Hostile programs on Monty: each ends in an outcome, gets nothing, and leaves the host as it was."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from langgraph_rlm.repl.base import (
    CellError,
    Finished,
    Outcome,
    Returned,
    SandboxCrashed,
    Suspended,
)
from langgraph_rlm.repl.contract.check import Opener, run
from langgraph_rlm.repl.monty import MontyBackend
from langgraph_rlm.repl.watch import Watch

from .hostile_monty import ROWS, Row
from .hostile_monty.row import ENDS_WORKER, ERRORS

SECRET = "s3cret-of-the-host"
SECONDS = 0.5
"""The time of a cell that nothing else stops."""
PATIENCE = 20.0
"""The time of any other cell, on a slow machine."""
MAX_CALLS = 20
GROWTH = 256 << 20
"""Most bytes that the host's memory may grow by, over all rows."""
SOON = {"while", "own repr", "asyncio sleep"}
"""Of the rows that take their time, those that run in every test."""


@pytest.fixture(scope="module")
def backend() -> Iterator[MontyBackend]:
    """The host of all rows: it ends with no worker and with little more memory."""
    this = psutil.Process()
    memory, children = this.memory_info().rss, {child.pid for child in this.children()}
    made = MontyBackend()
    yield made
    made.close()
    assert {child.pid for child in this.children()} <= children
    assert this.memory_info().rss - memory < GROWTH


@pytest.fixture
def secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What programs are after: a file of the host, and a variable of its environment."""
    monkeypatch.setenv("RLM_HOSTILE_SECRET", SECRET)
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


def outcome(session: Any, code: str, seconds: float) -> Finished | None:
    """How a cell ends, of whose calls each is answered with code; None when its worker is gone."""

    def timed(step: Callable[[], Any]) -> Any:
        with Watch(session, seconds):
            return step()

    try:
        prepared = timed(lambda: session.prepare(code))
        if isinstance(prepared, CellError):
            return Finished("", error=prepared, ran=False)
        found: Outcome = timed(lambda: session.feed(prepared))
        for _ in range(MAX_CALLS):
            if isinstance(found, Finished):
                return found
            assert isinstance(found, Suspended)
            assert found.call.function in ("llm_query", "FINAL")
            found = timed(lambda: session.resume(Returned("1 + 1")))
        session.kill()
    except SandboxCrashed:
        pass
    return None


def check(row: Row, found: Finished) -> None:
    """A cell ended as its row says, and what it gives has nothing of what it was after."""
    kind = None if found.error is None else found.error.type
    assert (kind is None) == (row.stop == "itself"), found
    assert kind in ERRORS.get(row.stop, {kind}), found
    if row.stop == "refused":
        assert not found.ran
    told = f"{found.stdout[:10_000]} {str(found.value)[:10_000]} {found.error}"
    assert SECRET not in told
    assert "root:x:" not in told


def marked(row: Row) -> Any:
    is_slow = row.stop == "time" and row.name not in SOON
    return pytest.param(row, id=row.id, marks=[pytest.mark.slow] if is_slow else [])


@pytest.mark.parametrize("row", [marked(row) for row in ROWS])
def test_a_hostile_program_gets_nothing(row: Row, backend: MontyBackend, secret: Path) -> None:
    with Opener(backend) as opener:
        session: Any = opener(functions=frozenset({"llm_query", "FINAL"}))
        run(session, f"SECRET_FILE, HOST_PID = {str(secret)!r}, {os.getpid()}")
        found = outcome(session, row.program, SECONDS if row.stop == "time" else PATIENCE)
        if found is None:
            assert row.stop in ENDS_WORKER
        else:
            check(row, found)
            after, _ = run(session, "1 + 1")
            is_full = after.error is not None and after.error.type == "MemoryError"
            assert after.value == 2 or (row.stop == "memory" and is_full)
    assert secret.read_text() == SECRET
    assert not Path("/tmp/hostile_monty").exists()


def test_there_are_enough_rows_and_each_has_a_name_of_its_own() -> None:
    assert len(ROWS) >= 150
    assert [name for name, times in Counter(row.id for row in ROWS).items() if times > 1] == []
