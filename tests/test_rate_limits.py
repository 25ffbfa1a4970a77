"""Providers that are asked too often: one slow-down for the whole tree, and nothing is paid twice."""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM, Limits, create_rlm
from langgraph_rlm.models.pace import Pace
from langgraph_rlm.models.refusals import refusal_of
from langgraph_rlm.testing import ScriptedModel, cell

from .anthropic_server import AnthropicServer
from .models import thread
from .openai_server import Body, OpenAIServer, Reply, environment_upstream


class Limited:
    """Answers a model's first `per_second` requests of each second, and refuses the others."""

    def __init__(self, per_second: int, headers: dict[str, str] | None = None) -> None:
        self.refused = 0
        self.answered = 0
        self._headers = headers
        self._per_second = per_second
        self._taken = deque[float]()
        self._lock = threading.Lock()

    def __call__(self, body: Body) -> str | Reply:
        with self._lock:
            now = time.monotonic()
            while self._taken and self._taken[0] < now - 1:
                self._taken.popleft()
            if len(self._taken) < self._per_second:
                self._taken.append(now)
                self.answered += 1
                return "leaf"
            self.refused += 1
            wait = 1 - (now - self._taken[0])
        headers = {"retry-after-ms": str(int(wait * 1000) + 1)}
        if self._headers is not None:
            headers = self._headers
        return Reply(status=429, content="Rate limit reached", headers=headers)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda _: "leaf")


def batch(calls: int) -> ScriptedModel:
    """A root that asks so many sub-calls at once, and answers how many came back."""
    code = f"replies = llm_query_batched([f'number {{i}}' for i in range({calls})])"
    return ScriptedModel(replies=[cell(f"{code}\nFINAL(str(replies.count('leaf')))")])


def fails(times: int, **reply: Any) -> Any:
    """Fails so often, then answers."""
    left = iter(range(times))

    def answer(_: Body) -> str | Reply:
        return "leaf" if next(left, None) is None else Reply(**reply)

    return answer


def test_a_batch_above_the_rate_is_answered_whole(server: OpenAIServer) -> None:
    """Sixteen at once, of which thirty a second are answered: one round of refusals, not each."""
    server.reply = limited = Limited(30)
    graph = create_rlm(batch(45), sub_model="openai:leaf", checkpointer=InMemorySaver())
    out = graph.invoke({"query": "q"}, thread())  # type: ignore[arg-type]
    assert out["answer"] == "45"
    assert limited.answered == 45 and limited.refused < 30
    spending = out["usage"]["breakdown"]["1/leaf"]
    assert spending["model_calls"] == 45 and out["usage"].get("failed_sub_calls", 0) == 0


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("retry-after", lambda: "1"),
        ("retry-after-ms", lambda: "600"),
        ("retry-after", lambda: formatdate(time.time() + 2, usegmt=True)),
        ("x-ratelimit-reset-requests", lambda: "600ms"),
    ],
)
def test_what_the_provider_says_is_waited_for(
    server: OpenAIServer, header: str, value: Any
) -> None:
    server.reply = fails(
        1, status=429, headers={header: value(), "x-ratelimit-remaining-requests": "0"}
    )
    start = time.monotonic()
    out = create_rlm(batch(1), sub_model="openai:leaf").invoke({"query": "q"})
    assert out["answer"] == "1" and len(server.requests) == 2
    assert 0.6 <= time.monotonic() - start < 6


@pytest.mark.parametrize("status", [429, 529])
def test_claude_too(status: int) -> None:
    """Anthropic says 529 where it is overloaded."""
    answer = fails(1, status=status, headers={"retry-after": "1"})
    with AnthropicServer(answer) as server:
        url: Any = server.url.removesuffix("/v1")
        leaf: Any = ChatAnthropic(model_name="claude-sonnet-4-6", base_url=url, api_key="none")  # type: ignore[arg-type]
        start = time.monotonic()
        out = create_rlm(batch(1), sub_model=leaf).invoke({"query": "q"})
    assert out["answer"] == "1" and len(server.requests) == 2
    assert time.monotonic() - start >= 1


def test_while_one_is_told_to_wait_the_others_do_not_start(server: OpenAIServer) -> None:
    """Whichever run of the graph they are of; another model's are not held up."""
    server.reply = fails(1, status=429, headers={"retry-after": "1"})
    graph = create_rlm(
        batch(1),
        sub_model="openai:leaf",
        models={"other": "openai:other"},
    )

    async def both() -> float:
        first = asyncio.create_task(graph.ainvoke({"query": "q"}))
        while not server.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        start = time.monotonic()
        root = ScriptedModel(replies=[cell("FINAL(llm_query('x', model='other'))")])
        second = graph.rlm.sub("other").ainvoke("x")
        await second
        assert time.monotonic() - start < 0.5, root
        third = await graph.rlm.sub(None).ainvoke("x")
        assert third.text == "leaf"
        await first
        return time.monotonic() - start

    assert asyncio.run(both()) > 0.6


def test_what_waiting_does_not_help_fails_at_once(server: OpenAIServer) -> None:
    """No credit, or a wait of an hour: the error is the provider's."""
    for reply in (
        Reply(status=429, code="insufficient_quota", content="no credit"),
        Reply(status=429, headers={"retry-after": "3600"}, content="come back later"),
        Reply(status=400, content="wrong"),
    ):
        server.reply = lambda _, reply=reply: reply
        before, start = len(server.requests), time.monotonic()
        out = create_rlm(batch(1), sub_model="openai:leaf").invoke({"query": "q"})
        assert out["answer"] == "0" and out["usage"]["failed_sub_calls"] == 1
        assert len(server.requests) == before + 1 and time.monotonic() - start < 5


@pytest.mark.parametrize("status", [503])
def test_other_failures_are_retried_as_often_as_the_model_says(
    server: OpenAIServer, status: int
) -> None:
    def asked(leaf: Any) -> int:
        before = len(server.requests)
        create_rlm(batch(1), sub_model=leaf).invoke({"query": "q"})
        return len(server.requests) - before

    server.reply = lambda _: Reply(status=status)
    assert asked(ChatOpenAI(model="leaf", max_retries=1)) == 2
    assert asked(ChatOpenAI(model="leaf", max_retries=0)) == 1
    assert (
        asked(ChatOpenAI(model="leaf").with_fallbacks([ChatOpenAI(model="b", max_retries=0)])) == 4
    )


def test_no_retries_are_none(server: OpenAIServer) -> None:
    server.reply = lambda _: Reply(status=429, headers={"retry-after": "0.1"})
    leaf = ChatOpenAI(model="leaf", max_retries=0)
    create_rlm(batch(1), sub_model=leaf).invoke({"query": "q"})
    assert len(server.requests) == 1


def test_the_time_limit_holds_while_it_waits(server: OpenAIServer) -> None:
    server.reply = lambda _: Reply(status=429, headers={"retry-after": "60"})
    graph = create_rlm(batch(20), sub_model="openai:leaf", limits=Limits(max_seconds=1))
    start = time.monotonic()
    out = graph.invoke({"query": "q"})
    assert out["stop_reason"] == "max_seconds" and time.monotonic() - start < 6


class OwnRetries(ScriptedModel):
    """A model of another class, whose client has given up."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> Any:
        if self.calls == 0:
            await super()._agenerate(*args, **kwargs)
            raise Busy
        return await super()._agenerate(*args, **kwargs)


class Busy(Exception):
    """As clients raise it."""

    def __init__(self) -> None:
        super().__init__("busy")
        self.status_code = 429
        self.response = SimpleNamespace(headers={"Retry-After": "1"})


def test_other_models_keep_their_own_retries_and_slow_the_tree() -> None:
    """What such a model raises at last is an error for code; the calls after it wait."""
    leaf = OwnRetries(answer=lambda _: "leaf")
    code = "a = llm_query_batched(['x'])\nb = llm_query_batched(['y'])\nFINAL(str([a, b]))"
    graph = create_rlm(ScriptedModel(replies=[cell(code)]), sub_model=leaf)
    start = time.monotonic()
    out = graph.invoke({"query": "q"})
    assert "Error: Busy" in out["answer"] and "leaf" in out["answer"]
    assert leaf.calls == 2 and time.monotonic() - start >= 1


def test_it_is_told(server: OpenAIServer, caplog: pytest.LogCaptureFixture) -> None:
    """On the stream of progress, and in the log."""
    server.reply = fails(1, status=429, headers={"retry-after-ms": "50"}, content="secret")
    graph = create_rlm(batch(1), sub_model="openai:leaf")
    with caplog.at_level(logging.INFO, "langgraph_rlm.runs"):
        events: Any = list(graph.stream({"query": "q"}, stream_mode="custom"))
    waits = [event for event in events if event["type"] == "waiting"]
    assert [(event["model"], event["seconds"], event["depth"]) for event in waits] == [
        ("leaf", 0.05, 0)
    ]
    told = [record.message for record in caplog.records if "busy" in record.message]
    assert told == ["the provider is busy: leaf: HTTP 429; all calls wait 0.1 s"]


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_direct_answer_waits_too(server: OpenAIServer, is_streamed: bool) -> None:
    server.reply = fails(2, status=429, headers={"retry-after-ms": "50"})
    model = ChatRLM(model="openai:leaf")
    if is_streamed:
        assert "".join(str(part.text) for part in model.stream("hello")) == "leaf"
    else:
        assert model.invoke("hello").text == "leaf"
    assert len(server.requests) == 3


KILLED = """
import sys
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

code = "FINAL(str(llm_query_batched([f'number {i}' for i in range(4)]).count('leaf')))"
root = ScriptedModel(replies=[cell(code)])
with SqliteSaver.from_conn_string(sys.argv[1]) as saver:
    graph = create_rlm(root, sub_model="openai:leaf", checkpointer=saver)
    given = {"query": "q"} if sys.argv[2] == "start" else None
    out = graph.invoke(given, {"configurable": {"thread_id": "t"}})
    print(out["answer"], out["usage"]["breakdown"]["1/leaf"]["model_calls"])
"""


def half_busy(body: Body) -> str | Reply:
    """Answers two of four calls."""
    if body["messages"][-1]["content"] in ("number 2", "number 3"):
        return Reply(status=429, headers={"retry-after": "60"}, seconds=0.5)
    return "leaf"


def test_a_run_that_was_stopped_while_it_waits_resumes(server: OpenAIServer) -> None:
    """The calls that were answered are not asked again."""
    server.reply, saver = half_busy, InMemorySaver()
    config: Any = thread()

    async def stopped() -> None:
        graph = create_rlm(batch(4), sub_model="openai:leaf", checkpointer=saver)
        run = asyncio.create_task(graph.ainvoke({"query": "q"}, config))
        while len(server.requests) < 4:
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        run.cancel()
        await asyncio.wait([run])

    asyncio.run(stopped())
    server.reply = says_leaf
    graph = create_rlm(batch(0), sub_model="openai:leaf", checkpointer=saver)
    out = graph.invoke(None, config)
    assert (out["answer"], out["usage"]["breakdown"]["1/leaf"]["model_calls"]) == ("4", 4)
    asked = [body["messages"][-1]["content"] for body in server.requests[4:]]
    assert sorted(asked) == ["number 2", "number 3"]


def says_leaf(_: Body) -> str:
    return "leaf"


@pytest.mark.slow
def test_a_kill_while_it_waits_loses_nothing(server: OpenAIServer, tmp_path: Path) -> None:
    """The calls that were answered are not asked again."""

    server.reply = half_busy
    command = [sys.executable, "-c", KILLED, str(tmp_path / "t.db")]
    options: Any = {"env": {**os.environ}, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "start"], **options) as process:
        deadline = time.monotonic() + 60
        while len(server.requests) < 4 and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(1.5)  # two wait, and the answers to the others are written
        process.send_signal(signal.SIGKILL)
    before, server.reply = len(server.requests), says_leaf
    resumed = subprocess.run([*command, "resume"], **options, check=True)
    assert resumed.stdout.split() == ["4", "4"]
    asked = [body["messages"][-1]["content"] for body in server.requests[before:]]
    assert sorted(asked) == ["number 2", "number 3"]


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "0.5"}, 0.5),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Wed, 99 Foo 2999 99:99:99 GMT"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"}, 360),
        ({"x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "9"}, None),
        ({"x-ratelimit-reset-requests": "20ms", "x-ratelimit-remaining-requests": "0"}, 0.02),
        ({"x-ratelimit-reset-requests": "", "x-ratelimit-remaining-requests": "0"}, None),
    ],
)
def test_waits_as_providers_write_them(headers: dict[str, str], wait: float | None) -> None:
    """And what is no time is as if nothing were said."""

    error: Any = Exception("busy")
    error.response = SimpleNamespace(status_code=429, headers=headers)
    refusal = refusal_of(error)
    assert refusal is not None and refusal.is_for_all
    assert refusal.wait == pytest.approx(wait)


def test_gemini_says_it_in_the_body() -> None:
    from google.genai.errors import ClientError
    from langchain_google_genai.chat_models import ChatGoogleGenerativeAIError

    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"}
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    error = ChatGoogleGenerativeAIError("Error calling model")
    error.__cause__ = ClientError(429, body)
    refusal = refusal_of(error)
    assert refusal is not None and (refusal.is_for_all, refusal.wait) == (True, 38)


def test_the_pace_settles_below_the_rate_and_rises_again() -> None:
    """Starts after a refusal are spread; what had started before it slows nobody again."""

    async def starts(pace: Pace, count: int) -> list[float]:
        await asyncio.gather(*(pace.turn() for _ in range(count)))
        return []

    pace = Pace()
    asyncio.run(starts(pace, 50))
    for _ in range(4):
        pace.answered()
    assert pace.refused(0.1, 0) and not pace.refused(0.1, 0)
    start = time.monotonic()
    asyncio.run(starts(pace, 6))
    took = time.monotonic() - start
    assert 0.2 < took < 5


def test_models_are_what_they_were(server: OpenAIServer) -> None:
    """The user's own object keeps its retries and its client."""
    leaf = ChatOpenAI(model="leaf", max_retries=5)
    client = leaf.root_async_client
    create_rlm(batch(1), sub_model=leaf).invoke({"query": "q"})
    assert leaf.root_async_client is client and client.max_retries == 5
    assert isinstance(leaf, BaseChatModel)
