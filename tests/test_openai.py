"""The OpenAI path, over real HTTP against a small compatible server."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import cell

from .models import thread
from .openai_server import OpenAIServer, environment_upstream, last_message, turn_of

CODES = [
    cell("replies = llm_query_batched([f'item {i}' for i in range(20)])\nprint(replies)"),
    cell("FINAL(replies)"),
]


def answer(body: dict[str, Any]) -> Any:
    """The root writes code, a sub-call echoes its prompt."""
    if body["model"] == "root":
        return CODES[min(turn_of(body), 1)]
    return f"echo {last_message(body)}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, answer)


EXPECTED = [f"echo item {i}" for i in range(20)]


def test_models_by_name_follow_the_base_url(server: OpenAIServer) -> None:
    out = create_rlm("openai:root", sub_model="openai:sub").invoke({"query": "q"})
    assert json.loads(out["answer"]) == EXPECTED
    assert out["usage"]["input_tokens"] > 0
    assert set(out["usage"]["breakdown"]) == {"0/root", "1/sub"}


@pytest.mark.parametrize("by_name", [True, False])
def test_a_second_event_loop_is_as_good_as_the_first(server: OpenAIServer, by_name: bool) -> None:
    """LangChain's client is one for the process, and breaks on a loop that it was not made on."""

    def model(name: str) -> Any:
        return f"openai:{name}" if by_name else ChatOpenAI(model=name, max_retries=0)

    graph = create_rlm(model("root"), sub_model=model("sub"))
    for _ in range(3):
        out = asyncio.run(graph.ainvoke({"query": "q"}))
        assert json.loads(out["answer"]) == EXPECTED
    assert json.loads(graph.invoke({"query": "q"})["answer"]) == EXPECTED


def test_a_provider_that_fails_ends_the_call_not_the_process(server: OpenAIServer) -> None:
    """After an HTTP 500 that outlasts the client's retries: an exception in code, and the run goes on."""
    code = cell("try:\n    llm_query('x')\nexcept RuntimeError as e:\n    FINAL(str(e)[:60])")
    server.reply = lambda body: code if body["model"] == "root" else {"status": 500}
    out = create_rlm("openai:root", sub_model=ChatOpenAI(model="sub", max_retries=1)).invoke(
        {"query": "q"}
    )
    assert out["answer"].startswith("llm_query failed: ") and "500" in out["answer"]
    assert len([body for body in server.requests if body["model"] == "sub"]) == 2


def test_a_root_that_fails_raises_and_the_thread_goes_on(server: OpenAIServer) -> None:
    graph = create_rlm(
        ChatOpenAI(model="root", max_retries=0),
        sub_model="openai:sub",
        checkpointer=InMemorySaver(),
    )
    server.reply = lambda body: {"status": 503}
    with pytest.raises(Exception, match="503"):
        graph.invoke({"query": "q"}, thread())
    server.reply = answer
    assert json.loads(graph.invoke(None, thread())["answer"]) == EXPECTED


def test_null_content_is_an_empty_reply(server: OpenAIServer) -> None:
    server.reply = lambda body: (
        {"message": {"content": None}} if turn_of(body) == 0 else cell("FINAL('ok')")
    )
    assert create_rlm("openai:root").invoke({"query": "q"})["answer"] == "ok"


def test_tokens_of_the_root_stream(server: OpenAIServer) -> None:
    graph = create_rlm("openai:root", sub_model="openai:sub")
    parts = [
        chunk.text
        for chunk, _ in graph.stream({"query": "q"}, stream_mode="messages")
        if chunk.text
    ]
    assert "".join(parts).startswith(CODES[0] + CODES[1])
    assert not any("echo item" in part for part in parts[:-1])
