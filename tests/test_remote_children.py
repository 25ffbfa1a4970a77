"""Children elsewhere: each `rlm_query` as a run of its own on an engine, here `langgraph dev`; the answer, the usage and the pauses are those of children in the same process."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langgraph_sdk import get_client

from langgraph_rlm import (
    ChildrenUnreachableError,
    ChildTaskError,
    ConfigurationError,
    RemoteChildren,
    ResumeError,
)
from langgraph_rlm.budget.ledger import Ledger, LimitReached
from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.budget.usage import spent
from langgraph_rlm.remote.tasks import TASK, child_thread, read_grant, read_task, sign
from langgraph_rlm.trace import atrace_of
from tests.remote.app import make
from tests.remote.server import KEY, Server, running

CLOSED = "http://127.0.0.1:9"
"""Where nobody listens."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the app."""
    with running(tmp_path_factory.mktemp("engine")) as server:
        yield server


@pytest.fixture
def env(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server, with its environment in this process too."""
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)
    return server


def config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def asked(graph: Any, query: str, thread: str, saver: Any = None) -> dict[str, Any]:
    """The output of a question, every pause of which is approved."""

    async def run() -> dict[str, Any]:
        out = await graph.ainvoke({"query": query, "context": "ctx"}, config(thread))
        while pauses := (await graph.aget_state(config(thread))).interrupts:
            out = await graph.ainvoke(approve_all(pauses), config(thread))
        return out

    return asyncio.run(run())


def approve_all(pauses: Any) -> Command[Any]:
    return Command(resume={pause.id: {"decisions": [{"type": "approve"}]} for pause in pauses})


def told(out: dict[str, Any]) -> Any:
    """What has to be the same wherever children run."""
    usage = {**out["usage"], "cost": round(out["usage"]["cost"], 9)}
    seconds = usage.pop("seconds")
    assert seconds > 0
    return out["answer"], out["stop_reason"], usage, out.get("coverage")


class TestTasks:
    """Tokens: only who has the key can make one, and it holds for one thread."""

    task: ClassVar[Any] = {"query": {"text": "q"}, "depth": 1}

    def test_a_task_comes_back_as_it_was(self) -> None:
        assert read_task(sign("task", self.task, "t", KEY), "t", KEY) == self.task

    @pytest.mark.parametrize(
        "change",
        [
            lambda token: "",
            lambda token: None,
            lambda token: {"query": {"text": "q"}},
            lambda token: token.rpartition(".")[0],
            lambda token: token.rpartition(".")[0] + ".",
            lambda token: token[:-6] + "AAAAA=",
            lambda token: token.replace("rlm1", "rlm2"),
            lambda token: token.replace(token.split(".")[1], token.split(".")[1][:-4] + "AAAA"),
            lambda token: token + "\u00e9",
            lambda token: sign("task", TestTasks.task, "t", KEY + "x"),
            lambda token: sign("task", TestTasks.task, "another", KEY),
            lambda token: sign("grant", TestTasks.task, "t", KEY),
        ],
    )
    def test_any_other_is_refused(self, change: Any) -> None:
        token = change(sign("task", self.task, "t", KEY))
        with pytest.raises(ChildTaskError, match="is refused"):
            read_task(token, "t", KEY)

    def test_the_thread_of_a_child_is_that_of_its_task(self) -> None:
        """The same task finds the same thread; another task, parent or key another one."""
        places = [("1", "remote_call:a"), ("1", "remote_call:b"), ("2", "remote_call:a")]
        given = [
            {"configurable": {"thread_id": thread, "checkpoint_ns": ns}} for thread, ns in places
        ]
        threads = [child_thread(each, key) for each in given for key in (KEY, KEY + "x")]
        assert len(set(threads)) == len(threads)
        assert threads == [child_thread(each, key) for each in given for key in (KEY, KEY + "x")]


class TestGrants:
    """Grants: children together never get more than there is."""

    def ledger(self, around: Ledger | None = None, **limits: Any) -> Ledger:
        return Ledger(Limits(**limits), Prices(None), around)

    def test_what_is_left_is_shared_among_those_who_wait(self) -> None:
        ledger = self.ledger(max_tokens=1000, max_cost=1.0, max_sub_calls=30)
        grants = [ledger.grant(among) for among in (4, 3, 2, 1)]
        assert [grant.tokens for grant in grants] == [250] * 4
        assert sum(grant.sub_calls for grant in grants) == 30
        assert sum(grant.cost or 0 for grant in grants) == pytest.approx(1.0)
        assert ledger.sub_calls_left() == 0
        assert not ledger.reserve_sub_calls(1)
        with pytest.raises(LimitReached, match="max_tokens"):
            ledger.grant(1)

    def test_no_limit_stays_none(self) -> None:
        grant = self.ledger().grant(3)
        assert (grant.tokens, grant.cost, grant.seconds) == (None, None, None)

    def test_what_a_child_has_not_spent_comes_back(self) -> None:
        ledger = self.ledger(max_tokens=1000, max_sub_calls=10)
        grant = ledger.grant(2)
        by = {"1/m": {**spent(), "input_tokens": 30, "output_tokens": 12, "model_calls": 2}}
        for name in ("turns", "sub_calls", "seconds", "breakdown"):
            del by["1/m"][name]
        ledger.end_grant(grant, spent(turns=1, sub_calls=3, by=by))
        assert ledger.usage["input_tokens"] == 30
        assert ledger.left().tokens == 1000 - 42
        assert ledger.sub_calls_left() == 7

    def test_a_ledger_around_holds_too(self) -> None:
        around = self.ledger(max_tokens=100)
        ledger = self.ledger(around, max_tokens=1000)
        assert ledger.grant(1).tokens == 100
        assert around.left().tokens == 0

    def test_a_limit_is_reached_by_what_is_spent_alone(self) -> None:
        ledger = self.ledger(max_sub_calls=4)
        ledger.grant(1)
        assert not ledger.is_reached("max_sub_calls")
        ledger.reserve_sub_calls(0)
        ledger.take_over_sub_call()
        assert not ledger.is_reached("max_sub_calls")


class TestOptions:
    """`children=`: what is missing is named, and no key is shown."""

    def test_what_is_missing_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LANGGRAPH_RLM_CHILDREN_URL", raising=False)
        monkeypatch.delenv("LANGGRAPH_RLM_CHILDREN_KEY", raising=False)
        with pytest.raises(ConfigurationError, match="LANGGRAPH_RLM_CHILDREN_URL"):
            make(children="remote")
        with pytest.raises(ConfigurationError, match="LANGGRAPH_RLM_CHILDREN_KEY"):
            make(children=RemoteChildren(url=CLOSED))
        with pytest.raises(ConfigurationError, match="has 5 characters") as refused:
            make(children=RemoteChildren(url=CLOSED, key="short"))
        assert "short" not in str(refused.value)
        with pytest.raises(ConfigurationError, match="must be 'remote'"):
            make(children="elsewhere")

    def test_no_secret_is_in_a_repr(self) -> None:
        shown = repr(RemoteChildren(url=CLOSED, key=KEY, headers={"Authorization": "Bearer 1"}))
        assert KEY not in shown
        assert "Bearer" not in shown

    def test_an_engine_that_is_away_ends_the_run_which_is_resumed_later(self, env: Server) -> None:
        """Nothing is an answer of the child: it may be running."""
        saver = InMemorySaver()
        gone = RemoteChildren(url=f"{env.url}/gone", patience=0)
        away = make(checkpointer=saver, children=gone)
        with pytest.raises(ChildrenUnreachableError, match="Invoke the thread again"):
            asked(away, "through leaf away", "away")
        back = make(checkpointer=saver, children="remote")
        out = asyncio.run(back.ainvoke(None, config("away")))
        assert out["answer"].startswith("AWAY")


QUESTIONS = ["fan 4", "deep 3", "model 7", "form 41", "mails 3", "through deepmail z", "fail x"]


@pytest.mark.parametrize("query", QUESTIONS)
def test_an_answer_and_what_it_took_are_those_of_children_in_the_process(
    env: Server, query: str
) -> None:
    """Depth, forms, picked models, pauses at any depth and failures; all usage but the clock's."""
    outs = [
        asked(
            make(checkpointer=InMemorySaver(), children=where),
            query,
            f"same {query}",
        )
        for where in (None, "remote")
    ]
    assert told(outs[0]) == told(outs[1])


@pytest.mark.slow
def test_an_approval_in_a_child_after_everything_was_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent's process is another one, and so is the engine's; a wrong answer leaves the pause open."""
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    server = Server(tmp_path)
    for name, value in server.env.items():
        monkeypatch.setenv(name, value)

    async def step(given: Any) -> Any:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "parent.db")) as saver:
            graph = make(checkpointer=saver)
            if callable(given):
                given = given((await graph.aget_state(config("p"))).interrupts)
            return await graph.ainvoke(given, config("p"))

    server.start()
    try:
        out = asyncio.run(step({"query": "deepmail ann", "context": "ctx"}))
        asks = out["__interrupt__"][0].value["action_requests"]
        assert asks == [{"name": "send_email", "args": {"to": "ann"}}]
    finally:
        server.stop()
    server.start()
    try:
        with pytest.raises(ResumeError, match="no decision of type"):
            asyncio.run(step(lambda pauses: Command(resume={pauses[0].id: {"type": "maybe"}})))
        out = asyncio.run(step(approve_all))
        assert out["answer"] == "[sent to ann]"
        assert server.noted("sent") == ["ann"]
        assert server.noted("asked").count("mail ann") == 1
    finally:
        server.stop()


def test_a_parent_that_dies_finds_its_children(env: Server) -> None:
    """They go on, and none is asked twice."""
    saver = InMemorySaver()
    graph = make(checkpointer=saver, children="remote")

    async def die_then_resume() -> Any:
        given = {"query": "fan 3", "context": "ctx"}
        parts = graph.astream(given, config("dies"), stream_mode="custom")
        async with aclosing(parts):
            async for part in parts:
                if part["type"] == "child" and part["state"] == "ended":
                    break  # nobody waits any more; what is cancelled is run again
        other = make(checkpointer=saver, children="remote")
        return await other.ainvoke(None, config("dies"))

    before = len(env.noted("asked"))
    out = asyncio.run(die_then_resume())
    assert out["answer"] == "; ".join(f"{n} the context of {n}" for n in range(3))
    now = env.noted("asked")[before:]
    assert [now.count(f"leaf {number}") for number in range(3)] <= [1, 1, 1]
    assert out["usage"]["sub_calls"] == 6


def test_a_child_at_its_share_gives_its_best_answer_and_its_parent_goes_on(env: Server) -> None:
    """Of 8 sub-calls two are the items', so each child has 3: one takes 1, the other wants 5."""
    limits = {"max_depth": 4, "max_sub_calls": 8}
    out = asked(make(checkpointer=InMemorySaver(), limits=limits), "pair", "share")
    assert out["stop_reason"] == "answered"
    assert out["answer"].startswith("0; ")
    assert out["usage"]["sub_calls"] == 2 + 1 + 3


def test_a_trace_names_a_childs_thread_and_shows_its_pause(env: Server) -> None:
    graph = make(checkpointer=InMemorySaver())
    given = {"query": "deepmail ann", "context": "ctx"}

    async def records(given: Any) -> list[Any]:
        await graph.ainvoke(given, config("traced"))
        return list((await atrace_of(graph, config("traced"))).records)

    (pause,) = [each for each in asyncio.run(records(given)) if each["type"] == "pause"]
    assert (pause["tool"], pause["arguments"], pause["place"]) == (
        "send_email",
        {"to": "ann"},
        "0.0/0/0",
    )
    decision = Command(resume={"type": "reject", "message": "no"})
    (reply,) = [each for each in asyncio.run(records(decision)) if each["type"] == "reply"]
    assert len(reply["thread"]) == 36
    assert reply["state"] == "answered"


class TestHostileClients:
    """Whoever may ask the engine anything still has no key."""

    def refusal(self, server: Server, given: Any, thread: str | None = None) -> str:
        async def ask() -> str:
            client: Any = get_client(url=server.url)
            id = (await client.threads.create(thread_id=thread, if_exists="do_nothing"))[
                "thread_id"
            ]
            parts = client.runs.stream(id, "rlm", input=given)
            return json.dumps([part.data async for part in parts if part.event == "error"])

        return asyncio.run(ask())

    def test_a_forged_task_is_refused(self, env: Server) -> None:
        handles = [{"digest": "0" * 64, "kind": "text", "length": 3, "size": 3}]
        task = {"query": {"text": "leaf 1"}, "contexts": handles, "depth": 1, "settings": {}}
        for token in (task, sign("task", task, "x", "k" * 40), json.dumps(task)):
            assert "ChildTaskError" in self.refusal(env, {TASK: token})

    def test_a_task_of_another_thread_is_refused(self, env: Server) -> None:
        """A client that may see runs sees tokens, and can use them nowhere."""
        graph = make(checkpointer=InMemorySaver(), children="remote")
        asked(graph, "through leaf replayed", "replayed")
        thread, token = asyncio.run(self._token(env, graph))
        assert "another thread" in self.refusal(env, {TASK: token})
        before = len(env.noted("asked"))
        assert self.refusal(env, {TASK: token}, thread) == "[]"
        assert len(env.noted("asked")) == before, "on its own thread, it begins nothing anew"

    async def _token(self, server: Server, graph: Any) -> tuple[str, str]:
        state = await graph.aget_state(config("replayed"))
        thread = state.values["log"]["0.0/0/0"]["thread"]
        client: Any = get_client(url=server.url)
        (run,) = await client.runs.list(thread)
        return thread, run["kwargs"]["input"][TASK]

    def test_handles_that_are_not_signed_are_data(self, env: Server) -> None:
        """They are a context of their own, as any dict is, and read nothing that is stored."""
        digest = make(children=None).rlm.blobs.put(b"a secret of others")
        given = {"rlm_handles": [{"digest": digest, "kind": "text", "length": 9}]}
        out = asked(make(checkpointer=InMemorySaver()), "leaf x", "none")
        assert out["stop_reason"] == "answered"

        async def ask() -> Any:
            client: Any = get_client(url=env.url)
            thread = (await client.threads.create())["thread_id"]
            return await client.runs.wait(
                thread, "rlm", input={"query": "leaf h", "context": given}
            )

        assert "a secret" not in json.dumps(asyncio.run(ask()))

    def test_a_grant_that_was_altered_is_refused(self) -> None:
        grant = asdict(TestGrants().ledger(max_tokens=10).grant(1))
        token = sign("grant", grant, "t", KEY)
        assert read_grant(token, "t", KEY) == grant
        forged = sign("grant", {**grant, "tokens": None}, "t", "another key of 32 characters, ok")
        with pytest.raises(ChildTaskError):
            read_grant(forged, "t", KEY)


def test_progress_names_the_thread_of_a_child(env: Server) -> None:
    graph = make(checkpointer=InMemorySaver(), children="remote")

    async def events() -> list[Any]:
        given = {"query": "through leaf p", "context": "ctx"}
        parts = graph.astream(given, config("progress"), stream_mode="custom")
        return [part async for part in parts if part["type"] == "child"]

    told = asyncio.run(events())
    assert [each["state"] for each in told] == ["started", "ended"]
    assert told[0]["thread"] == told[1]["thread"]
