"""Kin: threads of children elsewhere in their parent's database. A trace shows them as it shows children of the same process, and what deletes a parent deletes them."""

import asyncio
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import StateGraph
from langgraph.types import Command
from rich.console import Console

from langgraph_rlm import ForkError, ThreadBusyError, aforget, aprune, athreads
from langgraph_rlm.cli.forking import _found
from langgraph_rlm.cli.show_text import thread_shown
from langgraph_rlm.cli.trace_index import WITHIN, TraceIndex
from langgraph_rlm.history.homes import home_of
from langgraph_rlm.history.kin import children_of, named_in
from langgraph_rlm.pregel.leases import database_of, lease
from langgraph_rlm.testing import replay_run, save_run
from langgraph_rlm.trace import atrace_of
from langgraph_rlm.trace.follow import Follower
from tests.remote.app import make, send_email
from tests.remote.fake_engine import ELSEWHERE, FakeEngine, fake_engine


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    return fake_engine(monkeypatch)


def config(thread: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread, **more}}


def app(engine: FakeEngine, folder: Path, saver: Any, **options: Any) -> Any:
    """The app, whose children run on the engine."""
    graph = make(checkpointer=saver, children=ELSEWHERE, blob_store=folder / "blobs", **options)
    engine.graph = graph
    return graph


async def asked(graph: Any, query: str, thread: str = "p", **options: Any) -> Any:
    """The output of a question, every pause of which is approved."""
    given: Any = {"query": query, "context": "ctx"}
    while True:
        out = await graph.ainvoke(given, config(thread), **options)
        pauses = (await graph.aget_state(config(thread))).interrupts
        if not pauses:
            return out
        approved = {"decisions": [{"type": "approve"}]}
        given = Command(resume={pause.id: approved for pause in pauses})


TIMES = {"at", "seconds", "from", "to", "waited", "run", "runs", "checkpoint", "branches"}
"""Keys of records that no two runs have alike."""


def alike(records: Any) -> list[Any]:
    """Records without what differs: times, ids, threads, and the budget of a child elsewhere, which
    is a setting of its own."""
    names: dict[str, str] = {}
    for record in records:
        if record["type"] == "rlm":
            names[record["rlm"]] = f"rlm {len(names)}"

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = TIMES | {"thread", "settings", "started"}
            return {key: plain(each) for key, each in value.items() if key not in left_out}
        return [plain(each) for each in value] if isinstance(value, list) else value

    text = json.dumps([plain(each) for each in records if each["type"] != "spent"])
    for name, number in names.items():
        text = text.replace(name, number)
    return json.loads(text)


@pytest.mark.parametrize(
    "query", ["fan 3", "deep 2", "tree 2 2", "deepmail ann", "form 3", "fail x"]
)
def test_a_trace_is_that_of_children_in_the_process(
    engine: FakeEngine, tmp_path: Path, query: str
) -> None:
    async def trace(graph: Any) -> Any:
        await asked(graph, query)
        return await atrace_of(graph, config("p"))

    local = make(checkpointer=InMemorySaver(), children=None, blob_store=tmp_path / "local")
    here = asyncio.run(trace(local))
    there = asyncio.run(trace(app(engine, tmp_path, InMemorySaver())))
    assert alike(there.records) == alike(here.records)
    ends = [[run["ended"] for run in trace.head["runs"]] for trace in (there, here)]
    assert ends[0] == ends[1]
    assert engine.made


def rlms(records: Any) -> dict[str, Any]:
    return {each["rlm"]: each for each in records if each["type"] == "rlm"}


def spent(records: Any) -> tuple[float, int, int]:
    (record,) = [each for each in records if each["type"] == "spent"]
    return record["cost"][-1], record["tokens"][-1], record["sub_calls"][-1]


async def traced(graph: Any, **more: Any) -> list[Any]:
    return list((await atrace_of(graph, config("p"), **more)).records)


async def in_time(condition: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


class TestTrace:
    """A trace reads children's threads, whatever reads it."""

    def test_nothing_is_counted_twice(self, engine: FakeEngine, tmp_path: Path) -> None:
        async def run() -> None:
            out = await asked(app(engine, tmp_path, InMemorySaver()), "tree 2 2")
            records = await traced(engine.graph)
            cost, tokens, sub_calls = spent(records)
            usage = out["usage"]
            assert cost == pytest.approx(usage["cost"])
            assert tokens == usage["input_tokens"] + usage["output_tokens"]
            assert sub_calls == usage["sub_calls"]
            assert len(records[0]["runs"]) == 1, "the invocations of this thread alone"

        asyncio.run(run())

    @pytest.mark.parametrize("query", ["deep 2", "through deepmail ann"])
    @pytest.mark.parametrize("durability", ["sync", "async", "exit"])
    def test_it_needs_the_checkpointer_alone(
        self, engine: FakeEngine, tmp_path: Path, durability: Any, query: str
    ) -> None:
        async def run() -> None:
            saver = InMemorySaver()
            graph = app(engine, tmp_path, saver)
            await asked(graph, query, durability=durability)
            records = await traced(saver, blob_store=tmp_path / "blobs")
            assert [each["depth"] for each in rlms(records).values()] == [0, 1, 2]

        asyncio.run(run())

    def test_a_child_shows_while_it_runs(self, engine: FakeEngine, tmp_path: Path) -> None:
        """First it is named, then its records come, under its parent; nobody begins it twice."""

        async def run() -> None:
            graph = app(engine, tmp_path, InMemorySaver())
            engine.is_closed = True
            follower = Follower(graph, config("p"))
            asking = asyncio.create_task(asked(graph, "through mail ann"))
            await in_time(lambda: engine.made)
            first = (await follower.trace()).records
            (reply,) = [each for each in first if each["type"] == "reply"]
            assert reply["state"] == "open"
            assert reply["thread"] == engine.made[0]["thread_id"]
            assert "child" not in reply
            engine.is_closed = False
            engine.made[0]["status"] = "error"  # the parent has it run again
            while not (news := await follower.changes()).records:
                await asyncio.sleep(0.01)
            while "paused" not in [each["state"] for each in rlms(news.records).values()]:
                news = await follower.changes()
                await asyncio.sleep(0.01)
            assert (await asking)["answer"] == "sent to ann"
            (child,) = [each for each in rlms(await traced(graph)).values() if each["depth"]]
            last = (await follower.trace()).records
            assert rlms(last)[child["rlm"]]["state"] == "done"
            assert follower.last.others == ()

        asyncio.run(run())

    def test_an_open_pause_is_told_once_where_it_is_answered(
        self, engine: FakeEngine, tmp_path: Path
    ) -> None:
        async def run() -> None:
            graph = app(engine, tmp_path, InMemorySaver())
            given = {"query": "deepmail ann", "context": "ctx"}
            out = await graph.ainvoke(given, config("p"))
            records = await traced(graph)
            (pause,) = [each for each in records if each["type"] == "pause"]
            assert pause["interrupt"] == out["__interrupt__"][0].id
            assert [each["state"] for each in rlms(records).values()] == ["paused", "paused"]

        asyncio.run(run())

    def test_a_child_of_another_database_is_named(self, engine: FakeEngine, tmp_path: Path) -> None:
        async def run() -> None:
            graph = app(engine, tmp_path, InMemorySaver())
            engine.graph = app(engine, tmp_path, InMemorySaver())
            await asked(graph, "through leaf x")
            records = await traced(graph)
            (reply,) = [each for each in records if each["type"] == "reply"]
            assert reply["thread"] == engine.made[0]["thread_id"]
            assert "child" not in reply
            assert len(rlms(records)) == 1
            shown = await said(graph)
            assert f"child on thread {reply['thread']}, which is not in this database" in shown

        asyncio.run(run())

    def test_a_thread_that_says_nothing_of_this_parent_is_not_read(
        self, engine: FakeEngine, tmp_path: Path
    ) -> None:
        """Whoever may write to one thread, such as a client of an engine, names another's in it."""

        async def run() -> None:
            graph = app(engine, tmp_path, InMemorySaver())
            await asked(graph, "leaf secret", "victim")
            await asked(graph, "through leaf x", "family")
            await asked(graph, "through leaf x")
            for named in ("victim", engine.made[0]["thread_id"], "p"):
                log = (await graph.aget_state(config("p"))).values["log"]
                forged = {"0.0/0/0": {**log["0.0/0/0"], "thread": named}}
                await graph.aupdate_state(config("p"), {"log": forged}, as_node="finalize")
                assert len(rlms(await traced(graph))) == 1

        asyncio.run(run())


class TestCommand:
    """The command shows a child elsewhere at its place, and forks it on its own thread alone."""

    def test_show_and_fork(self, engine: FakeEngine, tmp_path: Path) -> None:
        async def run() -> None:
            graph = app(engine, tmp_path, InMemorySaver())
            await asked(graph, "deep 2")
            shown = await said(graph)
            assert f"0.0/0/0{WITHIN}" in shown
            assert "database" not in shown
            with pytest.raises(ForkError, match=engine.made[0]["thread_id"]):
                await _found(graph, config("p"), f"0.0/0/0{WITHIN}0")

        asyncio.run(run())


async def said(graph: Any) -> str:
    """What `langgraph-rlm show` prints."""
    console = Console(width=200, file=io.StringIO())
    index = TraceIndex(await atrace_of(graph, config("p")))
    for part in thread_shown(index, turns_alone=False):
        console.print(part)
    return cast(io.StringIO, console.file).getvalue()


class TestSavedRuns:
    def test_a_saved_run_has_the_children(self, engine: FakeEngine, tmp_path: Path) -> None:
        graph = app(engine, tmp_path, InMemorySaver())
        asyncio.run(asked(graph, "deep 2"))
        save_run(graph, config("p"), tmp_path / "run.json")
        assert replay_run(tmp_path / "run.json", tools=[send_email]).rlms == 3


DAY = timedelta(days=1)


class TestDeleting:
    """A parent and its children stay or go together."""

    async def family(
        self, engine: FakeEngine, folder: Path, **options: Any
    ) -> tuple[Any, set[str]]:
        """A parent and its two children, of which one follows from the other; and a stranger."""
        graph = app(engine, folder, InMemorySaver())
        await asked(graph, "leaf other", "stranger")
        await asked(graph, "deep 2", **options)
        return graph, {"p", *(run["thread_id"] for run in engine.made)}

    @pytest.mark.parametrize("durability", ["async", "exit"])
    def test_forget(self, engine: FakeEngine, tmp_path: Path, durability: Any) -> None:
        async def run() -> None:
            graph, family = await self.family(engine, tmp_path, durability=durability)
            assert len(family) == 3
            freed = await aforget(graph, "p", grace=timedelta(0))
            assert {*freed.threads} == family
            assert [each.id for each in await athreads(graph)] == ["stranger"]

        asyncio.run(run())

    def test_a_child_that_runs_keeps_all(self, engine: FakeEngine, tmp_path: Path) -> None:
        async def run() -> None:
            graph, family = await self.family(engine, tmp_path)
            child = engine.made[-1]["thread_id"]
            database = await database_of(graph.checkpointer)
            async with lease(database, child):
                with pytest.raises(ThreadBusyError):
                    await aforget(graph, "p")
                freed = await aprune(graph, timedelta(0))
                assert freed.skipped == {"p": "it runs"}
                assert freed.threads == ("stranger",)
            assert {each.id for each in await athreads(graph)} == family

        asyncio.run(run())

    def test_prune_goes_by_the_whole_family(
        self, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A child stays with a parent that is young, and its parent with a child that is."""

        async def run() -> None:
            graph, family = await self.family(engine, tmp_path)
            monkeypatch.setattr(
                "langgraph_rlm.history.prune.time_of", lambda saved: ages[id_of(saved)]
            )
            now = datetime.now(UTC)
            for young in family:
                ages = dict.fromkeys({*family, "stranger"}, now - 9 * DAY) | {young: now}
                freed = await aprune(graph, DAY, dry_run=True)
                assert freed.threads == ("stranger",)
            ages = dict.fromkeys({*family, "stranger"}, now - 9 * DAY)
            assert {*(await aprune(graph, DAY)).threads} == {*family, "stranger"}

        asyncio.run(run())

    def test_a_child_whose_parent_is_gone_is_pruned(
        self, engine: FakeEngine, tmp_path: Path
    ) -> None:
        async def run() -> None:
            graph, family = await self.family(engine, tmp_path)
            await graph.checkpointer.adelete_thread("p")
            assert {*(await aprune(graph, timedelta(0))).threads} == (family - {"p"}) | {"stranger"}

        asyncio.run(run())

    def test_in_a_sqlite_file(self, engine: FakeEngine, tmp_path: Path) -> None:
        """Within a larger graph too, whose children run on a graph of their own."""

        async def run() -> None:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
                graph = app(engine, tmp_path, saver)
                own: Any = make(children=ELSEWHERE, blob_store=tmp_path / "blobs")
                builder: Any = StateGraph(Around)
                builder.add_node("rlm", own)
                builder.set_entry_point("rlm")
                larger = builder.compile(checkpointer=saver)
                given = {"query": "deep 2", "context": "ctx"}
                await larger.ainvoke(given, config("p"))
                for reader in (larger, saver):
                    records = await traced(reader, blob_store=tmp_path / "blobs")
                    assert [each["depth"] for each in rlms(records).values()] == [0, 1, 2]
                await asked(graph, "deep 1", "young")
                freed = await aforget(larger, "p")
                assert len(freed.threads) == 3
                assert len((await aprune(graph, timedelta(0))).threads) == 2

        asyncio.run(run())

    def test_nobody_elses_thread_goes_with_one_that_names_it(
        self, engine: FakeEngine, tmp_path: Path
    ) -> None:
        async def run() -> None:
            graph, family = await self.family(engine, tmp_path)
            saver = graph.checkpointer
            async for saved in saver.alist(config("p")):
                namespace = saved.config["configurable"]["checkpoint_ns"]
                if named_in(saved):  # the same steps in a thread of somebody else's
                    at = config("thief", checkpoint_ns=namespace)
                    versions = saved.checkpoint["channel_versions"]
                    await saver.aput(at, saved.checkpoint, saved.metadata, versions)
            home = await home_of(graph, None)
            assert [each async for each in children_of(home, "thief")] == []
            assert (await aforget(graph, "thief")).threads == ("thief",)
            assert family < {each.id for each in await athreads(graph)}

        asyncio.run(run())


class Around(TypedDict):
    """The state of a larger graph."""

    query: str
    context: str
    answer: str


def id_of(saved: Any) -> str:
    return saved.config["configurable"]["thread_id"]
