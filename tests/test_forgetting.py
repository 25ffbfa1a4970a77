"""Forgetting: a thread goes with all that only it needs, and nothing that anybody else needs."""

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from langgraph_rlm import (
    BlobError,
    BlobStore,
    ConfigurationError,
    ThreadBusyError,
    aforget,
    aprune,
    athreads,
    forget,
    prune,
    threads,
)
from langgraph_rlm.pregel.databases import rows_of
from langgraph_rlm.storage.backends import backend_at
from langgraph_rlm.storage.context import put_about
from langgraph_rlm.storage.folder import Folder as StoreFolder
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.testing import ScriptedModel

from .faults.databases import Postgres
from .forget_process import context_of, prune_for_ever, work
from .models import rlm, root, thread
from .stores import REMOTE, age, new_store, postgres_server, s3_server, stored

__all__ = ["postgres_server", "s3_server"]

FOLDER = Path(__file__).parent.parent
DAY = timedelta(days=1)
NOW = timedelta(0)
ANN, BEN = "ann " * 1000, "ben " * 1000


in_folder = pytest.mark.parametrize("blobs", ["folder"], indirect=True)


@pytest.fixture
def postgres(postgres_server: Postgres) -> str:
    return postgres_server.url


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def saver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    if request.param == "memory":
        yield InMemorySaver()
    elif request.param == "sqlite":
        with SqliteSaver.from_conn_string(str(tmp_path / "db")) as opened:
            yield opened
    else:
        from langgraph.checkpoint.postgres import PostgresSaver

        with PostgresSaver.from_conn_string(request.getfixturevalue("postgres")) as opened:
            opened.setup()
            for name in [*{each.config["configurable"]["thread_id"] for each in opened.list(None)}]:
                opened.delete_thread(name)
            yield opened


@pytest.fixture(params=["folder", "postgresql"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that deletes at once; processes that a test starts have it too."""
    if request.param == "folder":
        return tmp_path / "blobs"
    url = new_store("postgresql", request, tmp_path)
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", url)
    return url


def asked(saver: Any, blobs: Any, name: str, context: Any, **options: Any) -> Any:
    """A graph, after one question on a thread."""
    graph = rlm(
        root("print(llm_query(context + 'p' * 2100))", "FINAL(len(context))", "FINAL(context[:3])"),
        checkpointer=saver,
        blob_store=blobs,
        **options,
    )
    graph.invoke({"query": f"{name} " * 2000, "context": context}, thread(name))
    return graph


# What goes, and what stays


def test_a_forgotten_thread_is_gone_with_what_only_it_needed(saver: Any, blobs: Any) -> None:
    a = asked(saver, blobs, "a", ANN)
    alone = stored(blobs)
    b = asked(saver, blobs, "b", ANN)
    both = stored(blobs)
    age(blobs)
    freed = forget(a, "a")
    assert freed.threads == ("a",)
    assert freed.checkpoints > 3
    assert freed.database_bytes > 1000
    assert not list(saver.list({"configurable": {"thread_id": "a"}}))
    assert stored(blobs) == both - (alone - _named_by(saver, "b", blobs))
    assert freed.blobs == len(both - stored(blobs)) == 1  # its question
    assert freed.bytes == 4000
    assert freed.kept_blobs == 0
    assert b.invoke({"query": "and how does it begin?"}, thread("b"))["answer"] == "ann"
    assert forget(a, "a").threads == ()


def _named_by(saver: Any, name: str, blobs: Any) -> set[str]:
    text = repr(list(saver.list({"configurable": {"thread_id": name}})))
    return {digest for digest in stored(blobs) if digest in text}


def test_old_threads_are_pruned_and_younger_ones_can_go_on(saver: Any, blobs: Any) -> None:
    asked(saver, blobs, "a", ANN)
    between = time.time()
    b = asked(saver, blobs, "b", BEN)
    age(blobs)
    planned = prune(saver, timedelta(seconds=time.time() - between), blob_store=blobs, dry_run=True)
    freed = prune(saver, timedelta(seconds=time.time() - between), blob_store=blobs)
    assert freed == planned
    assert freed.threads == ("a",)
    assert freed.blobs == 3
    assert [each.id for each in threads(b)] == ["b"]
    assert b.invoke({"query": "how does it begin?"}, thread("b"))["answer"] == "ben"
    age(blobs)
    assert prune(b, NOW).threads == ("b",)
    assert stored(blobs) == set()


async def test_async_savers_forget_as_well(tmp_path: Path, blobs: Any) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = rlm(root("FINAL(len(context))"), checkpointer=saver, blob_store=blobs)
        for name in "abc":
            await graph.ainvoke({"query": "q", "context": ANN + name}, thread(name))
        age(blobs)
        assert [each.id for each in await athreads(graph)] == ["c", "b", "a"]
        assert (await aforget(graph, ["a", "b"])).blobs == 2
        assert (await aprune(graph, NOW)).threads == ("c",)
    assert stored(blobs) == set()


async def test_async_postgres_forgets_as_well(postgres: str, blobs: Any) -> None:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(postgres) as saver:
        await saver.setup()
        graph = rlm(root("FINAL(len(context))"), checkpointer=saver, blob_store=blobs)
        await graph.ainvoke({"query": "q", "context": ANN}, thread("async"))
        age(blobs)
        freed = await aforget(graph, "async")
    assert (freed.threads, freed.blobs) == (("async",), 1)


def test_childrens_checkpoints_go_and_what_living_children_need_stays(
    saver: Any, blobs: Any
) -> None:
    """A child's context is named in its request alone, which is a blob itself."""

    def price(item: str) -> str:
        """The price of an item."""
        return f"{item} costs 2"

    def made(name: str) -> Any:
        parent = f"text = rlm_query('count', context=context + {name!r})\nFINAL(text)"
        child = "text = price('apple')\nFINAL(text + str(len(context)))"
        graph = rlm(
            root(parent),
            sub=root(child),
            checkpointer=saver,
            blob_store=blobs,
            limits={"max_depth": 2},
            tools=[price],
            interrupt_on={"price": True},
        )
        graph.invoke({"query": "q", "context": ANN}, thread(name))
        return graph

    a, b = made("a"), made("b")
    namespaces = {
        saved.config["configurable"]["checkpoint_ns"]
        for saved in saver.list({"configurable": {"thread_id": "a"}})
    }
    assert len(namespaces) > 1
    age(blobs)
    assert prune(b, NOW).skipped == dict.fromkeys("ab", "it waits for an answer")
    assert forget(a, "a").threads == ("a",)
    assert not list(saver.list({"configurable": {"thread_id": "a"}}))
    from langgraph.types import Command

    out = b.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread("b"))
    assert out["answer"] == "apple costs 24001"
    age(blobs)
    assert prune(b, NOW, include_paused=True).threads == ("b",)
    assert stored(blobs) == set()


def test_folders_stay_whole_with_their_lists_of_files(tmp_path: Path, blobs: Any) -> None:
    for name in ("x.txt", "y.txt"):
        (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(name * 1000)
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        a = asked(saver, blobs, "a", ANN)
        code = "FINAL(sorted(context))"
        graph = rlm(root("x = 1", code, code), checkpointer=saver, blob_store=blobs)
        graph.invoke({"query": "q", "context": tmp_path / "in"}, thread("b"))
        age(blobs)
        assert forget(a, "a").blobs == 3
        assert "y.txt" in graph.invoke({"query": "again"}, thread("b"))["answer"]


def test_threads_of_other_graphs_stay_and_rlms_within_graphs_are_found(
    saver: Any, blobs: Any
) -> None:
    class State(TypedDict):
        query: str
        context: str
        answer: str

    def nothing(state: State) -> dict[str, str]:
        return {"answer": "trajectory log suspended"}

    foreign: Any = StateGraph(State)
    foreign.add_node("nothing", nothing)
    foreign.add_edge(START, "nothing")
    foreign.compile(checkpointer=saver).invoke({"query": "q"}, thread("foreign"))
    outer: Any = StateGraph(State)
    inner = rlm(root("FINAL(len(context))"), blob_store=blobs)
    outer.add_node("rlm", inner)
    outer.add_edge(START, "rlm")
    outer.add_edge("rlm", END)
    graph = outer.compile(checkpointer=saver)
    assert graph.invoke({"query": "q", "context": ANN}, thread("outer"))["answer"] == "4000"
    age(blobs)
    assert [each.id for each in threads(graph)] == ["outer"]
    freed = prune(graph, NOW)
    assert (freed.threads, freed.blobs) == (("outer",), 1)
    assert list(saver.list({"configurable": {"thread_id": "foreign"}}))


def test_snapshots_of_interpreters_stay_with_their_thread(tmp_path: Path, blobs: Any) -> None:
    heavy = "x = 0\nfor i in range(20_000_000):\n    x += i\nprint(x)"
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = rlm(root(heavy, "FINAL(x)"), checkpointer=saver, blob_store=blobs)
        graph.invoke({"query": "q"}, thread("a"))
        log = graph.get_state(thread("a")).values["log"]
        taken = {entry["snapshot"] for entry in log.values() if "snapshot" in entry}
        assert taken
        age(blobs)
        assert prune(graph, DAY).blobs == 0
        assert taken <= stored(blobs)
        forget(graph, "a")
        assert stored(blobs) == set()


# Who else may need a blob


def test_what_another_database_needs_stays(tmp_path: Path, blobs: Any) -> None:
    with ExitStack() as opened:
        one, two = (
            opened.enter_context(SqliteSaver.from_conn_string(str(tmp_path / name)))
            for name in ("one", "two")
        )
        a = asked(one, blobs, "a", ANN)
        b = asked(two, blobs, "b", ANN)
        age(blobs)
        assert forget(a, "a").blobs == 1  # its question; the rest is needed by the other file
        assert prune(a, NOW).blobs == 0
        assert b.invoke({"query": "again"}, thread("b"))["answer"] == "ann"


def test_a_database_that_is_not_here_keeps_every_blob_until_it_is_vouched_for(
    tmp_path: Path, blobs: Any
) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "two")) as saver:
        asked(saver, blobs, "b", BEN)
    (tmp_path / "two").rename(tmp_path / "elsewhere")
    with SqliteSaver.from_conn_string(str(tmp_path / "one")) as saver:
        graph = asked(saver, blobs, "a", ANN)
        age(blobs)
        before = stored(blobs)
        freed = forget(graph, "a")
        assert freed.threads == ("a",)
        assert (freed.blobs, freed.kept_blobs) == (0, 3)
        assert "two uses the same store and is not here" in freed.kept_because[0]
        assert stored(blobs) == before
        with SqliteSaver.from_conn_string(str(tmp_path / "elsewhere")) as moved:
            freed = prune(graph, DAY, databases=[moved], all_databases=True)
        assert freed.blobs == 3
        assert (
            prune(graph, DAY).kept_because == ()
        )  # the old name is no more, the new one has a tag
        assert stored(blobs) != set()


@in_folder
def test_a_store_of_before_there_were_lists_is_not_swept_until_it_is_vouched_for(
    tmp_path: Path, blobs: Any
) -> None:
    BlobStore.open(blobs).put(b"of a database that nobody knows")
    shutil.rmtree(blobs / "users")  # earlier versions had none
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = asked(saver, blobs, "a", ANN)
        age(blobs)
        freed = prune(graph, DAY)
        assert (freed.blobs, freed.kept_blobs) == (0, 1)
        assert "before it kept a list of its databases" in freed.kept_because[0]
        assert prune(graph, DAY, all_databases=True).blobs == 1
        assert prune(graph, NOW).blobs == 3


def test_a_store_is_new_though_contexts_are_put_ahead_of_the_first_run(blobs: Any) -> None:
    """As the command does it, and whoever calls `ingest`."""
    store = BlobStore.open(blobs)
    store.put(b"a context")
    assert BlobStore.open(blobs).users.known().is_complete


@in_folder
def test_processes_that_begin_a_store_at_once_all_know_that_it_is_new(blobs: Any) -> None:
    """One has put something by the time that another looks whether there was anything before."""

    def begin(store: BlobStore) -> None:
        use = store.users.begin(None, None)
        store.put(b"anything")
        store.users.end(use)

    class Beaten(StoreFolder):
        def is_empty(self) -> bool:
            begin(BlobStore.open(blobs))
            return super().is_empty()

    begin(BlobStore(Beaten(blobs)))
    assert BlobStore.open(blobs).users.known().is_complete


@contextmanager
def process(*arguments: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.forget_process", *map(str, arguments)]
    with subprocess.Popen(command, cwd=FOLDER, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.mark.parametrize("what", ["memory", "runs"])
def test_what_only_the_memory_of_a_process_needs_stays_until_it_dies(
    tmp_path: Path, blobs: Any, what: str
) -> None:
    """A thread of a saver in memory; a run that nothing saves."""
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = rlm(root("FINAL(1)"), checkpointer=saver, blob_store=blobs)
        with process(what, blobs) as started:
            assert started.stdout is not None
            assert started.stdout.readline() == "asked\n"
            freed = prune(graph, DAY, grace=NOW)
            assert freed.blobs == 0
            assert freed.kept_blobs >= 1
            before = len(stored(blobs))
            os.kill(started.pid, signal.SIGKILL)
            started.wait()
        age(blobs)
        assert prune(graph, DAY).blobs == before
    assert stored(blobs) == set()


# Beside running processes


def test_a_thread_that_runs_is_neither_forgotten_nor_pruned(saver: Any, blobs: Any) -> None:
    asked(saver, blobs, "other", BEN)
    goes_on = threading.Event()

    def slow() -> str:
        """Wait."""
        goes_on.wait(30)
        return ""

    code = "slow()\nFINAL(len(context))"
    graph = rlm(root(code), checkpointer=saver, blob_store=blobs, tools=[slow])
    parts = graph.stream({"query": "q", "context": ANN}, thread("a"), stream_mode="updates")
    assert "ingest" in next(parts)
    assert "plan_code" in next(parts)
    with pytest.raises(ThreadBusyError):
        forget(graph, ["other", "a"])
    assert {each.id: each.state for each in threads(graph)} == {"a": "running", "other": "done"}
    freed = prune(graph, NOW)
    assert (freed.threads, freed.skipped) == (("other",), {"a": "it runs"})
    goes_on.set()
    assert list(parts)
    assert graph.get_state(thread("a")).values["answer"] == "4000"


def test_what_is_put_again_is_young_again(tmp_path: Path, blobs: Any) -> None:
    store = BlobStore.open(blobs)
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = asked(saver, blobs, "a", ANN)
        kept, streamed, gone = (store.put(data) for data in (b"kept", b"streamed", b"gone"))
        handle = ingest("handle " * 1000, store)
        age(blobs)
        store.put(b"kept")
        store.put_stream([b"stream", b"ed"])
        ingest(handle, store)
        freed = prune(graph, DAY)
        assert (freed.blobs, freed.kept_blobs) == (1, 3)
        assert {kept, streamed, handle.digest} <= stored(blobs)
        assert gone not in stored(blobs)
        assert store.path(kept).read_bytes() == b"kept"
        age(blobs)
        assert prune(graph, DAY).blobs == 3
        with pytest.raises(BlobError, match="missing"):
            BlobStore.open(blobs).get(kept)


def test_a_handle_that_is_given_again_keeps_its_files_originals_and_notes_go_with_blobs(
    tmp_path: Path, blobs: Any
) -> None:
    """A note may name files of a document."""
    store = BlobStore.open(blobs)
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = rlm(root("FINAL(len(context))"), checkpointer=saver, blob_store=blobs)
        original = store.put(b"%PDF")
        about = put_about({"a.pdf": {"original": original, "bytes": 4}}, store)
        handle = replace(ingest("text " * 1000, store), about=about)
        store.note("0" * 64, f'{{"out": "{handle.digest}"}}'.encode())
        age(blobs)
        graph.invoke({"query": "q", "context": handle}, thread("a"))
        age(blobs)
        assert prune(graph, DAY, all_databases=True).blobs == 0
        graph.invoke({"query": "q", "context": handle}, thread("b"))
        assert forget(graph, ["a", "b"]).kept_blobs == 3
        assert {original, about, handle.digest} == stored(blobs)
        assert store.noted("0" * 64)
        age(blobs)
        assert prune(graph, DAY).blobs == 3
        assert store.noted("0" * 64) is None


def test_a_blob_that_is_put_while_it_is_set_aside_comes_back(blobs: Any) -> None:
    store = BlobStore.open(blobs)
    digest = store.put(b"needed")
    age(blobs)
    now = time.time()
    name = store.backend.set_aside(digest, now - 60)
    assert name is not None
    assert stored(blobs) == set()
    assert BlobStore.open(blobs).get(digest) == b"needed"  # a reader finds it
    assert stored(blobs) == {digest}
    age(blobs)
    assert store.backend.set_aside(digest, now - 3 * 3600) is None  # it is younger
    name = store.backend.set_aside(digest, now - 60)
    assert name is not None
    assert store.put(b"needed") == digest
    store.backend.delete_aside(name)
    assert BlobStore.open(blobs).get(digest) == b"needed"


@in_folder
def test_a_prune_that_was_killed_loses_nothing_and_the_next_one_ends_it(
    tmp_path: Path, blobs: Any
) -> None:
    """Killed after some threads were deleted, with one blob set aside that a thread needs, and one
    that none does."""
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        asked(saver, blobs, "a", ANN)
        graph = asked(saver, blobs, "b", BEN)
        age(blobs)
        saver.delete_thread("a")
        for digest in stored(blobs):
            assert backend_at(str(blobs)).set_aside(digest, time.time()) is not None
        assert stored(blobs) == set()
        (blobs / ".new-killed").write_bytes(b"half")
        os.utime(blobs / ".new-killed", (0, 0))
        freed = prune(graph, DAY)
        assert freed.blobs == 3
        assert len(stored(blobs)) == 3
        assert not list(blobs.glob("*/*.aside"))
        assert not list(blobs.glob(".new*"))
        assert graph.invoke({"query": "again"}, thread("b"))["answer"] == "ben"


def test_what_only_looks_like_a_digest_deletes_nothing(tmp_path: Path, blobs: Any) -> None:
    """A digest among other hex digits is a reference too: whoever writes one can keep a blob, and
    delete none."""
    store = BlobStore.open(blobs)
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = rlm(root("FINAL(1)"), checkpointer=saver, blob_store=blobs)
        graph.invoke({"query": "q", "context": ANN}, thread("a"))
        digest = store.put(b"named")
        graph.invoke({"query": f"what is 00{digest}ff?"}, thread("b"))
        dump = "ab" * 50_000
        graph.invoke({"query": "q", "context": f"{dump} {digest}{'0' * 900}"}, thread("c"))
        age(blobs)
        assert prune(graph, DAY).blobs == 0
        forget(graph, "b")
        assert digest in stored(blobs)
        age(blobs)
        assert forget(graph, "c").blobs == 2


@in_folder
@pytest.mark.parametrize("tag", ["no JSON", "[]", '{"kind": "sqlite"}', '{"since": 1}'])
def test_a_tag_that_cannot_be_read_stops_a_prune(tmp_path: Path, blobs: Any, tag: str) -> None:
    """It may be a newer version's, and say who needs what."""
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = asked(saver, blobs, "a", ANN)
        (blobs / "users" / "database-new").write_text(tag)
        with pytest.raises(BlobError, match=r"The tag 'database-new' in .* cannot be read"):
            prune(graph, NOW)
        assert [*saver.list(thread("a"))]


@in_folder
def test_a_tag_of_what_is_no_database_deletes_nothing(tmp_path: Path, blobs: Any) -> None:
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = asked(saver, blobs, "a", ANN)
        text = tmp_path / "text"
        text.write_text("no database " * 1000)
        about = {"kind": "sqlite", "name": str(text), "inode": text.stat().st_ino}
        (blobs / "users" / "database-text").write_text(json.dumps(about))
        age(blobs)
        with pytest.raises(ConfigurationError, match="cannot be read: file is not a database"):
            prune(graph, NOW)
        assert len(stored(blobs)) == 3


# Other stores


@pytest.mark.parametrize("kind", REMOTE)
def test_a_remote_store_is_swept_in_two_steps(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """A bucket cannot rename, so what nobody needs is set aside, and deleted by a later prune."""
    url = new_store(kind, request, tmp_path)
    backend = BlobStore.open(url).backend
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        a = asked(saver, url, "a", ANN)
        b = asked(saver, url, "b", BEN)
        assert forget(a, "a").kept_blobs == 3
        age(url)
        freed = prune(b, DAY)
        assert (freed.blobs, freed.aside_blobs) == (0, 3)
        assert len([*backend.blobs()]) == len([*backend.aside()]) == 3
        a.invoke({"query": "q", "context": ANN}, thread("again"))  # two of them are put again
        assert prune(b, DAY).blobs == 0
        assert len([*backend.aside()]) == 1
        age(url)
        assert prune(b, DAY).blobs == 1
        assert b.invoke({"query": "again"}, thread("b"))["answer"] == "ben"
        assert a.invoke({"query": "again"}, thread("again"))["answer"]


@pytest.mark.parametrize("kind", REMOTE)
def test_a_remote_blob_that_is_missed_is_found_aside_and_an_old_one_is_written_again(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    url = new_store(kind, request, tmp_path)
    store = BlobStore.open(url)
    digests = [store.put(data) for data in (b"one", b"two", b"three")]
    age(url)
    for digest in digests:
        assert store.backend.set_aside(digest, time.time())
    other = BlobStore.open(url)
    assert other.get(digests[0]) == b"one"
    assert other.path(digests[1]).read_bytes() == b"two"
    assert other.has(digests[2])
    age(url)
    assert store.has(digests[0])
    assert store.put(b"two") == digests[1]
    young = {found.digest for found in store.backend.blobs() if found.used > time.time() - 600}
    assert young == {digests[0], digests[1]}


def test_a_file_system_without_times_is_refused_before_anything_is_deleted(tmp_path: Path) -> None:
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Timeless(MemoryFileSystem):
        protocol = "timeless"

        def find(self, *args: Any, **kwargs: Any) -> Any:
            found: Any = super().find(*args, **kwargs)
            if isinstance(found, list):
                return found
            return {path: {**info, "created": None} for path, info in found.items()}

        def modified(self, path: str) -> Any:
            raise NotImplementedError

    fsspec.register_implementation("timeless", Timeless, clobber=True)
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        graph = asked(saver, f"timeless://{tmp_path.name}", "a", ANN)
        with pytest.raises(ConfigurationError, match="does not say how old a file is"):
            forget(graph, "a")
        assert [*saver.list(thread("a"))]


# Listings, and wrong use


def test_threads_are_listed_with_state_size_and_question(saver: Any, blobs: Any) -> None:
    def ask() -> str:
        """Ask."""
        return ""

    asked(saver, blobs, "done", ANN)
    graph = rlm(
        root("ask()"), checkpointer=saver, blob_store=blobs, tools=[ask], interrupt_on={"ask": True}
    )
    graph.invoke({"query": "what waits?"}, thread("paused"))
    broken = rlm(ScriptedModel(replies=[OSError("away")]), checkpointer=saver, blob_store=blobs)
    with pytest.raises(OSError, match="away"):
        broken.invoke({"query": "what was cut off?"}, thread("stopped"))
    found = {each.id: each for each in threads(saver, blob_store=blobs)}
    assert list(found) == ["stopped", "paused", "done"]
    assert {each.state for each in found.values()} == set(found)
    assert all(each.state == name for name, each in found.items())
    assert found["paused"].question == "what waits?"
    assert found["done"].question == "done " * 40
    assert found["done"].bytes > 4000 + 9000
    assert found["done"].updated.tzinfo is not None


def test_wrong_use_is_told(blobs: Any) -> None:
    graph = rlm(["FINAL(1)"], blob_store=blobs)
    with pytest.raises(ConfigurationError, match="Threads are in a checkpointer"):
        forget(graph, "a")
    with pytest.raises(ConfigurationError, match="must not be negative"):
        prune(InMemorySaver(), -DAY)


@in_folder
async def test_encrypted_threads_are_read_with_their_key_alone(tmp_path: Path, blobs: Any) -> None:
    from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

    class Mirror:
        """A cipher for tests."""

        def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
            return "mirror", plaintext[::-1]

        def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
            return ciphertext[::-1]

    async with (
        AsyncSqliteSaver.from_conn_string(str(tmp_path / "secret")) as secret,
        AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as plain,
    ):
        secret.serde = EncryptedSerializer(Mirror())
        graph = rlm(root("FINAL(len(context))"), checkpointer=secret, blob_store=blobs)
        await graph.ainvoke({"query": "q", "context": ANN}, thread("a"))
        other = rlm(root("FINAL(len(context))"), checkpointer=plain, blob_store=blobs)
        await other.ainvoke({"query": "q", "context": ANN}, thread("b"))
        age(blobs)
        assert not any(
            b"trajectory" in value for value in (await (await rows_of(plain)).of("x")).values
        )
        freed = await aforget(other, "b")
        assert (freed.blobs, freed.kept_blobs) == (0, 0 if not freed.kept_because else 1)
        assert "serializer of its own" in freed.kept_because[0]
        assert (await aprune(other, DAY, databases=[graph])).blobs == 0
        assert (await aforget(graph, "a", databases=[other])).blobs == 1


# Twenty runs at work


async def test_nothing_that_is_needed_is_lost_while_prunes_and_runs_work(
    tmp_path: Path, blobs: Any
) -> None:
    """As the slow test below, in one process and shorter."""
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
        deleted: list[int] = []
        BlobStore.open(blobs).put(b"what nobody needs")
        pruning = asyncio.create_task(
            prune_for_ever(saver, lambda freed: deleted.append(freed.blobs))
        )
        await asyncio.gather(*(work(saver, 4, seed) for seed in range(4)))
        while not (sum(deleted) or pruning.done()):
            await asyncio.sleep(0.1)
        pruning.cancel()
        await asyncio.gather(pruning, return_exceptions=True)
    assert sum(deleted)
    check_all_go_on(tmp_path, blobs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_that_is_needed_is_lost_while_20_runs_work(tmp_path: Path, blobs: Any) -> None:
    """Four processes ask questions on contexts that come again, five at once in each, and forget
    half of their threads. Two others prune without a pause and without a grace, and are killed.
    Every run ends, and every thread that is left can go on."""
    with ExitStack() as started:
        pruners = [started.enter_context(process("prune", tmp_path)) for _ in range(2)]
        working = [
            started.enter_context(process("work", tmp_path, first)) for first in (0, 5, 10, 15)
        ]
        said: list[str] = []
        while any(worker.poll() is None for worker in working):
            first = pruners.pop(0)
            assert first.stdout is not None
            said.append(first.stdout.readline())  # it has pruned once, and prunes again
            time.sleep(random.uniform(0, 1))
            os.kill(first.pid, signal.SIGKILL)
            said.append(first.communicate()[0])
            pruners.append(started.enter_context(process("prune", tmp_path)))
        for worker in working:
            assert worker.communicate(timeout=500)[0] == "done\n"
        for pruner in pruners:
            os.kill(pruner.pid, signal.SIGKILL)
            said.append(pruner.communicate()[0])
    deleted = [int(line) for each in said for line in each.splitlines()]
    print(f"{len(deleted)} prunes, {len(said) // 2} of them killed, deleted {sum(deleted)} blobs")
    assert sum(deleted)
    check_all_go_on(tmp_path, blobs)


def check_all_go_on(folder: Path, blobs: Any) -> None:
    """Ask each thread that is left once more, and forget all."""
    with SqliteSaver.from_conn_string(str(folder / "db")) as saver:
        graph = rlm(root(*["FINAL(len(context))"] * 1000), checkpointer=saver, blob_store=blobs)
        left = threads(graph)
        for each in left:
            out = graph.invoke({"query": "more"}, thread(each.id))
            assert out["answer"] == str(len(context_of(each.id)))
        print(f"{len(left)} threads are left, and all go on")
        age(blobs)
        prune(graph, NOW)
    assert stored(blobs) == set()
