"""One run of a thread at a time over PostgreSQL, whatever machine it is on: rows that end unless they are renewed."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypedDict, cast

import psutil
import psycopg
import pytest
from httpx import Request
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from openai import APIConnectionError
from psycopg_pool import AsyncNullConnectionPool

from langgraph_rlm import (
    ConfigurationError,
    ThreadBusyError,
    ThreadTakenOverError,
    aforget,
    create_rlm,
)
from langgraph_rlm.chat.ids import thread_of
from langgraph_rlm.history.prune import aprune
from langgraph_rlm.pregel.leases import database_of, how_many_held, is_leased, lease
from langgraph_rlm.server.responses.holding import hold
from langgraph_rlm.testing import ScriptedModel, cell

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


def postgres() -> Postgres:
    try:
        return Postgres()
    except CannotStart as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_LEASE_SECONDS", SECONDS)


@pytest.fixture
def answers() -> threading.Event:
    """Whether the provider answers now."""
    answering = threading.Event()
    answering.set()
    return answering


@pytest.fixture
def provider(answers: threading.Event) -> Iterator[Provider]:
    def reply(messages: Any) -> str:
        answers.wait(60)
        return reply_to(messages)

    with Provider(seconds=0.4, reply=reply) as running:
        yield running


class Worker:
    """A process that runs a thread."""

    def __init__(self, pid: int, out: Path) -> None:
        self._pid = pid
        self._out = out

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def ended(self) -> dict[str, Any]:
        """How it ended; nothing where it was killed."""
        with suppress(psutil.NoSuchProcess):
            psutil.Process(self._pid).wait(60)
        return json.loads(self._out.read_text()) if self._out.exists() else {}


Start = Callable[..., Worker]


@pytest.fixture(scope="module")
def forks() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.lease_process"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, cwd=FOLDER, text=True, **pipes) as process:
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
            own = {
                "db": server.url_for("lease"),
                "store": str(tmp_path),
                "url": provider.url,
                "out": str(out),
            }
            assert forks.stdin is not None and forks.stdout is not None
            print(
                json.dumps({**own, "thread": tmp_path.name, **given}), file=forks.stdin, flush=True
            )
            worker = Worker(int(forks.stdout.readline()), out)
            until_done.callback(worker.send, signal.SIGKILL)
            return worker

        yield begin


def rows(server: Postgres, thread: str = "") -> list[str]:
    """The tokens of the leases of threads whose names begin so."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        try:
            found = connection.execute(
                "SELECT token FROM langgraph_rlm_leases WHERE starts_with(thread_id, %s)", (thread,)
            )
        except psycopg.errors.UndefinedTable:
            return []
        return [row[0] for row in found]


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


RENEW_FAR = """
UPDATE langgraph_rlm_leases SET expires_at = now() + interval '10 s' WHERE thread_id = %s
"""
TAKE_FAR = """
UPDATE langgraph_rlm_leases SET token = 'taken', holder = %s,
  expires_at = now() + make_interval(secs => %s) WHERE thread_id = %s
"""


def take_over(server: Postgres, thread: str, seconds: float) -> None:
    """Have a process on another machine take a thread that is held here, for so long."""
    do(server, TAKE_FAR, FAR, seconds, thread)


def slow_model(answer: Callable[[str], Awaitable[str]]) -> ScriptedModel:
    """A sub-model whose answers take their time."""

    class Slow(ScriptedModel):
        async def _agenerate(self, messages: Any, *args: Any, **options: Any) -> ChatResult:
            said = AIMessage(await answer(messages[-1].text))
            return ChatResult(generations=[ChatGeneration(message=said)])

    return Slow(replies=[])


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not is_so():
        await asyncio.sleep(0.01)


def saved_items(server: Postgres, thread: str) -> set[str]:
    """The digests of the calls whose answers are in the database."""
    found = re.findall(
        r"<(item \d+)>", str([each.pending_writes for each in checkpoints(server.url, thread)])
    )
    return {digest_of([{"content": item, "role": "user"}]) for item in found}


def place_of(saved: Any) -> dict[str, Any]:
    return saved.config["configurable"]


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
    assert provider.wait_for(name, 8, 60)
    while not saved_items(server, name):
        time.sleep(0.05)
    do(server, "UPDATE langgraph_rlm_leases SET expires_at = now() + interval '1 hour'")
    first.send(signal.SIGKILL)
    first.ended()
    settle(server.url_for("lease"))
    saved, before = saved_items(server, name), len(provider.asked(name))
    done = start(resume=True, **more).ended()
    assert done["answer"] == ANSWER
    assert done["usage"]["sub_calls"] == ITEMS
    assert saved and not saved & asked_since(provider, name, before).keys()
    assert not rows(server, tmp_path.name)


def test_a_process_that_died_on_another_machine_is_followed_when_its_lease_ends(
    start: Start, server: Postgres, provider: Provider, tmp_path: Path
) -> None:
    first = start()
    assert provider.wait_for(tmp_path.name, 8, 60)
    first.send(signal.SIGKILL)
    first.ended()
    do(
        server,
        "UPDATE langgraph_rlm_leases SET holder = %s, expires_at = now() + interval '3 s'",
        FAR,
    )
    began = time.monotonic()
    done = start(resume=True).ended()
    assert done["answer"] == ANSWER
    assert time.monotonic() - began > 2.5


# --- processes that are stopped, and come back


@pytest.mark.parametrize("more", [{}, {"node": True}], ids=["alone", "node"])
@pytest.mark.parametrize("during", [False, True], ids=["after", "during"])
def test_a_stopped_process_that_comes_back_neither_writes_nor_asks(
    start: Start, server: Postgres, provider: Provider, tmp_path: Path, during: bool, more: Any
) -> None:
    """While another one works on the thread, or after it. Of twenty items it sends none but what it was about to send.

    Also where the RLM is a node of another graph, which notes the error among its own writes.
    """
    name = tmp_path.name

    def of_rlm() -> list[Any]:
        saved = checkpoints(server.url, name)
        return [each for each in saved if not more or place_of(each)["checkpoint_ns"]]

    first = start(seconds=SECONDS, **more)
    assert provider.wait_for(name, 8, 60)
    while not saved_items(server, name):
        time.sleep(0.05)
    first.send(signal.SIGSTOP)
    time.sleep(0.5)  # for what it had sent to be counted
    before, kept = len(provider.asked(name)), saved_items(server, name)
    second = start(resume=True, **more)
    if during:
        assert provider.wait_for(name, before + 4, 60)
        first.send(signal.SIGCONT)
    done = second.ended()
    assert done["answer"] == ANSWER
    asked, saved = provider.asked(name), of_rlm()
    first.send(signal.SIGCONT)
    lost = first.ended()
    assert lost["error"] == "ThreadTakenOverError"
    assert len(provider.asked(name)) - len(asked) <= IN_FLIGHT  # which it had begun to send
    assert saved and of_rlm() == saved
    assert done["usage"]["sub_calls"] == ITEMS
    assert kept and not kept & asked_since(provider, name, before).keys()
    assert not rows(server, tmp_path.name)


async def test_a_run_that_loses_its_thread_gives_up_what_it_waits_for(
    server: Postgres, tmp_path: Path
) -> None:
    """A model call that takes long is cancelled. The error comes once whoever has the thread lets it go."""
    waiting, ended = asyncio.Event(), list[str]()

    async def slow(prompt: str) -> str:
        waiting.set()
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            ended.append(prompt)
            raise
        return prompt

    async with open_saver(server.url) as saver:
        graph = rlm(root("FINAL(llm_query('x'))"), sub=slow_model(slow), checkpointer=saver)
        given: Any = thread("slow")
        run = asyncio.create_task(graph.ainvoke({"query": "q"}, given, durability="sync"))
        await waiting.wait()
        before = checkpoints(server.url, "slow")
        take_over(server, "slow", 2.5)
        await until(lambda: bool(ended))
        assert not run.done()
        with pytest.raises(ThreadTakenOverError, match="'slow' was taken over by another process"):
            await run
        assert checkpoints(server.url, "slow") == before
        assert run.cancelling() == 0
        done = rlm([], sub=lambda _: "y", checkpointer=saver)
        assert (await done.ainvoke(None, thread("slow")))["answer"] == "y"


async def test_a_run_that_lost_its_thread_can_be_cancelled(server: Postgres) -> None:
    """As servers do that have given it to another worker: it must not end with an error of its own before."""
    waiting = asyncio.Event()

    async def slow(_: str) -> str:
        waiting.set()
        await asyncio.sleep(600)
        return ""

    async with open_saver(server.url) as saver:
        graph = rlm(root("FINAL(llm_query('x'))"), sub=slow_model(slow), checkpointer=saver)
        run = asyncio.create_task(graph.ainvoke({"query": "q"}, thread("dropped")))
        await waiting.wait()
        take_over(server, "dropped", 60)
        await asyncio.sleep(2)
        assert not run.done()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert rows(server, "dropped") == ["taken"]


async def test_a_call_that_waits_to_be_sent_again_is_not_sent_on_a_lost_thread(
    server: Postgres,
) -> None:
    """That the thread is lost is no failure of the model, which code would get to see."""
    requests: list[str] = []

    class Busy(ChatOpenAI):
        async def _agenerate(self, messages: Any, *args: Any, **options: Any) -> ChatResult:
            requests.append(messages[-1].text)
            take_over(server, "resent", 1)
            time.sleep(2)  # noqa: ASYNC251 - nothing is renewed, as in a process that is stopped
            raise APIConnectionError(request=Request("POST", "http://127.0.0.1"))

    async with open_saver(server.url) as saver:
        sub: Any = Busy(model="m", api_key="none", max_retries=3)  # pyright: ignore
        graph = create_rlm(root("FINAL(llm_query('x'))"), sub_model=sub, checkpointer=saver)
        with pytest.raises(ThreadTakenOverError):
            await graph.ainvoke({"query": "q"}, cast(Any, thread("resent")))
    assert requests == ["x"]


async def test_a_tool_does_not_run_on_a_thread_that_was_taken_over(server: Postgres) -> None:
    ran: list[str] = []

    def act() -> str:
        """Act."""
        ran.append("acted")
        return "done"

    def when(_: Any) -> bool:
        take_over(server, "tool", 1)
        time.sleep(2)  # the event loop goes on, as the lease of a stopped process would not
        return False

    async with open_saver(server.url) as saver:
        graph = rlm(
            root("FINAL(act())"),
            tools=[act],
            interrupt_on={"act": {"allowed_decisions": ["approve"], "when": when}},
            checkpointer=saver,
        )
        with pytest.raises(ThreadTakenOverError):
            await graph.ainvoke({"query": "q"}, thread("tool"))
    assert not ran


# --- callers that want the same thread


async def test_a_thread_that_lives_on_another_machine_is_busy(server: Postgres) -> None:
    """It is known by its lease, which is renewed meanwhile. What cannot wait is told at once."""
    put_row(server, "far", 10)

    async def renew() -> None:
        while True:
            await asyncio.sleep(0.3)
            await asyncio.to_thread(do, server, RENEW_FAR, "far")

    renewing = asyncio.create_task(renew())
    async with open_saver(server.url) as saver:
        database = await database_of(saver)
        assert await is_leased(database, "far")
        for wait in (True, False):
            with pytest.raises(ThreadBusyError, match="'far' is running already"):
                async with lease(database, "far", "mine", wait=wait):
                    pass
        renewing.cancel()
        do(server, "UPDATE langgraph_rlm_leases SET expires_at = now() WHERE thread_id = 'far'")
        async with lease(database, "far"):
            assert await is_leased(database, "far")
        assert not await is_leased(database, "far")


async def test_the_same_run_on_another_worker_is_waited_for(server: Postgres) -> None:
    """A server tries a run again whose worker was silent for a while."""
    put_row(server, "again", 60, run="run-1")

    async def end() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(
            do, server, "DELETE FROM langgraph_rlm_leases WHERE thread_id = 'again'"
        )

    async with open_saver(server.url) as saver:
        ending = asyncio.create_task(end())
        model = root("FINAL(1)")
        graph = rlm(model, checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "again", "run_id": "run-1"}}
        twice = [graph.ainvoke({"query": "q"}, config), graph.ainvoke({"query": "q"}, config)]
        answers = [out["answer"] for out in await asyncio.gather(*twice)]
        await ending
        assert answers[0] == "1"


def test_another_process_of_this_machine_is_busy_at_once(
    start: Start,
    server: Postgres,
    provider: Provider,
    answers: threading.Event,
    tmp_path: Path,
) -> None:
    """It need not be waited for until its lease is renewed. The same run is waited for, and found to be over."""
    answers.clear()
    first = start(run="one")
    while not rows(server, tmp_path.name):
        time.sleep(0.05)
    second, same = start(resume=True, run="two"), start(resume=True, run="one")
    assert second.ended()["error"] == "ThreadBusyError"
    answers.set()
    assert first.ended()["answer"] == ANSWER
    assert same.ended()["answer"] == ANSWER
    assert len(provider.asked(tmp_path.name)) == 1 + ITEMS


# --- graphs with RLMs as nodes


class TwoAnswers(TypedDict, total=False):
    """The state of a graph that asks two RLMs at once."""

    a: str
    b: str


def asking_twice(graph: Any, saver: Any) -> Any:
    """A graph that asks an RLM in two nodes at once; they have no state in common with it."""
    builder: Any = StateGraph(TwoAnswers)
    for name in "ab":

        async def node(_: Any, name: str = name) -> Any:
            return {name: (await graph.ainvoke({"query": name}))["answer"]}

        builder.add_node(f"ask_{name}", node)
        builder.add_edge(START, f"ask_{name}")
    return builder.compile(checkpointer=saver)


@pytest.mark.parametrize("own", [False, True], ids=["", "own saver"])
async def test_rlms_in_tasks_of_one_graph_run_beside_each_other_and_each_once(
    server: Postgres, own: bool
) -> None:
    """Each has a lease of its namespace. The same task is not run by a second caller, as long as the first one is at it."""
    going, count, asked = asyncio.Event(), how_many_held(), list[str]()

    async def slow(prompt: str) -> str:
        asked.append(prompt)
        await going.wait()
        return prompt

    async with open_saver(server.url) as saver:
        model = ScriptedModel(answer=lambda _: cell("FINAL(llm_query('x'))"))
        options: Any = {"checkpointer": saver} if own else {}
        graph = asking_twice(rlm(model, sub=slow_model(slow), **options), saver)
        name = f"beside-{own}"
        run = asyncio.create_task(graph.ainvoke({"a": ""}, thread(name)))
        await until(lambda: len(rows(server, f"{name}|ask_")) == 2)
        await until(lambda: how_many_held() == count + 2)
        with pytest.raises(ThreadBusyError):
            await graph.ainvoke(None, thread(name))
        same: Any = {"configurable": {"thread_id": f"named-{own}", "run_id": "run-1"}}
        named = asyncio.create_task(graph.ainvoke({"a": ""}, same))
        await until(lambda: len(rows(server, f"named-{own}|ask_")) == 2)
        again = asyncio.create_task(graph.ainvoke(None, same))  # as a server tries a run again
        await asyncio.sleep(0.3)
        going.set()
        assert await asyncio.gather(run, named, again) == [{"a": "x", "b": "x"}] * 3
        assert len(asked) == 4 and how_many_held() == count and not rows(server, name)


async def test_an_rlm_in_a_tool_of_another_one_has_its_lease(server: Postgres) -> None:
    """One row stands for all that a run does."""
    seen: list[list[str]] = []

    async def look(prompt: str) -> str:
        seen.append(rows(server, "tooled"))
        return prompt

    async with open_saver(server.url) as saver:
        inner = rlm(root("FINAL(llm_query('x'))"), sub=slow_model(look))

        async def ask(question: str) -> str:
            """Ask another RLM."""
            return (await inner.ainvoke({"query": question}))["answer"]

        outer = rlm(root("FINAL(ask('q'))"), tools=[ask], checkpointer=saver)
        assert (await outer.ainvoke({"query": "q"}, thread("tooled")))["answer"] == "x"
    assert [len(tokens) for tokens in seen] == [1]


# --- databases that are away, or do not let us


async def test_a_database_that_is_away_for_a_while_ends_no_run(tmp_path: Path) -> None:
    """A run that cannot know whether it still has its thread waits until it knows, and asks nobody meanwhile."""
    asked: list[str] = []
    with postgres() as own:

        async def away(prompt: str) -> str:
            asked.append(prompt)
            if prompt == "first":
                own.stop()
                await asyncio.sleep(2)
                starting.append(asyncio.create_task(asyncio.to_thread(later)))
            return f"<{prompt}>"

        def later() -> None:
            time.sleep(1)
            own.start()

        starting: list[Any] = []
        async with open_pool(own.url) as saver:
            sub = slow_model(away)
            graph = rlm(
                root("FINAL(llm_query_batched(['first', 'second']))"),
                sub=sub,
                limits={"max_concurrency": 1},
                checkpointer=saver,
            )
            out = await graph.ainvoke({"query": "q"}, cast(Any, thread()), durability="sync")
            await asyncio.gather(*starting)
            assert out["answer"] == '["<first>","<second>"]'
            assert asked == ["first", "second"]


async def test_without_the_right_to_make_a_table_one_process_is_kept_in_order(
    server: Postgres,
) -> None:
    do(server, "CREATE ROLE guest LOGIN")
    url = server.url.replace("postgres@", "guest@", 1)
    async with open_saver(server.url):
        pass
    do(server, "DROP TABLE IF EXISTS langgraph_rlm_leases")
    do(server, "GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
    do(server, "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with AsyncPostgresSaver.from_conn_string(url) as saver:
            database = await database_of(saver)
            for _ in range(2):
                async with lease(database, "a") as held:
                    await held.check()
                    assert held.token is None
                    with pytest.raises(ThreadBusyError):
                        async with lease(database, "a"):
                            pass
    [said] = [str(each.message) for each in caught if "leases" in str(each.message)]
    assert "permission denied" in said and "two would pay twice" in said


async def test_a_length_that_is_no_number_is_refused(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_LEASE_SECONDS", "soon")
    async with open_saver(server.url) as saver:
        with pytest.raises(ConfigurationError, match="LANGGRAPH_RLM_LEASE_SECONDS='soon' must be"):
            await rlm(root("FINAL(1)"), checkpointer=saver).ainvoke({"query": "q"}, thread())


async def test_a_saver_with_a_pipeline_of_its_own_shows_its_leases(server: Postgres) -> None:
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    async with AsyncPostgresSaver.from_conn_string(server.url, pipeline=True) as saver:
        async with lease(await database_of(saver), "piped"):
            assert rows(server, "piped")
        assert not rows(server, "piped")


# --- background responses of the server


async def test_a_response_of_another_machine_is_taken_up_when_its_lease_ends(
    server: Postgres,
) -> None:
    """Nobody waits for it: whoever asks for the response gets it as it stands, and asks again."""
    id = thread_of("ann", "resp_1")
    put_row(server, id, 60)
    async with open_saver(server.url) as saver:
        assert await hold(saver, "ann", "resp_1") is None
        do(server, "UPDATE langgraph_rlm_leases SET expires_at = now() WHERE thread_id = %s", id)
        held = await hold(saver, "ann", "resp_1")
        assert held is not None and await held.is_ours()
        assert await hold(saver, "ann", "resp_1") is None
        take_over(server, id, 60)
        while await held.is_ours():
            await asyncio.sleep(0.05)
        await held.release()
    assert rows(server, id) == ["taken"]


# --- what is left


async def test_threads_that_are_deleted_leave_no_row(server: Postgres, tmp_path: Path) -> None:
    async with open_saver(server.url) as saver:
        graph = rlm(root("FINAL(1)"), checkpointer=saver, blob_store=tmp_path)
        await graph.ainvoke({"query": "q"}, thread("deleted"))
        put_row(server, "deleted", -1)
        await aforget(graph, "deleted")
        put_row(server, "crashed", -4000)
        put_row(server, "stalled", -10)
        await aprune(graph, timedelta(days=1))
    assert rows(server, "stalled") and not rows(server, "deleted") + rows(server, "crashed")


async def test_leases_need_no_session(server: Postgres) -> None:
    """As behind PgBouncer, which gives each transaction a session of its own: thirty leases, renewed together."""
    async with open_pool(server.url, kind=AsyncNullConnectionPool) as saver:
        database = await database_of(saver)
        async with AsyncExitStack() as until_done:
            for number in range(30):
                await until_done.enter_async_context(lease(database, f"many-{number}"))
            await asyncio.sleep(2.5)
            assert len(rows(server, "many-")) == 30
            assert all([await is_leased(database, f"many-{number}") for number in range(0, 30, 9)])
        assert not rows(server, "many-")
        out = await rlm(root("FINAL(1)"), checkpointer=saver).ainvoke({"query": "q"}, thread("no"))
        assert out["answer"] == "1"
