"""Hostile programs in `sandbox="python"`: each is stopped by what its row says, and nothing outside notices."""

import os
import resource
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psutil
import pytest

from langgraph_rlm.processes.jail_calls import FREE, OWN, RULED, numbers
from langgraph_rlm.repl.base import Finished, Returned, SandboxCrashed, Session, Suspended
from langgraph_rlm.repl.contract.check import SPEC
from langgraph_rlm.repl.python import PythonBackend
from tests.jails import needs_a_jail

from . import border, files, floods, kernel, network, processes
from .guest import FIND_SOCKET, PRELUDE
from .row import ENDS_PROCESS, REFUSALS, Row
from .target import SECRET, Target

pytestmark = [needs_a_jail, pytest.mark.timeout(300)]

ROWS = [*files.ROWS, *network.ROWS, *processes.ROWS, *kernel.ROWS, *floods.ROWS, *border.ROWS]
EACH_ITS_OWN = [row for row in ROWS if row.alone or row.stop in {*ENDS_PROCESS, "cell"}]
TOGETHER = [row for row in ROWS if row not in EACH_ITS_OWN]
AT_ONCE = 4
IN_ONE_SESSION = 40
DEADLINE_SECONDS = 0.6
LONGEST_SECONDS = 20.0
MEMORY = 64 << 20
FOLDER_BYTES = 64 << 20
HOST_GROWTH = 1 << 30
NUMBERS = {**kernel.BY_NAME, **numbers(FREE + RULED + OWN, kernel.MACHINE)}

Outcomes = dict[str, list[str]]


class Arena:
    """Runs rows, and remembers the processes that did."""

    def __init__(self, target: Target) -> None:
        self.backend = PythonBackend(folder_bytes=FOLDER_BYTES)
        self.pids: set[int] = set()
        self.seconds: dict[str, float] = {}
        self._known = target.known
        self._target = target

    def session(self) -> Session:
        """Open a session in which programs find what they need."""
        session = self.backend.open(replace(SPEC, max_heap_bytes=MEMORY))
        started = session.feed(
            f"C = {self._known!r}\nN = {NUMBERS!r}\n{PRELUDE}\n[os.getpid(), HOME]"
        )
        assert isinstance(started, Finished) and started.error is None, started
        pid, home = started.value
        self.pids.add(pid)
        os.symlink(self._target.canary, f"{home}/planted_link")
        os.symlink(self._target.folder, f"{home}/planted_folder")
        return session

    def together(self, rows: list[Row]) -> Outcomes:
        """Run rows one after the other in one session; in another one after a crash."""
        found: Outcomes = {}
        session = self.session()
        for row in rows:
            started = time.monotonic()
            found[row.id] = self._run(session, f"outcome({row.program!r})")
            self.seconds[row.id] = time.monotonic() - started
            if found[row.id][0] == "crashed":
                session.close()
                session = self.session()
        session.close()
        return found

    def alone(self, row: Row) -> Outcomes:
        """Run a row in a session of its own."""
        session = self.session()
        program = row.program.replace("@SOCKET@", FIND_SOCKET)
        if row.alone:
            program = f"outcome({program!r})"
        seconds = DEADLINE_SECONDS if row.stop == "deadline" else LONGEST_SECONDS
        started = time.monotonic()
        found = self._run(session, program, seconds)
        session.close()
        self.seconds[row.id] = time.monotonic() - started
        return {row.id: found}

    def _run(self, session: Session, code: str, seconds: float = LONGEST_SECONDS) -> list[str]:
        late = threading.Event()

        def kill() -> None:
            late.set()
            session.kill()

        timer = threading.Timer(seconds, kill)
        timer.start()
        try:
            outcome = session.feed(code)
            while isinstance(outcome, Suspended):
                outcome = session.resume(Returned("answer"))
        except SandboxCrashed as error:
            return ["late" if late.is_set() else "crashed", "", str(error)]
        finally:
            timer.cancel()
        if outcome.error is not None:
            return [outcome.error.type, "", outcome.error.message[:300]]
        if code.startswith("outcome("):
            return outcome.value
        return ["ended", "", repr(outcome.value)[:300]]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    made = Target(tmp_path_factory.mktemp("target"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def arena(target: Target) -> Iterator[Arena]:
    os.environ["CANARY_SECRET"] = SECRET
    made = Arena(target)
    yield made
    made.backend.close()
    del os.environ["CANARY_SECRET"]


@pytest.fixture(scope="module")
def outcomes(arena: Arena) -> Outcomes:
    """What came of every row. They run side by side, since most of their time is waiting."""
    pieces = [TOGETHER[n : n + IN_ONE_SESSION] for n in range(0, len(TOGETHER), IN_ONE_SESSION)]
    found: Outcomes = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done in [
            *pool.map(arena.together, pieces),
            *pool.map(arena.alone, [*EACH_ITS_OWN, *border.VALUES]),
        ]:
            found |= done
    return found


def is_stopped(row: Row, outcome: list[str]) -> bool:
    kind, number, text = outcome
    if row.stop in REFUSALS:
        return bool(REFUSALS[row.stop] & {kind, number})
    if row.stop == "nothing there":
        return kind == "ran" and text in {"None", "[]", "''"}
    if row.stop == "filter kills":
        return kind == "crashed" and "exit code -31" in text
    if row.stop == "count":
        return kind == "crashed" and any(
            word in text for word in ("that they may", "more than", "looked through")
        )
    if row.stop == "deadline":
        return kind == "late"
    if row.stop == "cell":
        return kind in {"MemoryError"}
    return kind == "crashed"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_hostile_program_is_stopped(outcomes: Outcomes, row: Row) -> None:
    assert is_stopped(row, outcomes[row.id]), outcomes[row.id]
    assert SECRET not in outcomes[row.id][2]


@pytest.mark.parametrize("row", border.VALUES, ids=lambda row: row.id)
def test_a_hostile_value_ends_its_cell_at_most(outcomes: Outcomes, row: Row) -> None:
    """Whatever crosses is plain, and the host goes on."""
    kind, _, text = outcomes[row.id]
    assert kind != "late", text
    assert SECRET not in text


def test_nothing_outside_has_noticed(target: Target, arena: Arena, outcomes: Outcomes) -> None:
    assert target.state() == target.before
    arena.backend.close()
    left = {pid for pid in arena.pids if psutil.pid_exists(pid)}
    assert left == set()
    assert not [
        child
        for child in psutil.Process().children(recursive=True)
        if "local_worker" in " ".join(child.cmdline())
    ]


def test_the_hosts_memory_stays_within_its_bound(outcomes: Outcomes) -> None:
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 < HOST_GROWTH


def test_there_are_enough_rows() -> None:
    assert len({row.id for row in ROWS + border.VALUES}) == len(ROWS + border.VALUES) >= 250
