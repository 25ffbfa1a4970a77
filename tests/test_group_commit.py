"""Group commit: SQLite saves the ends of a batch in few transactions, and whatever returns is on disk."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph

from langgraph_rlm.pregel.group_commit import GroupCommitSaver, group_commit

from .models import rlm, thread

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": "c"}}
CALLS = 200
BATCH = f"```repl\nreplies = llm_query_batched([f'Q{{i}}' for i in range({CALLS})])\nFINAL(len(set(replies)))\n```"


class Connection(aiosqlite.Connection):
    """A connection that counts its commits, and fails those it is told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(lambda: sqlite3.connect(path), iter_chunk_size=64)
        self.path = path
        self.commits = 0
        self.fails = False

    async def commit(self) -> None:
        """As sqlite3's."""
        self.commits += 1
        if self.fails:
            raise sqlite3.OperationalError("disk I/O error")
        await super().commit()


def with_saver(path: Path, use: Callable[[AsyncSqliteSaver, Connection], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        async with Connection(path) as connection:
            saver = AsyncSqliteSaver(connection)
            await saver.setup()
            connection.commits = 0
            return await use(saver, connection)

    return asyncio.run(go())


def rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("SELECT * FROM writes ORDER BY task_id, idx").fetchall()
    finally:
        connection.close()


def checkpoint_rows(path: Path) -> list[Any]:
    connection = sqlite3.connect(path)
    try:
        query = "SELECT * FROM checkpoints ORDER BY checkpoint_ns, checkpoint_id"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def put_checkpoint(saver: AsyncSqliteSaver, number: int) -> Awaitable[Any]:
    """A checkpoint of a child; every tenth has no parent, and all have metadata of their config."""
    place = {"thread_id": 7, "checkpoint_ns": f"sub_call:{number:03}", "secret": "__"}
    if number % 10:
        place["checkpoint_id"] = f"{number:03} before"
    given: Any = {"configurable": place, "metadata": {"tag": "é\ud800", "run_id": "r"}}
    saved: Any = {**empty_checkpoint(), "id": f"{number:03}", "ts": "now"}
    return saver.aput(given, saved, {"source": "loop", "step": number, "parents": {}}, {})


def put(saver: AsyncSqliteSaver, number: int) -> Awaitable[None]:
    """One task's writes; every tenth has an error, which the saver files in another way."""
    special = [("__error__", "failed")] if number % 10 == 0 else []
    return saver.aput_writes(
        CONFIG,
        [*special] or [("log", {f"0.0/0/{number}": "reply"}), ("usage", number)],
        f"task {number:03}",
        "~path",
    )


async def put_all(saver: AsyncSqliteSaver, _: Connection) -> None:
    await asyncio.gather(*(put(saver, number) for number in range(100)))


def test_a_group_writes_what_the_saver_would_have_written(tmp_path: Path) -> None:
    async def in_groups(saver: AsyncSqliteSaver, connection: Connection) -> int:
        await put_all(group_commit(saver), connection)
        return connection.commits

    with_saver(tmp_path / "one by one", put_all)
    assert 1 <= with_saver(tmp_path / "in groups", in_groups) <= 3
    assert rows(tmp_path / "in groups") == rows(tmp_path / "one by one")
    assert len(rows(tmp_path / "in groups")) == 190


def test_checkpoints_join_the_groups_and_are_what_the_saver_would_have_written(
    tmp_path: Path,
) -> None:
    async def put_both(saver: AsyncSqliteSaver, connection: Connection) -> Any:
        numbers = range(50)
        both = [save(saver, number) for number in numbers for save in (put, put_checkpoint)]
        return await asyncio.gather(*both)

    async def in_groups(saver: AsyncSqliteSaver, connection: Connection) -> Any:
        return await put_both(group_commit(saver), connection), connection.commits

    alone = with_saver(tmp_path / "one by one", put_both)
    together, commits = with_saver(tmp_path / "in groups", in_groups)
    assert together == alone and 1 <= commits <= 3
    assert rows(tmp_path / "in groups") == rows(tmp_path / "one by one")
    saved = checkpoint_rows(tmp_path / "in groups")
    assert saved == checkpoint_rows(tmp_path / "one by one") and len(saved) == 50


def test_a_checkpoint_that_returned_is_on_disk_and_replaces_one_of_its_id(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        grouped = group_commit(saver)
        for step in (1, 2):
            saved: Any = {**empty_checkpoint(), "id": "c"}
            await grouped.aput(CONFIG, saved, {"source": "loop", "step": step}, {})
            [row] = checkpoint_rows(connection.path)
            assert f'"step": {step}' in row[-1].decode()

    with_saver(tmp_path / "db", use)


def test_the_writes_and_checkpoints_of_a_group_stand_or_fall_together(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        grouped, connection.fails = group_commit(saver), True
        both = (put(grouped, 1), put_checkpoint(grouped, 1))
        results = await asyncio.gather(*both, return_exceptions=True)
        assert [str(result) for result in results] == ["disk I/O error"] * 2
        connection.fails = False
        await put_checkpoint(grouped, 2)
        assert rows(connection.path) == [] and len(checkpoint_rows(connection.path)) == 1

    with_saver(tmp_path / "db", use)


def test_what_returns_is_on_disk(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        async def one(number: int) -> None:
            await asyncio.sleep(number / 2000)
            await put(group_commit(saver), number)
            assert any(row[3] == f"task {number:03}" for row in rows(connection.path))

        await asyncio.gather(*map(one, range(40)))

    with_saver(tmp_path / "db", use)


def test_a_transaction_that_fails_is_told_to_each_of_its_group_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        grouped = group_commit(saver)
        connection.fails = True
        results = await asyncio.gather(
            *(put(grouped, number) for number in range(1, 4)), return_exceptions=True
        )
        assert [str(result) for result in results] == ["disk I/O error"] * 3
        connection.fails = False
        await put(grouped, 5)
        assert {row[3] for row in rows(connection.path)} == {"task 005"}

    with_saver(tmp_path / "db", use)


def test_a_value_that_cannot_be_stored_fails_its_own_write_alone(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        grouped = group_commit(saver)
        lost = grouped.aput_writes(CONFIG, [("log", lambda: None)], "lost")
        good, bad = await asyncio.gather(put(grouped, 1), lost, return_exceptions=True)
        assert good is None and isinstance(bad, TypeError)
        assert {row[3] for row in rows(connection.path)} == {"task 001"}

    with_saver(tmp_path / "db", use)


def test_a_caller_that_is_cancelled_takes_no_other_with_it(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        puts = [asyncio.ensure_future(put(group_commit(saver), number)) for number in range(1, 4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        puts[0].cancel()
        results = await asyncio.gather(*puts, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError) and results[1:] == [None, None]
        assert {row[3] for row in rows(connection.path)} >= {"task 002", "task 003"}

    with_saver(tmp_path / "db", use)


def as_root(saver: Any, folder: Path) -> Any:
    return rlm([BATCH], checkpointer=saver, blob_store=folder)


def as_node(saver: Any, folder: Path) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("rlm", as_root(None, folder))
    graph.add_edge(START, "rlm")
    graph.add_edge("rlm", END)
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("made", [as_root, as_node])
def test_a_batch_takes_few_transactions(tmp_path: Path, made: Callable[[Any, Path], Any]) -> None:
    """Whose saver it is: the RLM's own, or that of the agent around it."""

    async def use(saver: AsyncSqliteSaver, connection: Connection) -> int:
        graph = made(saver, tmp_path / "blobs")
        await graph.ainvoke({"messages": [("user", "q")]}, thread(), durability="sync")
        return connection.commits

    assert with_saver(tmp_path / "db", use) < CALLS / 4


def test_a_saver_of_the_users_own_making_is_used_as_it_is(tmp_path: Path) -> None:
    class Own(AsyncSqliteSaver):
        puts = 0

        async def aput_writes(self, *args: Any, **kwargs: Any) -> None:
            Own.puts += 1
            await super().aput_writes(*args, **kwargs)

    async def use(saver: AsyncSqliteSaver, _: Connection) -> None:
        await as_root(Own(saver.conn), tmp_path / "blobs").ainvoke(
            {"messages": [("user", "q")]}, thread()
        )

    with_saver(tmp_path / "db", use)
    assert Own.puts


def test_a_table_of_another_shape_is_left_to_the_saver(tmp_path: Path) -> None:
    """A column that is not known here may be one that the saver's own method fills."""

    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        await connection.execute("ALTER TABLE writes ADD COLUMN checksum TEXT DEFAULT 'none'")
        await put_all(group_commit(saver), connection)
        assert connection.commits == 100

    with_saver(tmp_path / "db", use)
    assert len(rows(tmp_path / "db")) == 190


def test_checkpoints_of_another_shape_are_left_to_the_saver(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, connection: Connection) -> None:
        await connection.execute("ALTER TABLE checkpoints ADD COLUMN checksum TEXT DEFAULT 'none'")
        numbers = range(10)
        await asyncio.gather(*(put_checkpoint(group_commit(saver), number) for number in numbers))
        assert connection.commits == 10

    with_saver(tmp_path / "db", use)
    assert len(checkpoint_rows(tmp_path / "db")) == 10


NESTED = 30
ASKS = f"```repl\nFINAL(len(rlm_query_batched(['child'] * {NESTED})))\n```"


def test_children_at_once_share_transactions(tmp_path: Path) -> None:
    """Each child is saved four times, with as many writes."""

    async def use(saver: AsyncSqliteSaver, connection: Connection) -> int:
        limits = {"max_depth": 2, "max_concurrency": NESTED}
        options: Any = {"limits": limits, "checkpointer": saver, "blob_store": tmp_path / "blobs"}
        graph = rlm([ASKS], sub=lambda _: "```repl\nFINAL(1)\n```", **options)
        out = await graph.ainvoke({"query": "q"}, thread(), durability="sync")
        assert out["answer"] == str(NESTED)
        return connection.commits

    commits = with_saver(tmp_path / "db", use)
    assert len(checkpoint_rows(tmp_path / "db")) > 4 * NESTED
    assert commits < 4 * NESTED


def test_one_saver_has_one_group_commit(tmp_path: Path) -> None:
    async def use(saver: AsyncSqliteSaver, _: Connection) -> None:
        assert group_commit(saver) is group_commit(saver)
        assert (
            isinstance(group_commit(saver), GroupCommitSaver)
            and group_commit(saver).lock is saver.lock
        )

    with_saver(tmp_path / "db", use)
