"""What servers of OpenAI's API send that is no reply, or hardly one: errors within a 200, pages of HTML, usage in odd forms."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from langchain_openai import ChatOpenAI

from langgraph_rlm import ChatRLM, ModelReplyError, create_rlm
from langgraph_rlm.testing import cell

from .openai_server import OpenAIServer, environment_upstream
from .test_upstream_replies import PRICE, TWO, A, B, made, piece, streamed


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


# Usage


def sse(*events: Any) -> tuple[int, str, str]:
    return 200, "text/event-stream", "".join(f"data: {json.dumps(event)}\n\n" for event in events)


FRAME = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m"}

FULL = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
USAGES: dict[str, tuple[Any, tuple[int, int]]] = {
    "all": (FULL, (7, 3)),
    "with details": ({**FULL, "prompt_tokens_details": {"cached_tokens": 2}}, (7, 3)),
    "no total": ({"prompt_tokens": 7, "completion_tokens": 3}, (7, 3)),
    "null details": ({**FULL, "prompt_tokens_details": None}, (7, 3)),
    "details that are none": ({**FULL, "prompt_tokens_details": [1]}, (7, 3)),
    "details of texts": ({**FULL, "completion_tokens_details": {"reasoning_tokens": "5"}}, (7, 3)),
    "a part": ({"prompt_tokens": 7}, (7, 1)),
    "null parts": ({"prompt_tokens": None, "completion_tokens": None}, (0, 1)),
    "texts": ({"prompt_tokens": "7", "completion_tokens": "3", "total_tokens": "10"}, (7, 3)),
    "below zero": ({"prompt_tokens": -7, "completion_tokens": 3}, (0, 3)),
    "a number": (5, (0, 1)),
    "a list": ([7, 3], (0, 1)),
    "null": (None, (0, 1)),
    "nothing": ("absent", (0, 1)),
}


@pytest.mark.parametrize("name", USAGES)
@pytest.mark.parametrize("is_stream", [True, False])
def test_whatever_usage_a_server_sends_the_reply_is_taken(
    server: OpenAIServer, name: str, is_stream: bool
) -> None:
    """What is not a count is left out, and then estimated."""
    given, counted = USAGES[name]
    usage = {} if given == "absent" else {"usage": given}
    whole: Any = {"index": 0, "message": {"role": "assistant", "content": "hello"}}
    raw = (200, "application/json", json.dumps({**FRAME, "choices": [whole], **usage}))
    if is_stream:
        delta = {"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}
        raw = sse({**FRAME, "choices": [delta]}, {**FRAME, "choices": [], **usage})
    server.reply = lambda body: {"raw": raw}
    reply: Any = ChatRLM(model="openai:m").invoke("?")
    used = reply.usage_metadata
    assert (reply.text, used["input_tokens"], used["output_tokens"]) == ("hello", *counted)
    if not is_stream:
        code = cell("FINAL(llm_query('x'))")
        server.reply = lambda body: {"raw": raw} if body["model"] == "sub" else code
        out = create_rlm("openai:root", sub_model="openai:sub").invoke({"query": "q"})
        assert out["answer"] == "hello"
        assert out["usage"]["breakdown"]["1/sub"]["output_tokens"] == counted[1]


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_does_not_know_usage_in_streams_is_asked_without(
    server: OpenAIServer, status: int
) -> None:
    """As old servers do. Any other refusal is told at once."""
    server.reply = lambda body: (
        {"status": status, "content": "Unrecognized request argument supplied: stream_options"}
        if "stream_options" in body
        else "hello"
    )
    model = ChatRLM(model="openai:m", max_retries=0)
    assert model.invoke("?").text == "hello" and len(server.requests) == 2
    assert "".join(part.text for part in model.stream("?")) == "hello"
    server.requests.clear()
    server.reply = lambda body: {"status": status, "content": "no such model"}
    with pytest.raises(openai.APIStatusError, match="no such model"):
        model.invoke("?")
    assert len(server.requests) == 1


# What is no reply


PAGE = (
    "<!DOCTYPE html><html><head><style>b {}</style></head><body><b>Sign in</b> first</body></html>"
)
BROKEN = {
    "an error event": (sse({"error": {"message": "Provider is overloaded", "code": 503}}), "overloaded"),
    "an error in a choice": (
        sse({**FRAME, "choices": [{"index": 0, "delta": {}, "finish_reason": "error", "error": {"message": "out of memory"}}]}),
        "out of memory",
    ),
    "an error without words": (sse({"error": {"status": 1}}), "error occurred|status"),
    "a page": ((200, "text/html", PAGE), "Sign in first"),
    "a page that says it is JSON": ((200, "application/json", PAGE), "Sign in first|JSON|value"),
    "nothing": ((200, "text/event-stream", ""), "without sending anything|no chat completion"),
    "choices that are no list": (sse({**FRAME, "choices": "none"}), "no chat completion|choices"),
    "choices of texts": (sse({**FRAME, "choices": ["a"]}), "no chat completion|choice"),
    "an error as a whole": ((200, "application/json", json.dumps({"error": "no credits"})), "no credits"),
    "an event that is a number": (sse(5), "no chat completion"),
    "an event that is a list": (sse([1]), "no chat completion"),
    "an event that is null": (sse(None), "no chat completion"),
    "an empty object": ((200, "application/json", "{}"), "no chat completion"),
    "a list": ((200, "application/json", "[1]"), "no chat completion"),
    "no choice": ((200, "application/json", json.dumps({**FRAME, "choices": []})), "no chat completion"),
    "a choice without a message": ((200, "application/json", json.dumps({**FRAME, "choices": [{"index": 0}]})), "no chat completion"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("way", ["direct", "loop"])
def test_what_is_no_reply_is_an_error_that_says_what_was_sent(
    server: OpenAIServer, name: str, way: str
) -> None:
    raw, told = BROKEN[name]
    server.reply = lambda body: {"raw": raw}
    model = ChatRLM(
        model="openai:m", max_retries=0, direct_below_tokens=8_000 if way == "direct" else 0
    )
    with pytest.raises((openai.APIError, ModelReplyError, ValueError), match=rf"(?i){told}"):
        model.invoke("hi")


def test_a_reply_of_another_role_and_content_of_null_are_replies(server: OpenAIServer) -> None:
    for delta in ({"role": "model", "content": "hello"}, {"role": None, "content": "hello"}):
        server.reply = lambda body, delta=delta: {"deltas": [{"content": None}, delta, {}]}
        assert ChatRLM(model="openai:m").invoke("hi").text == "hello"


def test_a_call_of_a_tool_that_was_not_given_is_no_reply(server: OpenAIServer) -> None:
    """Beside a text it is left out: nobody could answer it."""
    streamed(server, [[piece(0, "a", "price", A)]])
    with pytest.raises(ModelReplyError, match="called 'price', though it was given no tools"):
        ChatRLM(model="openai:m").invoke("hi")
    server.reply = lambda body: {
        "deltas": [{"content": "hello"}, {"tool_calls": [piece(0, "a", "price", A)]}]
    }
    reply = ChatRLM(model="openai:m").invoke("hi")
    assert (reply.text, reply.tool_calls) == ("hello", [])
    assert reply.response_metadata["finish_reason"] == "stop"


def test_models_of_the_users_own_are_put_right_and_stay_as_they_are(server: OpenAIServer) -> None:
    """One with an HTTP client of its own as well."""
    streamed(server, [[piece(0, "", "price", A), piece(0, "", "price", B)]])
    own = openai.DefaultAsyncHttpxClient()
    for more in ({}, {"http_async_client": own}):
        given: Any = ChatOpenAI(model="m", **more)  # pyright: ignore[reportArgumentType]
        before = given.async_client
        reply = asyncio.run(ChatRLM(model=given).bind_tools([PRICE]).ainvoke("?"))
        assert made(reply.tool_calls) == TWO
        assert given.async_client is before
