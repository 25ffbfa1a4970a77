"""An OpenAI-compatible server for tests, in a thread of its own: chat completions, streamed or not, with usage, errors and latency.

with OpenAIServer(reply=lambda body: "42") as server:
    ...  # clients use server.url, as OPENAI_BASE_URL, and any key
assert len(server.requests) == 1
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypedDict

import pytest
from aiohttp import web

from .on_thread import OnThread

Body = dict[str, Any]


class Reply(TypedDict, total=False):
    """More than a text."""

    content: str
    status: int
    """An HTTP error instead of a reply, such as 429; `content` is its message."""
    seconds: float
    """How long this reply takes, on top of the server's own latency."""
    usage: dict[str, Any]
    """`prompt_tokens` and `completion_tokens`; counted as one for four characters when left out."""
    message: dict[str, Any]
    """More fields of the assistant's message, such as `tool_calls`."""
    finish: str
    """The finish_reason; `tool_calls` or `stop` when left out."""
    deltas: list[dict[str, Any]]
    """The deltas of a stream, instead of the words of `content`."""
    raw: tuple[int, str, str]
    """Status, content type and body of whatever else a server may send."""
    headers: dict[str, str]
    """Headers of an error, such as `retry-after`."""
    code: str
    """Code of an error, such as `insufficient_quota`."""


class OpenAIServer(OnThread):
    """Answers `POST {url}/chat/completions` by a function of the request's body. May be asked from any thread or process."""

    def __init__(self, reply: Callable[[Body], str | Reply], *, seconds: float = 0.0) -> None:
        """Describe a server; entering it starts it on a free port.

        Args:
            reply: the text of the answer, or a `Reply`. It may block: each call has a thread.
            seconds: how long every answer takes.
        """
        super().__init__()
        self.reply = reply
        self._seconds = seconds
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(256)
        self.url = ""
        self.requests: list[Body] = []
        """Bodies, in order of arrival."""
        self.answered: list[Body] = []
        """Those whose reply was sent to the end, in that order; errors are not among them."""
        self.headers: list[dict[str, str]] = []
        """Headers of `requests`."""
        self.models: list[str] | None = None
        """What `GET {url}/models` lists; None answers 404, as servers without a list do."""
        self.raw_list: tuple[int, str, str] | None = None
        """Status, content type and body of whatever else it may answer there."""
        self.lists = 0
        """How often it was asked for."""
        self.most_at_once = 0
        self._now = 0

    @property
    def prompts(self) -> list[str]:
        """The last message of every request."""
        return [last_message(body) for body in self.requests]

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)
        self._threads.shutdown(wait=False, cancel_futures=True)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen; see `OnThread`."""
        app = web.Application(client_max_size=1 << 30)
        self.add_routes(app)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"
        yield
        await runner.cleanup()

    def add_routes(self, app: web.Application) -> None:
        """Say what is answered where."""
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._list)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.lists += 1
        if self.raw_list is not None:
            status, kind, text = self.raw_list
            return web.Response(status=status, content_type=kind, text=text)
        if self.models is None:
            return web.Response(status=404, text="404 page not found")
        data = [{"id": id, "object": "model", "created": 1, "owned_by": "x"} for id in self.models]
        return web.json_response({"object": "list", "data": data})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body: Body = await request.json()
        with self._lock:
            self.requests.append(body)
            self.headers.append(dict(request.headers))
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._answer(request, body)
        finally:
            self._now -= 1

    async def _answer(self, request: web.Request, body: Body) -> web.StreamResponse:
        given = await self._loop.run_in_executor(self._threads, self.reply, body)
        reply: Reply = Reply(content=given) if isinstance(given, str) else given
        await asyncio.sleep(self._seconds + reply.get("seconds", 0))
        if "raw" in reply:
            status, kind, text = reply["raw"]
            return web.Response(status=status, content_type=kind, text=text)
        if "status" in reply:
            headers = reply.get("headers")
            return web.json_response(self.error(reply), status=reply["status"], headers=headers)
        response = await self.respond(request, body, reply)
        self.answered.append(body)
        return response

    async def respond(self, request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
        """Send a reply."""
        if body.get("stream"):
            return await _streamed(request, body, reply)
        return await _whole(request, body, reply)

    def error(self, reply: Reply) -> dict[str, Any]:
        """The body of an error."""
        message = reply.get("content", "scripted error")
        error = {"message": message, "type": "scripted", "param": None, "code": reply.get("code")}
        return {"error": error}


def environment_upstream(
    monkeypatch: pytest.MonkeyPatch, reply: Callable[[Body], str | Reply], key: str = "none"
) -> Iterator[OpenAIServer]:
    """For fixtures: a server that the environment's OPENAI_BASE_URL and OPENAI_API_KEY lead to."""
    with OpenAIServer(reply) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", key)
        yield running


def last_message(body: Body) -> str:
    """The text of a request's last message."""
    content = body["messages"][-1]["content"]
    return (
        content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
    )


def turn_of(body: Body) -> int:
    """How many replies of the model a request has in its messages: the number of the turn that it asks for."""
    return sum(message["role"] == "assistant" for message in body["messages"])


def _usage(body: Body, reply: Reply) -> dict[str, int]:
    sent, got = len(json.dumps(body["messages"])) // 4, len(reply.get("content", "")) // 4
    usage = {"prompt_tokens": sent, "completion_tokens": got} | reply.get("usage", {})
    return usage | {"total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}


def _finish(reply: Reply) -> str:
    calls = "tool_calls" in reply.get("message", {})
    return reply.get("finish") or ("tool_calls" if calls else "stop")


def _frame(body: Body, kind: str, **more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-test", "object": kind, "created": 1, "model": body["model"], **more}


async def _whole(request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
    message = {"role": "assistant", "content": reply.get("content", ""), **reply.get("message", {})}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": _finish(reply),
    }
    response = web.json_response(
        _frame(body, "chat.completion", choices=[choice], usage=_usage(body, reply))
    )
    await response.prepare(request)
    await response.write_eof()
    return response


async def _streamed(request: web.Request, body: Body, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)

    async def send(data: str) -> None:
        await response.write(f"data: {data}\n\n".encode())

    async def chunk(delta: dict[str, Any], finish: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        await send(json.dumps(_frame(body, "chat.completion.chunk", choices=[choice])))

    await chunk({"role": "assistant", "content": "", **reply.get("message", {})})
    words = reply.get("content", "").split(" ")
    texts = [word if index == len(words) - 1 else f"{word} " for index, word in enumerate(words)]
    for delta in reply.get("deltas", [{"content": text} for text in texts]):
        await chunk(delta)
    await chunk({}, _finish(reply))
    if (body.get("stream_options") or {}).get("include_usage"):
        await send(
            json.dumps(_frame(body, "chat.completion.chunk", choices=[], usage=_usage(body, reply)))
        )
    await send("[DONE]")
    await response.write_eof()
    return response
