"""Engine: one request's body in, the head and the body of its answer out. Knows nothing of HTTP's connections."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from langchain_core.messages import AIMessage, AIMessageChunk

from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.errors import Refused, refusal
from langgraph_rlm.server.replies import KEEP_ALIVE, Replies, failed
from langgraph_rlm.server.requests import ChatRequest, parse_request

JSON = {"content-type": "application/json"}
SSE = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
LARGE = 1 << 20
"""Bodies from here on are read as JSON in a thread."""
AHEAD = 64
"""Chunks that a model may be ahead of its client."""


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=lambda: dict(JSON))


Answer = AsyncGenerator["Head | bytes"]
"""A `Head`, then the parts of the body. Closing it early cancels the work."""


class Engine(Protocol):
    """Who answers requests. It raises nothing but `Refused`, and that only ahead of the head."""

    def complete(self, owner: str, body: AsyncIterator[bytes]) -> Answer:
        """Answer one `POST /v1/chat/completions`."""
        ...


class Local:
    """Answers on the running event loop."""

    def __init__(self, chat: Chat, *, keep_alive_seconds: float = 15) -> None:
        """Answer with these chat models.

        Args:
            chat: see `Chat`.
            keep_alive_seconds: a stream that is silent for so long gets a comment.
        """
        self._chat, self._keep_alive = chat, keep_alive_seconds

    async def complete(self, owner: str, body: AsyncIterator[bytes]) -> Answer:
        """See `Engine`."""
        raw = b"".join([part async for part in body])
        try:
            request = (
                await asyncio.to_thread(parse_request, raw)
                if len(raw) > LARGE
                else parse_request(raw)
            )
            del raw
            model = _bound(self._chat(request.model, owner), request)
            answer = self._streamed(model, request) if request.stream else _whole(model, request)
            async with aclosing(answer):
                async for part in answer:
                    yield part
        except Exception as error:
            raise refusal(error) from error

    async def _streamed(self, model: Any, request: ChatRequest) -> Answer:
        """Server-sent events. The head waits for something to show, so that an early failure has its status."""
        has_usage = request.stream_options is not None and bool(
            request.stream_options.include_usage
        )
        replies = Replies(
            request.model, has_reasoning=bool(request.include_reasoning), has_usage=has_usage
        )
        started = False
        async with aclosing(
            _ahead(model.astream(request.langchain_messages()), self._keep_alive)
        ) as chunks:
            try:
                async for chunk in chunks:
                    shown = [KEEP_ALIVE] if chunk is None else list(replies.chunk(chunk))
                    if shown and not started:
                        started = True
                        yield Head(200, dict(SSE))
                    for part in shown:
                        yield part
            except Exception as error:
                if not started:
                    raise
                yield failed(refusal(error).body)
                return
        if not started:
            yield Head(200, dict(SSE))
        for part in replies.end():
            yield part


async def _whole(model: Any, request: ChatRequest) -> Answer:
    message = cast(AIMessage, await model.ainvoke(request.langchain_messages()))
    yield Head(200)
    yield Replies(request.model, has_reasoning=bool(request.include_reasoning)).whole(message)


def _bound(model: Any, request: ChatRequest) -> Any:
    """The chat model with all that the request sets."""
    if request.tools:
        model = model.bind_tools(
            [tool.given() for tool in request.tools], **request.tool_settings()
        )
    settings = request.bound()
    return model.bind(**settings) if settings else model


async def _ahead(
    chunks: AsyncIterator[AIMessageChunk], seconds: float
) -> AsyncGenerator[AIMessageChunk | None]:
    """The chunks of a stream, and None for every `seconds` without one. The stream runs in one task, as its context wants it."""
    queue: asyncio.Queue[AIMessageChunk | BaseException | None] = asyncio.Queue(AHEAD)

    async def pump() -> None:
        try:
            async with aclosing(cast(Any, chunks)) as source:
                async for chunk in source:
                    await queue.put(chunk)
            await queue.put(None)
        except Exception as error:  # noqa: BLE001 - raised where the chunks are read
            await queue.put(error)

    task = asyncio.create_task(pump())
    try:
        while True:
            try:
                async with asyncio.timeout(seconds):
                    item = await queue.get()
            except TimeoutError:
                yield None
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def refused(error: Refused) -> tuple[Head, bytes]:
    """The answer that a refusal is."""
    return Head(error.status, {**JSON, **error.headers}), error.json
