"""Group commit on PostgreSQL: many saves are one statement, whatever returns is stored, and nothing
is stored for a run whose thread another process has taken over."""

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.base import empty_checkpoint

from langgraph_rlm.errors import ThreadTakenOverError
from langgraph_rlm.pregel.savers import EarlySaver, ThreadedSaver, for_many_writes

from .faults.databases import CannotStart, Postgres
from .models import rlm, thread

psycopg = pytest.importorskip("psycopg")
from langgraph_rlm.pregel.postgres_rows import WAYS, Part, Row, statement  # noqa: E402

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
    "opened",
    [one_connection, a_pipeline, a_pool, a_sync_connection],
    ids=lambda opened: opened.__name__,
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
    versions = dict.fromkeys(values, f"{number:032}.0")
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
        return stored(connection)


def stored(connection: Any) -> dict[str, list[Any]]:
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


SPECIAL, RESULT, BLOB, CHECKPOINT = range(4)
"""Places in `by_table` of the ways to write."""


@given(
    taken=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 1), st.integers(0, 5)), min_size=1, max_size=12
    ),
    before=st.integers(0, 12),
)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_rows_of_one_key_in_a_group_come_to_what_they_come_to_one_by_one(
    url: str, taken: list[tuple[int, int, int]], before: int
) -> None:
    """Whatever stands under the key already, and in whatever ways the rows are written."""

    def row(way: int, key: int, value: int) -> Row:
        blob, text = bytes([value]), f"v{value}"
        key_text = f"k{key}"
        values: tuple[Any, ...] = ("t", "", "c", key_text, text, -1, text, text, blob)
        if way == BLOB:
            values = ("t", "", "channel", key_text, text, blob)
        if way == CHECKPOINT:
            values = ("t", "", key_text, text, f'{{"v": {value}}}', "{}")
        return Row(WAYS[[1, 0, 2, 3][way]], values)

    made = [row(*each) for each in taken]
    with psycopg.connect(url) as connection:
        for each in made:
            connection.execute(each.way.sql, each.values)
        one_by_one = stored(connection)
        connection.rollback()
        for each in made[:before]:
            connection.execute(each.way.sql, each.values)
        if made[before:]:
            connection.execute(*statement([Part([each], "t") for each in made[before:]]))
        assert stored(connection) == one_by_one
        connection.rollback()


# Errors


@some
def test_a_value_that_postgresql_refuses_fails_its_own_caller_alone(
    url: str, opened: Opened
) -> None:
    """A NUL in a text, half of a surrogate pair, and a key that is too large for an index."""

    async def use(_: Any, grouped: Any) -> list[Any]:
        puts = [put(grouped, number) for number in range(1, 30)]
        puts += [put_checkpoint(grouped, 50, text="nul \0"), put(grouped, 51, {"thread_id": "\0"})]
        puts += [put(grouped, 52, {"thread_id": "\ud800"})]
        noise = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=200_000))
        puts += [put(grouped, 53, {"thread_id": noise}), put_checkpoint(grouped, 54)]
        return list(await asyncio.gather(*puts, return_exceptions=True))

    results = using(url, opened, use)
    kinds = [type(result).__name__ for result in results[29:33]]
    assert [isinstance(result, Exception) for result in results[:29]] == [False] * 29
    assert kinds == [
        "UntranslatableCharacter",
        "CharacterNotInRepertoire" if kinds[1] != "DataError" else "DataError",
        "UnicodeEncodeError",
        "ProgramLimitExceeded",
    ]
    assert results[33]["configurable"]["checkpoint_id"] == "054"
    assert tasks(url) == {f"task {number:03}" for number in range(1, 30)}


def test_a_saver_gives_the_same_errors_without_groups(url: str) -> None:
    async def use(saver: Any, grouped: Any) -> list[str]:
        return [
            type(error).__name__
            for which in (saver, grouped)
            for error in await asyncio.gather(
                put_checkpoint(which, 50, text="nul \0"),
                put(which, 51, {"thread_id": "\0"}),
                put(which, 52, {"thread_id": "\ud800"}),
                return_exceptions=True,
            )
        ]

    kinds = using(url, one_connection, use)
    assert kinds[:3] == kinds[3:]


def test_a_lost_connection_is_told_to_each_and_nothing_of_the_group_is_stored(url: str) -> None:
    async def use(_: Any, grouped: Any) -> list[Any]:
        with psycopg.connect(url, autocommit=True) as other:
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            other.execute(kill)
        puts = [put(grouped, number) for number in range(20)]
        return list(await asyncio.gather(*puts, return_exceptions=True))

    results = using(url, one_connection, use)
    assert all(isinstance(result, psycopg.OperationalError) for result in results)
    assert tasks(url) == set()


@some
def test_a_caller_that_is_cancelled_takes_no_other_with_it(url: str, opened: Opened) -> None:
    async def use(_: Any, grouped: Any) -> list[Any]:
        puts = [asyncio.ensure_future(put(grouped, number)) for number in range(1, 20)]
        while not grouped_tasks():
            await asyncio.sleep(0)
        puts[0].cancel()
        return list(await asyncio.gather(*puts, return_exceptions=True))

    def grouped_tasks() -> bool:
        return any("Groups._work" in repr(task) for task in asyncio.all_tasks())

    results = using(url, opened, use)
    assert isinstance(results[0], asyncio.CancelledError) or results[0] is None
    assert results[1:] == [None] * 18
    assert tasks(url) >= {f"task {number:03}" for number in range(2, 20)}


def test_what_returns_is_stored(url: str) -> None:
    async def use(_: Any, grouped: Any) -> None:
        with psycopg.connect(url, autocommit=True) as other:

            async def one(number: int) -> None:
                await asyncio.sleep(number / 3000)
                await put(grouped, number)
                sql = "SELECT 1 FROM checkpoint_writes WHERE task_id = %s"
                assert other.execute(sql, (f"task {number:03}",)).fetchone()

            await asyncio.gather(*map(one, range(60)))

    using(url, a_pool, use)


# Who may write


def leased(saver: Any, token: str, thread_id: str = "t") -> Any:
    """A saver that writes under a lease, as a run has it."""
    return EarlySaver(saver, Lease(thread_id, token))


class Lease:
    """A lease whose holder has not noticed that it is gone."""

    def __init__(self, thread: str, token: str | None) -> None:
        self.thread, self.key, self.token = thread, thread, token
        self.checks = 0

    async def check(self) -> None:
        """As of a lease that was renewed right now."""
        self.checks += 1


TAKE = (
    "INSERT INTO langgraph_rlm_leases VALUES (%s, %s, 'holder', NULL, now()) "
    "ON CONFLICT (thread_id) DO UPDATE SET token = EXCLUDED.token"
)


def take(url: str, *pairs: tuple[str, str]) -> None:
    """Take threads over, each with a token."""
    with psycopg.connect(url, autocommit=True) as connection:
        for pair in pairs:
            connection.execute(TAKE, pair)


@every
def test_whose_lease_is_gone_saves_nothing_and_all_others_of_the_group_do(
    url: str, opened: Opened
) -> None:
    take(url, ("mine", "a"), ("taken", "new"), ("t", "b"))

    async def use(_: Any, grouped: Any) -> list[Any]:
        puts = []
        for number in range(1, 28, 3):
            puts.append(put(leased(grouped, "a", "mine"), number, {"thread_id": "mine"}))
            puts.append(put(leased(grouped, "old", "taken"), number + 1, {"thread_id": "taken"}))
            puts.append(put(grouped, number + 2, {"thread_id": "unleased"}))
        puts.append(put_checkpoint(leased(grouped, "b"), 1))
        puts.append(put_checkpoint(leased(grouped, "never"), 2))
        puts.append(put(leased(grouped, "x", "free"), 40, {"thread_id": "free"}))
        return list(await asyncio.gather(*puts, return_exceptions=True))

    results = using(url, opened, use)
    assert [type(result) for result in results[1:27:3]] == [ThreadTakenOverError] * 9
    assert results[0:27:3] + results[2:27:3] == [None] * 18
    assert results[27]["configurable"]["checkpoint_id"] == "001"
    assert [type(result) for result in results[28:]] == [ThreadTakenOverError] * 2
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT DISTINCT thread_id FROM checkpoint_writes").fetchall()
    assert {row[0] for row in found} == {"mine", "unleased"}
    assert [row.partition(",,")[0] for row in rows(url)["checkpoints"]] == [
        '(t,sub_call:001,001,"001 before"'
    ]


@pytest.mark.parametrize("opened", [a_pool, a_sync_pool], ids=["pool", "sync"])
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_nothing_is_stored_under_a_token_after_its_takeover(
    url: str, opened: Opened, isolation: str
) -> None:
    """Takeovers race with saves. Each save writes its token and the state of a sequence that each
    takeover moves on within its own transaction, after it has locked the lease."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE takeovers (thread_id text, token text, at timestamptz)")
        connection.execute(
            "ALTER TABLE checkpoint_writes ADD COLUMN at timestamptz DEFAULT clock_timestamp()"
        )
        name = connection.info.dbname
        level = f"ALTER DATABASE {name} SET default_transaction_isolation = '{isolation}'"
        connection.execute(level.encode())
    tokens = dict.fromkeys(["t0", "t1", "t2"], "0")
    take(url, *tokens.items())
    over = threading.Event()

    def keep_taking() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(1, 60):
                thread_id = f"t{number % 3}"
                with connection.transaction():
                    connection.execute(TAKE, (thread_id, str(number)))
                    if number % 4 == 0:  # whoever saves now waits for this
                        connection.execute("SELECT pg_sleep(0.02)")
                    sql = "INSERT INTO takeovers VALUES (%s, %s, clock_timestamp())"
                    connection.execute(sql, (thread_id, str(number)))
                tokens[thread_id] = str(number)
                over.wait(0.01)
        over.set()

    async def use(_: Any, grouped: Any) -> list[int]:
        counts = [0, 0]

        async def keep_saving(thread_id: str, lane: int) -> None:
            number = 0
            while not over.is_set():
                token, number = tokens[thread_id], number + 1
                where = {"thread_id": thread_id, "checkpoint_ns": token, "checkpoint_id": f"{lane}"}
                config = {"configurable": where}
                saver = leased(grouped, token, thread_id)
                try:
                    await saver.aput_writes(config, [("log", number)], f"{lane} {number}", "")
                    counts[0] += 1
                except ThreadTakenOverError:
                    counts[1] += 1

        taking = asyncio.to_thread(keep_taking)
        lanes = [keep_saving(thread_id, lane) for thread_id in tokens for lane in range(4)]
        await asyncio.gather(taking, *lanes)
        return counts

    saved, refused = using(url, opened, use)
    assert saved > 50 and refused > 0
    with psycopg.connect(url) as connection:
        late = connection.execute(
            "SELECT count(*) FROM checkpoint_writes w JOIN takeovers o ON o.thread_id = w.thread_id "
            "AND o.token::int > w.checkpoint_ns::int AND o.at < w.at"
        ).fetchone()
        number = connection.execute("SELECT count(*) FROM checkpoint_writes").fetchone()
    assert late == (0,) and number == (saved,)


def test_a_save_that_waits_for_a_takeover_is_refused_when_it_comes(url: str) -> None:
    """And where the takeover is rolled back, it is stored."""
    take(url, ("t", "old"))

    async def race(grouped: Any, number: int, end: str) -> Any:
        with psycopg.connect(url) as taker:
            taker.execute(TAKE, ("t", "new"))
            saving = asyncio.ensure_future(put(leased(grouped, "old"), number))
            waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            with psycopg.connect(url, autocommit=True) as watcher:
                while watcher.execute(waits).fetchone() == (0,):
                    await asyncio.sleep(0.002)
            assert not saving.done()
            getattr(taker, end)()
            return (await asyncio.gather(saving, return_exceptions=True))[0]

    async def use(_: Any, grouped: Any) -> tuple[Any, Any]:
        return await race(grouped, 1, "rollback"), await race(grouped, 2, "commit")

    kept, refused = using(url, a_pool, use)
    assert kept is None and isinstance(refused, ThreadTakenOverError)
    assert tasks(url) == {"task 001"}


def test_other_threads_that_a_runs_saver_writes_to_are_not_of_its_lease(url: str) -> None:
    take(url, ("t", "mine"))

    async def use(_: Any, grouped: Any) -> None:
        await put(leased(grouped, "mine"), 1, {"thread_id": "a graph within a tool has its own"})

    using(url, a_pool, use)
    assert tasks(url) == {"task 001"}


def test_a_saver_of_another_kind_is_used_as_it_is_and_its_lease_checked(url: str) -> None:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    class Own(AsyncPostgresSaver):
        pass

    async def go() -> Any:
        async with Own.from_conn_string(url) as saver:
            lease = Lease("t", "never taken")
            run = for_many_writes(saver, lease)
            assert run.wrapped is saver
            await put(run, 1)
            await put(run, 2, {"thread_id": "other"})
            return lease.checks

    assert asyncio.run(go()) == 1
    assert len(tasks(url)) == 2


# Tables of another shape


def test_a_version_that_writes_something_else_is_left_to_itself(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease is checked before."""
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    sql = AsyncPostgresSaver.INSERT_CHECKPOINT_WRITES_SQL
    changed = sql.replace("DO NOTHING", "DO UPDATE SET task_path = 'changed'")
    monkeypatch.setattr(AsyncPostgresSaver, "INSERT_CHECKPOINT_WRITES_SQL", changed)
    take(url, ("t", "mine"))

    async def use(_: Any, grouped: Any) -> None:
        for _ in range(2):
            await put(leased(grouped, "mine"), 1)
        with pytest.raises(ThreadTakenOverError):
            await put(leased(grouped, "other"), 2)

    using(url, one_connection, use)
    assert tasks(url) == {"task 001"} and "changed" in rows(url)["checkpoint_writes"][0]


def test_a_column_that_the_statement_does_not_fit_is_left_to_the_saver(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DOMAIN short AS varchar(100)")
        connection.execute("ALTER TABLE checkpoint_writes ALTER COLUMN type TYPE short")
        connection.execute("ALTER TABLE checkpoints ALTER COLUMN metadata DROP DEFAULT")
        connection.execute("ALTER TABLE checkpoints ALTER COLUMN metadata TYPE json")
        connection.execute("ALTER TABLE checkpoints ADD COLUMN more text DEFAULT 'own'")

    async def use(_: Any, grouped: Any) -> None:
        await asyncio.gather(put(grouped, 1), put_checkpoint(grouped, 1))

    using(url, a_pool, use)
    found = rows(url)
    assert len(found["checkpoint_writes"]) == 3 and found["checkpoints"][0].endswith(",own)")


# Runs


@every
def test_a_run_is_saved_and_goes_on(url: str, opened: Opened, tmp_path: Any) -> None:
    async def use(saver: Any, _: Any) -> None:
        graph = rlm([BATCH], checkpointer=saver, blob_store=tmp_path / "blobs")
        out = await graph.ainvoke({"query": "q"}, thread(), durability="sync")
        state = await graph.aget_state(thread())
        again = await graph.ainvoke({"query": "more"}, thread(), durability="sync")
        assert len([place for place in state.values["log"] if place.startswith("0.0/0/")]) == CALLS
        assert out["answer"] == again["answer"]

    using(url, opened, use)


def test_a_sync_call_may_use_an_async_saver_of_another_loop(url: str, tmp_path: Any) -> None:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async def go() -> None:
        async with AsyncPostgresSaver.from_conn_string(url) as saver:
            graph = rlm([BATCH], checkpointer=saver, blob_store=tmp_path / "blobs")
            await asyncio.to_thread(graph.invoke, {"query": "q"}, thread())

    asyncio.run(go())
    assert len(tasks(url)) > 1


@pytest.mark.parametrize("opened", [a_pool, a_sync_pool], ids=["pool", "sync"])
def test_a_thread_is_read_in_few_trips_and_with_all_that_it_holds(
    url: str, opened: Opened, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a branch, whose steps are not those right before. A graph that has read nothing
    before sees the same."""
    turns = ["```repl\nprint(llm_query('a'))\n```"] * 5 + ["```repl\nFINAL('done')\n```"]
    trips: list[str] = []

    def counted(of: Any) -> None:
        run = of.execute

        def execute(self: Any, query: Any, *given: Any, **options: Any) -> Any:
            trips.append(" ".join(str(query).split())[:60])
            return run(self, query, *given, **options)

        monkeypatch.setattr(of, "execute", execute)

    async def use(saver: Any, _: Any) -> None:
        made = [rlm([*turns * 5], checkpointer=saver, blob_store=tmp_path / "b") for _ in range(2)]
        graph, cold = made
        for _ in range(2):
            await graph.ainvoke({"query": "q"}, thread(), durability="sync")
        old = [state async for state in graph.aget_state_history(thread())][8].config
        for config in (thread(), old, thread()):
            counted_before = len(trips)
            await graph.ainvoke({"query": "more"}, config, durability="sync")
            reads = [sql for sql in trips[counted_before:] if sql.startswith("select thread_id")]
            assert len(reads) < 12
        warm_log = (await graph.aget_state(thread())).values["log"]
        assert warm_log == (await cold.aget_state(thread())).values["log"]

    counted(psycopg.AsyncCursor)
    counted(psycopg.Cursor)
    using(url, opened, use)
