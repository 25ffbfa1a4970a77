"""Group commit on PostgreSQL: many saves are one statement, whatever returns is stored, and nothing
is stored for a run whose thread another process has taken over."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_rlm.errors import ThreadTakenOverError
from langgraph_rlm.pregel.keys import with_lease
from langgraph_rlm.pregel.savers import EarlySaver, ThreadedSaver, for_many_writes

from .faults.databases import CannotStart, Postgres
from .models import rlm, thread

psycopg = pytest.importorskip("psycopg")

LEASES = """CREATE TABLE langgraph_rlm_leases (thread_id text PRIMARY KEY, token text NOT NULL,
holder text NOT NULL, run_id text, expires_at timestamptz NOT NULL)"""
CALLS = 200
BATCH = f"```repl\nreplies = llm_query_batched([f'Q{{i}}' for i in range({CALLS})])\nFINAL(len(set(replies)))\n```"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Give the URL of a PostgreSQL server that runs for this file."""
    try:
        made = Postgres()
    except CannotStart as reason:
        pytest.skip(f"no PostgreSQL server: {reason}")
    with made:
        yield made.url


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    """Give the URL of a new database with the savers' tables and one of leases."""
    return database(server, f"d{random.getrandbits(60):x}")


def database(server: str, name: str) -> str:
    from langgraph.checkpoint.postgres import PostgresSaver

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    made = server.replace("/postgres?", f"/{name}?")
    with PostgresSaver.from_conn_string(made) as saver:
        saver.setup()
        cast(Any, saver.conn).execute(LEASES)
    return made


# Savers, each over every kind of connection


@asynccontextmanager
async def one_connection(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(url) as saver:
        yield saver


@asynccontextmanager
async def a_pipeline(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(url, pipeline=True) as saver:
        yield saver


@asynccontextmanager
async def a_pool(url: str, **options: Any) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
    from psycopg_pool import AsyncConnectionPool

    kwargs = {"autocommit": True, **options}
    async with AsyncConnectionPool(url, min_size=1, max_size=4, kwargs=kwargs) as pool:
        yield AsyncPostgresSaver(cast(Any, pool))


@asynccontextmanager
async def a_bouncers_pool(url: str) -> AsyncIterator[Any]:
    """As for PgBouncer in transaction mode: nothing is prepared."""
    async with a_pool(url, prepare_threshold=None) as saver:
        yield saver


@asynccontextmanager
async def a_sync_connection(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres import PostgresSaver

    with PostgresSaver.from_conn_string(url) as saver:
        yield ThreadedSaver(saver)


@asynccontextmanager
async def a_sync_pool(url: str) -> AsyncIterator[Any]:
    from langgraph.checkpoint.postgres import PostgresSaver
    from psycopg_pool import ConnectionPool

    with ConnectionPool(url, min_size=1, max_size=4, kwargs={"autocommit": True}) as pool:
        yield ThreadedSaver(PostgresSaver(cast(Any, pool)))


Opened = Callable[[str], Any]
ALL: list[Opened] = [
    one_connection,
    a_pipeline,
    a_pool,
    a_bouncers_pool,
    a_sync_connection,
    a_sync_pool,
]
every = pytest.mark.parametrize("opened", ALL, ids=lambda opened: opened.__name__)
some = pytest.mark.parametrize(
    "opened", [one_connection, a_pool, a_sync_connection], ids=lambda opened: opened.__name__
)


def using(url: str, opened: Opened, use: Callable[[Any, Any], Awaitable[Any]]) -> Any:
    """Use a saver as it is and one with group commit, of the same connections."""

    async def go() -> Any:
        async with opened(url) as saver:
            return await use(saver, for_many_writes(saver).wrapped)

    return asyncio.run(go())


# What is saved


def put(saver: Any, number: int, place: dict[str, Any] | None = None) -> Awaitable[None]:
    """One task's writes; every tenth has an error, which the saver files in another way."""
    where = {"thread_id": "t", "checkpoint_ns": f"sub_call:{number % 7}", "checkpoint_id": "c"}
    special = [("__error__", f"failed {number}")] if number % 10 == 0 else []
    results = [("log", {f"0.0/0/{number}": "é\0\ud7ff" * 20}), ("usage", number), ("none", None)]
    config = {"configurable": {**where, **(place or {})}}
    return saver.aput_writes(config, special or results, f"task {number:03}", "~path")


def put_checkpoint(saver: Any, number: int, **more: Any) -> Awaitable[Any]:
    """A checkpoint with values of every kind; every tenth has no parent."""
    place = {"thread_id": "t", "checkpoint_ns": f"sub_call:{number:03}", "secret": "__"}
    if number % 10:
        place["checkpoint_id"] = f"{number:03} before"
    given: Any = {"configurable": place, "metadata": {"tag": "é\0z", "run_id": "r"}}
    values = {
        "text": f"{number} é \\u0000 \ud7ff 漢",
        "number": 1.5,
        "nothing": None,
        "is": number % 2 == 0,
        "messages": [{"role": "user", "content": "nul \0 in a blob"}],
        "log": {"0": b"\0\xff", "1": ["x" * 300]},
        "old": ["not new, so it has a blob already"],
        **more,
    }
    versions = {name: f"{number:032}.0" for name in values}
    saved: Any = {
        **empty_checkpoint(),
        "id": f"{number:03}",
        "ts": "now",
        "channel_values": values,
        "channel_versions": versions,
    }
    new = {name: version for name, version in versions.items() if name != "old"}
    metadata: Any = {"source": "loop", "step": number, "parents": {}, "note": "nul \0 is left out"}
    return saver.aput(given, saved, metadata, {**new, "gone": "1"})


TABLES = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")


def rows(url: str) -> dict[str, list[Any]]:
    """All that is stored, as PostgreSQL gives it as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {
            table: sorted(
                row[0] for row in connection.execute(f"SELECT t::text FROM {table} t".encode())
            )
            for table in TABLES
        }


def clear(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {', '.join(TABLES)}".encode())


def tasks(url: str) -> set[str]:
    with psycopg.connect(url, autocommit=True) as connection:
        return {row[0] for row in connection.execute("SELECT task_id FROM checkpoint_writes")}


@every
def test_a_group_writes_what_the_saver_would_have_written(url: str, opened: Opened) -> None:
    """Also of rows of one key, of which the saver keeps some values of the first, some of the last."""

    async def put_all(saver: Any) -> Any:
        both = [save(saver, number) for number in range(40) for save in (put, put_checkpoint)]
        returned = await asyncio.gather(*both)
        for again in range(3):  # other values under the same keys, one after another
            place = {"checkpoint_id": "c", "checkpoint_ns": f"again {again % 2}"}
            await put(saver, 11, place)
            await saver.aput_writes(
                {"configurable": {"thread_id": "t", **place}},
                [("__interrupt__", [again]), ("log", again)],
                "task 011",
                f"path {again}",
            )
            await put_checkpoint(saver, 11, text=f"again {again}")
            await saver.aput_writes(
                {"configurable": {"thread_id": "t", **place}},
                [("__interrupt__", [again, "alone"])],
                "task 011",
                f"path {again}",
            )
        return returned

    async def both(saver: Any, grouped: Any) -> tuple[Any, Any]:
        alone = await put_all(saver)
        alone_rows = await asyncio.to_thread(rows, url)
        await asyncio.to_thread(clear, url)
        together = await put_all(grouped)
        assert together == alone
        return alone_rows, await asyncio.to_thread(rows, url)

    alone, together = using(url, opened, both)
    assert together == alone
    assert [len(alone[table]) for table in TABLES] == [40, 80, 36 * 3 + 4 + 8]
