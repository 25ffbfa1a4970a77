"""Faults: what a run depends on goes away in the middle of it. A clear error, and the thread continues when the cause is gone."""

import asyncio
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import aiosqlite
import psutil
import pytest
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from langgraph_rlm import BlobError, Limits, ThreadBusyError, afork, create_rlm
from langgraph_rlm.repl.sessions import ATTEMPTS
from langgraph_rlm.testing import ScriptedModel, cell

from .databases import CannotStart, Postgres, open_saver

THREAD = {"configurable": {"thread_id": "t"}}
ROOT = [
    cell("""
first = llm_query('first')
kid = rlm_query('child', context=first)
last = llm_query(f'last {kid}')
FINAL(f'{first} {kid} {last}')
""")
]
CHILD = [cell("got = llm_query(f'inner {context}')\nFINAL(f'<{got}>')")]
ANSWER = "[first] <[inner [first]]> [last <[inner [first]]>]"
PROMPTS = ["first", "inner [first]", "last <[inner [first]]>"]
AT_EACH_DEPTH = pytest.mark.parametrize("at", [PROMPTS[0], PROMPTS[1]], ids=["root", "child"])


Fault = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """No fault."""


class Calls:
    """The models of a run: what was asked, and what happens as one of the prompts is answered."""

    def __init__(self, at: str = "", fault: Fault = nothing) -> None:
        self.prompts: list[str] = []
        self._at = at
        self._fault = fault

    async def arrive(self, prompt: str) -> None:
        """Note a call; the fault strikes once, before the reply is out."""
        self.prompts.append(prompt)
        if prompt == self._at and self.prompts.count(prompt) == 1:
            await self._fault()

    def reply(self, prompt: str) -> str:
        """The answer to an `llm_query`."""
        return f"[{prompt}]"

    def graph(self, saver: Any, store: Path, root: list[str] = ROOT) -> Any:
        """A new graph, as a new process would have."""
        calls = self

        class Sub(ScriptedModel):
            async def _agenerate(
                self, messages: list[BaseMessage], *args: Any, **options: Any
            ) -> ChatResult:
                if messages[0].type != "system":
                    await calls.arrive(messages[-1].text)
                return await super()._agenerate(messages, *args, **options)

            def _scripted(self, messages: list[BaseMessage]) -> Any:
                return (
                    super()._scripted(messages)
                    if messages[0].type == "system"
                    else calls.reply(messages[-1].text)
                )

        sub = Sub(replies=CHILD)
        return create_rlm(
            ScriptedModel(replies=root),
            sub_model=sub,
            limits=Limits(max_depth=2),
            checkpointer=saver,
            blob_store=store,
        )


@asynccontextmanager
async def sqlite(path: Path) -> AsyncIterator[AsyncSqliteSaver]:
    """A saver that waits for a lock for a tenth of a second."""
    async with aiosqlite.connect(path, timeout=0.1) as connection:
        yield AsyncSqliteSaver(connection)


async def begin(graph: Any, context: str = "a context") -> Any:
    return await graph.ainvoke({"query": "go", "context": context}, THREAD, durability="sync")


async def resume(graph: Any) -> Any:
    return (await graph.ainvoke(None, THREAD, durability="sync"))["answer"]


async def interrupted(
    at: str, saver: Any, store: Path, root: list[str] = ROOT, context: str = "a context"
) -> Calls:
    """A run that is cancelled while one call is in flight, when the others of its batch are saved."""

    async def cancel() -> None:
        await asyncio.sleep(0.3)
        running.cancel()
        await asyncio.sleep(60)

    calls = Calls(at, cancel)
    running = asyncio.create_task(begin(calls.graph(saver, store, root), context))
    with pytest.raises(asyncio.CancelledError):
        await running
    return calls


# --- SQLite


@AT_EACH_DEPTH
def test_a_locked_database(tmp_path: Path, at: str) -> None:
    """Another process holds the database: SQLite's own error, at any depth, never an answer to the code."""
    path, other = tmp_path / "t.db", None

    def hold() -> None:
        nonlocal other
        code = f"import sqlite3, sys; c = sqlite3.connect({str(path)!r}); c.execute('BEGIN EXCLUSIVE'); print(flush=True); sys.stdin.read()"
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        other.stdout.readline()

    async def go() -> None:
        calls = Calls(at, lambda: asyncio.to_thread(hold))
        async with sqlite(path) as saver:
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                await begin(calls.graph(saver, tmp_path / "blobs"))
        async with sqlite(path) as saver:
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                await resume(calls.graph(saver, tmp_path / "blobs"))
        assert other is not None
        other.communicate()
        async with sqlite(path) as saver:
            assert await resume(calls.graph(saver, tmp_path / "blobs")) == ANSWER
        assert sorted(calls.prompts) == sorted([*PROMPTS, at, at])

    asyncio.run(go())


@AT_EACH_DEPTH
def test_a_full_database(tmp_path: Path, at: str) -> None:
    """SQLite cannot grow: its own error; with room again the same graph goes on."""

    async def go() -> None:
        async with sqlite(tmp_path / "t.db") as saver:

            async def pages(most: int) -> None:
                await saver.conn.execute(f"PRAGMA max_page_count={most}")

            calls = Calls(at, lambda: pages(1))
            graph = calls.graph(saver, tmp_path / "blobs")
            with pytest.raises(sqlite3.OperationalError, match="database or disk is full"):
                await begin(graph)
            await pages(1_000_000)
            assert await resume(graph) == ANSWER
            assert sorted(calls.prompts) in (
                sorted(PROMPTS),
                sorted([*PROMPTS, at]),
            )  # its reply may still have found room

    asyncio.run(go())


def test_a_corrupted_database(tmp_path: Path) -> None:
    """SQLite says so; from a good copy the thread continues."""
    path, copy = tmp_path / "t.db", tmp_path / "copy.db"

    async def go() -> None:
        async with sqlite(path) as saver:
            calls = await interrupted(PROMPTS[1], saver, tmp_path / "blobs")
        shutil.copy(path, copy)
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        async with sqlite(path) as saver:
            with pytest.raises(sqlite3.DatabaseError, match=r"malformed|not a database"):
                await resume(calls.graph(saver, tmp_path / "blobs"))
        shutil.copy(copy, path)
        async with sqlite(path) as saver:
            assert await resume(calls.graph(saver, tmp_path / "blobs")) == ANSWER
        assert sorted(calls.prompts) == sorted([*PROMPTS, PROMPTS[1]])

    asyncio.run(go())


class FailsOnce:
    """A saver whose database is away for one write of a child's, and back for the next."""

    failures: list[str]

    async def aput_writes(
        self, config: Any, writes: Any, task_id: str, task_path: str = ""
    ) -> None:
        if config["configurable"].get("checkpoint_ns") and not self.failures:
            self.failures.append(config["configurable"]["checkpoint_ns"])
            raise sqlite3.OperationalError("database is locked")
        await super().aput_writes(config, writes, task_id, task_path)  # type: ignore[misc]


def test_a_database_that_fails_a_child_for_a_moment(tmp_path: Path) -> None:
    """What the database raises in a child is the run's error, not the child's answer: code never works with it."""

    async def go() -> None:
        calls = Calls()
        async with open_saver(f"sqlite:{tmp_path}/t.db", FailsOnce) as saver:
            saver.failures = []
            graph = calls.graph(saver, tmp_path / "blobs")
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                await begin(graph)
            assert await resume(graph) == ANSWER

    asyncio.run(go())


# --- PostgreSQL


@AT_EACH_DEPTH
def test_a_postgresql_server_that_stops_and_starts(tmp_path: Path, at: str) -> None:
    """Its driver's error; a new connection goes on where the old one was."""
    import psycopg

    try:
        server = Postgres()
    except CannotStart as error:
        pytest.skip(str(error))

    async def stop() -> None:
        server.stop()

    async def go() -> None:
        calls = Calls(at, stop)
        async with open_saver(server.url) as saver:
            with pytest.raises(psycopg.OperationalError):
                await begin(calls.graph(saver, tmp_path / "blobs"))
        with pytest.raises(psycopg.OperationalError, match="connection"):
            async with open_saver(server.url):
                pass
        server.start()
        async with open_saver(server.url) as saver:
            assert await resume(calls.graph(saver, tmp_path / "blobs")) == ANSWER
        assert sorted(calls.prompts) == sorted([*PROMPTS, at])

    with server:
        asyncio.run(go())


def test_threads_of_postgresql_are_forked_and_kept_to_one_caller(tmp_path: Path) -> None:
    """As those of SQLite are: in another process or pool, the same thread is busy; an edit goes on from its log."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg_pool import AsyncConnectionPool

    try:
        server = Postgres()
    except CannotStart as error:
        pytest.skip(str(error))

    async def go() -> None:
        busy: list[Any] = []
        async with (
            open_saver(server.url) as saver,
            AsyncConnectionPool(server.url, kwargs={"autocommit": True}) as pool,
        ):

            async def second() -> None:
                busy.extend(
                    await asyncio.gather(
                        resume(Calls().graph(AsyncPostgresSaver(cast(Any, pool)), tmp_path)),
                        return_exceptions=True,
                    )
                )

            calls = Calls(PROMPTS[1], second)
            graph = calls.graph(saver, tmp_path)
            assert (await begin(graph))["answer"] == ANSWER
            assert [type(error) for error in busy] == [ThreadBusyError]
            forked = await afork(graph, cast(Any, THREAD), "0.0/1/0", "edited")
            assert (await graph.ainvoke(None, forked))["answer"] == "[first] edited [last edited]"
            assert calls.prompts == [*PROMPTS, "last edited"]

    with server:
        asyncio.run(go())


# --- the blob store


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """This process may write no file beyond `size` bytes: as on a full disk, a write ends with an OSError."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


BULKY = [cell("big = llm_query('first')\nFINAL(big[:9] + str(len(big)) + llm_query('last'))")]


class Bulky(Calls):
    """Its first reply has 4 MiB."""

    def reply(self, prompt: str) -> str:
        return super().reply(prompt) + ("x" * (4 << 20) if prompt == "first" else "")


def test_a_full_disk_for_blobs(tmp_path: Path) -> None:
    """The error names the place; with room again the run goes on, and asks again only for the reply that it could not keep."""

    async def go() -> None:
        calls = Bulky()
        async with sqlite(tmp_path / "t.db") as saver:
            graph = calls.graph(saver, tmp_path / "blobs", BULKY)
            with (
                largest_file(2 << 20),
                pytest.raises(
                    BlobError,
                    match=rf"store {tmp_path}/blobs cannot be written: .*LANGGRAPH_RLM_STORE",
                ),
            ):
                await begin(graph)
            assert not list((tmp_path / "blobs").glob(".new-*"))
            assert await resume(graph) == f"[first]xx{7 + (4 << 20)}[last]"
        assert calls.prompts == ["first", "first", "last"]

    asyncio.run(go())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(
            f"Only root may mount a small disk: {mounted.stderr.strip()}. The test above has a limit instead."
        )
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full(tmp_path: Path, small_disk: Path) -> None:
    """The same with "No space left on device"."""

    async def go() -> None:
        calls = Bulky()
        async with sqlite(tmp_path / "t.db") as saver:
            graph = calls.graph(saver, small_disk / "blobs", BULKY)
            with pytest.raises(BlobError, match="No space left on device"):
                await begin(graph)
            await asyncio.to_thread(
                subprocess.run, ["mount", "-o", "remount,size=64m", str(small_disk)], check=True
            )
            assert await resume(graph) == f"[first]xx{7 + (4 << 20)}[last]"
        assert calls.prompts == ["first", "first", "last"]

    asyncio.run(go())


LOADED = "some text of the context. " * 400
READS = [
    cell("pair = llm_query_batched(['a', 'b'])"),
    cell("more = llm_query_batched([pair[0] + context[:9], pair[1] * 500])\nFINAL(pair + more)"),
]


@pytest.mark.parametrize("at", ["b", "[a]some text"], ids=["early", "late"])
def test_a_blob_store_that_is_away_at_a_resume(tmp_path: Path, at: str) -> None:
    """The error says which blob and where it was; with the store back the thread continues, and nothing has been written elsewhere."""
    store, elsewhere = tmp_path / "blobs", tmp_path / "unmounted"

    async def go() -> None:
        async with sqlite(tmp_path / "t.db") as saver:
            calls = await interrupted(at, saver, store, READS, LOADED)
            store.rename(elsewhere)
            with pytest.raises(BlobError, match=rf"store {store}"):
                await resume(calls.graph(saver, store, READS))
            assert not store.exists()
            elsewhere.rename(store)
            answer = await resume(calls.graph(saver, store, READS))
        assert answer.startswith('["[a]","[b]","[[a]some text]","[[b][b]')
        assert calls.prompts.count("a") == 1
        assert calls.prompts.count(at) == 2

    asyncio.run(go())


def test_a_blob_store_that_goes_away_in_a_run(tmp_path: Path) -> None:
    """It is not made anew in its place: what is written there would be hidden once the store is back."""
    store, elsewhere = tmp_path / "blobs", tmp_path / "unmounted"
    code = [
        cell(
            "pair = llm_query_batched(['a', 'b'])\nmore = llm_query_batched([pair[0], pair[1] * 500])\nFINAL(pair + more)"
        )
    ]

    async def unmount() -> None:
        await asyncio.sleep(0.3)
        store.rename(elsewhere)

    async def go() -> None:
        calls = Calls("b", unmount)
        async with sqlite(tmp_path / "t.db") as saver:
            graph = calls.graph(saver, store, code)
            with pytest.raises(BlobError, match=rf"store {store} cannot be written"):
                await begin(graph, LOADED)
            assert not store.exists()
            elsewhere.rename(store)
            assert (await resume(graph)).startswith('["[a]","[b]","[[a]]","[[b][b]')
        assert sorted(set(calls.prompts)) == sorted(calls.prompts)

    asyncio.run(go())


# --- the sandbox


LOOP = [
    cell(
        "x = llm_query('first')\nn = 0\nfor i in range(4_000_000):\n    n += i % 7\nFINAL(f'{x} {n} ' + llm_query('last'))"
    )
]


def kill_computing_workers(times: int) -> list[int]:
    """Kill interpreters of this process that many times, each once it has computed for a while; the list fills with their ids."""
    killed: list[int] = []
    others = {child.pid for child in psutil.Process().children(recursive=True)}

    def strike() -> None:
        while len(killed) < times:
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if (
                        "monty" in child.name()
                        and child.pid not in others.union(killed)
                        and child.cpu_times().user > 0.15
                    ):
                        os.kill(child.pid, signal.SIGKILL)
                        killed.append(child.pid)
            time.sleep(0.01)

    threading.Thread(target=strike, daemon=True).start()
    return killed


def test_a_worker_killed_in_mid_cell(tmp_path: Path) -> None:
    """The cell is run again on a new worker, answered from the log."""
    calls = Calls()
    killed = kill_computing_workers(1)
    out = calls.graph(None, tmp_path / "blobs", LOOP).invoke({"query": "go"})
    assert len(killed) == 1
    assert out["answer"] == f"[first] {sum(i % 7 for i in range(4_000_000))} [last]"
    assert calls.prompts == ["first", "last"]


def test_a_worker_killed_whenever_it_computes(tmp_path: Path) -> None:
    """The cell has crashed: the model is told so, and the run goes on."""
    calls = Calls()
    killed = kill_computing_workers(ATTEMPTS)
    out = calls.graph(None, tmp_path / "blobs", [*LOOP, cell("FINAL('gave up')")]).invoke(
        {"query": "go"}
    )
    assert len(killed) == ATTEMPTS
    assert out["answer"] == "gave up"
    assert calls.prompts == ["first"]
