"""One caller at a time runs a thread: also where the lock file cannot be had, and in processes that were forked."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, cast

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

from langgraph_rlm import ThreadBusyError
from langgraph_rlm.pregel.holders import own_holder, state_of
from langgraph_rlm.pregel.leases import Database, database_of, how_many_held, is_leased, lease
from langgraph_rlm.testing import ScriptedModel

from .jails import needs_a_jail
from .models import rlm, thread

FOLDER = Path(__file__).parent.parent


def forked(folder: Path, case: str, sandbox: str = "monty") -> list[str]:
    command = [sys.executable, "-m", "tests.fork_process", str(folder), case, sandbox]
    done = subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout.splitlines()


def test_a_fork_keeps_off_its_parents_thread_only_while_the_parent_runs_it(tmp_path: Path) -> None:
    """As in a server that forks its workers: a lease is no heirloom."""
    busy, other, later = forked(tmp_path, "running")
    assert busy.startswith("ThreadBusyError Thread 'a' is running already")
    assert (other, later) == ("2", "2")


def test_a_process_that_ran_code_and_forked_is_told_so_and_does_not_wait_for_ever(
    tmp_path: Path,
) -> None:
    """Monty's threads are not in the fork."""
    before, after = forked(tmp_path, "used")
    assert before == "1"
    assert after.startswith("SandboxError Monty was used in process")
    assert "'spawn'" in after


@needs_a_jail
def test_a_jailed_python_runs_in_the_fork_as_before(tmp_path: Path) -> None:
    assert forked(tmp_path, "used", "python") == ["1", "1"]


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_lock_file_that_cannot_be_used_is_warned_of_once_and_hinders_no_run(
    tmp_path: Path, kind: str
) -> None:
    """Callers in this process are kept apart all the same."""
    lock = tmp_path / "db-rlm-lock"
    if kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(tmp_path / "elsewhere")
    with (
        SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        graph = rlm(
            ScriptedModel(replies=["FINAL(1)"]), checkpointer=saver, blob_store=tmp_path / "blobs"
        )
        parts = graph.stream({"query": "q"}, thread())
        next(parts)
        with pytest.raises(ThreadBusyError):
            graph.invoke(None, thread())
        assert list(parts)
        assert graph.invoke({"query": "q"}, thread())["answer"] == "1"
    [said] = [str(warning.message) for warning in caught if "lock" in str(warning.message)]
    assert f"The lock file {lock} cannot be used" in said
    assert not (tmp_path / "elsewhere").exists()
    assert os.path.lexists(lock)


@pytest.mark.parametrize("file", [True, False])
async def test_a_namespace_is_held_beside_its_thread_and_others(tmp_path: Path, file: bool) -> None:
    """As a graph with RLMs as nodes runs several at once; the thread itself may be held by whoever runs the graph."""
    database, count = Database("db", tmp_path / "lock" if file else None), how_many_held()
    async with (
        lease(database, "a"),
        lease(database, "a", namespace="ask:1"),
        lease(database, "a", namespace="ask:2"),
    ):
        assert how_many_held() == count + 3
        for taken in ("", "ask:2"):
            with pytest.raises(ThreadBusyError, match="Thread 'a' is running already"):
                async with lease(database, "a", namespace=taken):
                    pass
    assert how_many_held() == count


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells who holds a lock")
async def test_a_lease_of_another_process_is_seen_without_taking_it(tmp_path: Path) -> None:
    database = Database("db", tmp_path / "lock")
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from langgraph_rlm.pregel.leases import Database, lease\n"
        "async def hold():\n"
        f"    async with lease(Database('db', Path({str(tmp_path / 'lock')!r})), 'a'):\n"
        "        print('held', flush=True); sys.stdin.read()\n"
        "asyncio.run(hold())"
    )
    assert not await is_leased(database, "a")
    with subprocess.Popen(  # noqa: ASYNC220 - it only holds
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=FOLDER
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        async with lease(database, "b"):
            seen = [await is_leased(database, name) for name in "abc"]
            assert seen == [True, True, False]
            with pytest.raises(ThreadBusyError):
                async with lease(database, "a"):
                    pass
        other.communicate()
    assert not await is_leased(database, "a")


def test_pools_whose_connection_string_is_a_function_name_their_database_too() -> None:
    """For passwords that change, psycopg takes a function: the thread is still kept to one caller, whoever opened the pool."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg_pool import AsyncConnectionPool

    async def later() -> str:
        return "postgresql://user:new@server:5433/threads"

    async def name(conninfo: Any) -> str:
        pool = AsyncConnectionPool(conninfo, open=False)
        return (await database_of(AsyncPostgresSaver(cast(Any, pool)))).name

    given: list[Any] = [
        "postgresql://user:old@server:5433/threads",
        lambda: "postgresql://user@server:5433/threads",
        later,
    ]
    assert [asyncio.run(name(each)) for each in given] == ["server:5433/threads"] * 3


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how a process is")
def test_a_process_is_known_by_more_than_its_number() -> None:
    """Numbers are given again: who holds a lease is told from a later process, and from one on another machine."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        boot, namespace, _, started = own_holder().split()
        ticks = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[19]
        name = f"{boot} {namespace} {other.pid} {ticks}"
        assert state_of(own_holder()) == state_of(name) == "works"
        other.send_signal(signal.SIGSTOP)
        while state_of(name) != "stopped":
            time.sleep(0.01)
        other.send_signal(signal.SIGCONT)
        assert state_of(f"{boot} {namespace} {other.pid} {int(ticks) + 1}") == "gone"
        assert state_of(f"{boot} 1 {other.pid} {ticks}") == "unknown"
        assert state_of(f"x {namespace} {other.pid} {started}") == "unknown"
        os.kill(other.pid, signal.SIGKILL)
        while state_of(name) != "gone":  # also while nobody has asked for its end
            time.sleep(0.01)
    assert state_of(name) == "gone"
    for wrong in (
        "",
        "?",
        "a b",
        f"{boot} {namespace} -1 2",
        f"{boot} {namespace} 99999999999999 2",
    ):
        assert state_of(wrong) in ("unknown", "gone")
