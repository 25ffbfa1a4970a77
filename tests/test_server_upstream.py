"""What the upstream did, over HTTP: 502 or 504 with what it said, never 500, never the client's fault; and replies that are not whole."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from langgraph_rlm.server import Settings, create_app
from langgraph_rlm.server.settings import Alias
from langgraph_rlm.testing import ScriptedModel

from .openai_server import OpenAIServer, environment_upstream
from .servers import TOOL, Served
from .test_upstream_errors import BROKEN, FRAME, PAGE, sse

SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"x": {"type": "integer"}},
            "required": ["x"],
        },
    },
}


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42", "sk-of-the-server-itself")


def served(tmp_path: Path, **alias: Any) -> Served:
    given = Alias(model="root", **{"max_retries": 0, **alias})
    return Served(create_app(Settings(db=str(tmp_path / "server.db"), aliases={"m": given})))


def post(url: str, **more: Any) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}], **more}
    return httpx.post(f"{url}/chat/completions", json=body, timeout=30)


def choice_of(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


# What is no reply


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("more", [{}, {"stream": True}], ids=["whole", "stream"])
@pytest.mark.parametrize("below", [0, 8_000], ids=["loop", "direct"])
def test_what_is_no_reply_is_a_bad_gateway(
    upstream: OpenAIServer, tmp_path: Path, name: str, more: Any, below: int
) -> None:
    """In a stream too, if nothing has been sent."""
    raw, _ = BROKEN[name]
    upstream.reply = lambda body: {"raw": raw}
    with served(tmp_path, direct_below_tokens=below) as server:
        response = post(server.url, **more)
    error = response.json()["error"]
    assert response.status_code == 502, error
    assert (error["type"], error["param"]) == ("server_error", None)
    assert error["code"].startswith("upstream_")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("raw", "status", "told"),
    [
        (sse({"error": {"message": "Provider is overloaded", "code": 503}}), 502, "overloaded"),
        (sse({"error": {"message": "Provider timed out", "code": 504}}), 504, "timed out"),
        (sse({"error": {"message": "Provider timed out", "code": "408"}}), 504, "timed out"),
        ((200, "text/html", PAGE), 502, "Sign in first"),
        ((404, "text/html", PAGE), 502, "OPENAI_BASE_URL, which ends in /v1"),
        ((404, "text/plain", "404 page not found"), 502, "OPENAI_BASE_URL, which ends in /v1"),
        ((500, "text/html", PAGE), 502, "Sign in first"),
        ((503, "text/plain", "upstream connect error"), 502, "upstream connect error"),
        ((504, "text/html", PAGE), 504, "Sign in first"),
        ((408, "application/json", '{"error": {"message": "slow"}}'), 504, "slow"),
        ((409, "application/json", '{"error": {"message": "busy"}}'), 502, "busy"),
        ((413, "application/json", '{"error": {"message": "too big"}}'), 413, "too big"),
        ((422, "application/json", '{"error": {"message": "no role"}}'), 422, "no role"),
        ((402, "application/json", '{"error": {"message": "no credits"}}'), 502, "no credits"),
        ((529, "application/json", '{"error": {"message": "overloaded"}}'), 502, "overloaded"),
    ],
)
def test_the_status_says_who_has_to_do_something(
    upstream: OpenAIServer, tmp_path: Path, raw: Any, status: int, told: str
) -> None:
    upstream.reply = lambda body: {"raw": raw}
    with served(tmp_path) as server:
        response = post(server.url)
    error = response.json()["error"]
    assert (response.status_code, told in error["message"]) == (status, True), error
    assert "<" not in error["message"]


def test_what_an_upstream_says_is_cut_and_has_no_keys(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    said = "You sent sk-of-the-server-itself. " + "Long. " * 10_000
    for raw in (
        (500, "application/json", json.dumps({"error": {"message": said}})),
        (500, "text/html", f"<html>{said}</html>"),
        (200, "text/html", f"<html>{said}</html>"),
        sse({"error": {"message": said}}),
    ):
        upstream.reply = lambda body, raw=raw: {"raw": raw}
        with served(tmp_path) as server:
            response = post(server.url)
        assert response.status_code == 502 and "Long." in response.text
        assert "sk-of" not in response.text and len(response.text) < 3_000


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_takes_too_long_is_504(
    upstream: OpenAIServer, tmp_path: Path, stream: bool
) -> None:
    upstream.reply = lambda body: {"content": "late", "seconds": 2}
    with served(tmp_path, timeout=0.2) as server:
        response = post(server.url, stream=stream)
    assert (response.status_code, response.json()["error"]["code"]) == (504, "upstream_timeout")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\n%b\r\n"
EVENTS = HEAD % (b"text/event-stream", b"transfer-encoding: chunked\r\n")
BROKEN_OFF = {
    "at once": b"",
    "not HTTP": b"SSH-2.0-OpenSSH\r\n",
    "behind the head": EVENTS,
    "within a body": HEAD % (b"application/json", b"content-length: 100\r\n") + b'{"id"',
    "not what it says": HEAD % (b"application/json", b"content-encoding: gzip\r\ncontent-length: 4\r\n")
    + b"abcd",
    "a redirect without end": b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
    "nothing": b"HTTP/1.1 204 No Content\r\n\r\n",
    "brackets": HEAD % (b"application/json", b"content-length: 100000\r\n") + b"[" * 100_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_OFF)
@pytest.mark.parametrize("below", [0, 8_000], ids=["loop", "direct"])
def test_a_connection_that_breaks_off_is_a_bad_gateway(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, below: int
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with (
        breaking(BROKEN_OFF[name]) as url,
        served(tmp_path, direct_below_tokens=below, base_url=url, timeout=5) as server,
    ):
        for stream in (False, True):
            response = post(server.url, stream=stream)
            assert response.status_code == 502, response.text
            assert response.json()["error"]["code"].startswith("upstream_")


@contextmanager
def breaking(sent: bytes) -> Iterator[str]:
    """A server that sends these bytes to each request, and closes."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(1 << 16)
                    connection.sendall(sent)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


def test_an_error_behind_the_first_words_ends_the_stream_with_it(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    """The status has been sent: OpenAI's clients raise what the last event says."""
    word = {**FRAME, "choices": [{"index": 0, "delta": {"content": "one "}, "finish_reason": None}]}
    upstream.reply = lambda body: {"raw": sse(word, {"error": {"message": "It went down."}})}
    with served(tmp_path) as server:
        with openai.OpenAI(base_url=server.url, api_key="any", max_retries=0) as client:
            stream = client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "hello"}], stream=True
            )
            words: list[Any] = []
            with pytest.raises(openai.APIError, match="It went down"):
                words.extend(chunk.choices[0].delta.content for chunk in stream)
        assert words == ["one "]
        whole = post(server.url)
    assert whole.status_code == 502 and "It went down." in whole.text


def test_other_providers_errors_are_theirs(tmp_path: Path) -> None:
    """Whatever a client of a model raises, also what looks like a mistake in code."""

    class Breaks(ScriptedModel):
        error: Any = None

        async def _astream(self, *given: Any, **more: Any) -> Any:
            raise self.error
            yield

    errors = {
        TimeoutError("it took too long"): 504,
        ConnectionError("no route"): 502,
        ValueError("No generations found in stream."): 502,
        KeyError("choices"): 502,
        RuntimeError("quota"): 502,
    }
    from langgraph_rlm import ChatRLM

    for error, status in errors.items():
        model = ChatRLM(model=Breaks(answer=str, error=error))
        with Served(create_app(chat=lambda *_, model=model: model)) as server:
            response = post(server.url)
        assert response.status_code == status, response.text


# Replies that are not whole


@pytest.mark.parametrize("form", [None, SCHEMA, {"type": "json_object"}])
@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_json_that_was_cut_off_or_filtered_is_an_answer(
    upstream: OpenAIServer, tmp_path: Path, form: Any, finish: str
) -> None:
    upstream.reply = lambda body: {"content": '{"x": ', "finish": finish}
    with served(tmp_path) as server:
        choice = choice_of(post(server.url, response_format=form))
        events = post(server.url, response_format=form, stream=True).text
    assert choice["message"]["content"].strip() == '{"x":'
    assert choice["finish_reason"] == finish and f'"finish_reason": "{finish}"' in events


@pytest.mark.parametrize("form", [None, SCHEMA])
def test_a_refusal_is_shown_where_openai_shows_it(
    upstream: OpenAIServer, tmp_path: Path, form: Any
) -> None:
    upstream.reply = lambda body: {"message": {"content": None, "refusal": "I cannot."}}
    with served(tmp_path) as server:
        choice = choice_of(post(server.url, response_format=form))
        with openai.OpenAI(base_url=server.url, api_key="any") as client:
            said = "".join(
                chunk.choices[0].delta.refusal or ""
                for chunk in client.chat.completions.create(
                    model="m",
                    messages=[{"role": "user", "content": "hello"}],
                    stream=True,
                    **({"response_format": form} if form else {}),
                )
                if chunk.choices
            )
    assert choice["message"]["refusal"] == said == "I cannot."
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "stop")


def test_an_answer_that_never_has_its_form_is_the_models_fault(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.reply = lambda body: "I would rather talk about it."
    with served(tmp_path) as server:
        response = post(server.url, response_format=SCHEMA)
    assert response.status_code == 502 and response.json()["error"]["code"] == "upstream_reply"
    assert "rather talk about it" in response.text and len(upstream.requests) == 3


def test_an_answer_is_asked_for_again_and_keeps_the_order_of_its_keys(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    upstream.reply = lambda body: (
        '{"y": 1}' if len(body["messages"]) == 1 else 'Sure: {"z": 3, "x": 1, "a": 2}'
    )
    with served(tmp_path) as server:
        content = choice_of(post(server.url, response_format=SCHEMA))["message"]["content"]
    assert list(json.loads(content)) == ["z", "x", "a"]


def test_max_tokens_bounds_the_answer_and_not_the_code(
    upstream: OpenAIServer, tmp_path: Path
) -> None:
    from langgraph_rlm.testing import cell

    upstream.reply = lambda body: cell("FINAL('a' * 100)" + "\n#" + " long" * 100)
    for name in ("max_tokens", "max_completion_tokens"):
        with served(tmp_path, direct_below_tokens=0) as server:
            choice = choice_of(post(server.url, **{name: 3}))
        assert (choice["message"]["content"], choice["finish_reason"]) == ("a" * 12, "length")
    assert not [body for body in upstream.requests if "max_completion_tokens" in body]


@pytest.mark.parametrize("id", ["", None, "a"])
def test_calls_have_ids_that_lead_back(upstream: OpenAIServer, tmp_path: Path, id: Any) -> None:
    """Arguments that came as an object are text, and the finish_reason is OpenAI's."""
    function = {"name": "price", "arguments": {"item": "apple"}}
    call = {"index": 0, "id": id, "type": "function", "function": function}
    upstream.reply = lambda body: (
        "It costs 3."
        if body["messages"][-1]["role"] == "tool"
        else {"deltas": [{"tool_calls": [call]}], "finish": "stop"}
    )
    with served(tmp_path) as server:
        choice = choice_of(post(server.url, tools=[TOOL]))
        (made,) = choice["message"]["tool_calls"]
        said = [
            {"role": "user", "content": "hello"},
            choice["message"],
            {"role": "tool", "tool_call_id": made["id"], "content": "3"},
        ]
        answer = choice_of(post(server.url, tools=[TOOL], messages=said))
    assert made["id"] and json.loads(made["function"]["arguments"]) == {"item": "apple"}
    assert choice["finish_reason"] == "tool_calls"
    assert answer["message"]["content"] == "It costs 3."
