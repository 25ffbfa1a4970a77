"""Engine: the body of one request in, the head and the body of its answer out.

It knows nothing of HTTP's connections.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, Protocol

from langchain_core.messages import AIMessage, AIMessageChunk

from langgraph_rlm.models.sampling import SAMPLING, ignored_by, sampled
from langgraph_rlm.models.tool_options import tool_options_of
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
IGNORED = "x-langgraph-rlm-ignored"
"""Header of an answer with the names of fields that the model's provider does not have."""
HEADER_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
MOST_NAMES = 32
LARGE = 1 << 20
"""Bytes above which a body is parsed in a thread."""
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
    """What answers requests. It raises nothing but `Refused`, and that only before the head."""

    def complete(self, owner: str, body: AsyncIterator[bytes]) -> Answer:
        """Answer one `POST /v1/chat/completions`."""
        ...

    def file(self, owner: str, id: str, *, has_content: bool) -> Answer:
        """Answer one `GET /v1/files/ID`, or `GET /v1/files/ID/content`."""
        ...

    def figures(self) -> Answer:
        """Give the figures of the runs, in Prometheus' text format."""
        ...


Files = Callable[[str, str, bool], Answer]
"""Answers `Engine.file`: for an owner, an id, and whether its bytes are asked for."""


class Local:
    """The engine that answers on the running event loop."""

    def __init__(
        self,
        chat: Chat,
        *,
        files: Files | None = None,
        figures: Callable[[], bytes] = bytes,
        keep_alive_seconds: float = 15,
    ) -> None:
        """Answer with these chat models.

        Args:
            chat: see `Chat`.
            files: gives the files of their runs; None where they have none.
            figures: gives the figures of their runs.
            keep_alive_seconds: a stream that is silent for so long gets a comment.
        """
        self._chat = chat
        self._files = files
        self._figures = figures
        self._keep_alive_seconds = keep_alive_seconds

    async def complete(self, owner: str, body: AsyncIterator[bytes]) -> Answer:
        """Do what `Engine.complete` says."""
        raw = b"".join([part async for part in body])
        try:
            if len(raw) > LARGE:
                request = await asyncio.to_thread(parse_request, raw)
            else:
                request = parse_request(raw)
            del raw
            async with aclosing(self._answer(request, owner)) as answer:
                async for part in answer:
                    yield part
        except Exception as error:
            raise refusal(error) from error

    async def file(self, owner: str, id: str, *, has_content: bool) -> Answer:
        """Do what `Engine.file` says."""
        if self._files is None:
            raise no_file(id)
        try:
            async with aclosing(self._files(owner, id, has_content)) as answer:
                async for part in answer:
                    yield part
        except Exception as error:
            raise refusal(error) from error

    async def figures(self) -> Answer:
        """Do what `Engine.figures` says."""
        yield Head(200)
        yield self._figures()

    async def _answer(self, request: ChatRequest, owner: str) -> Answer:
        found: Any = self._chat(request.model, owner)
        if isawaitable(found):
            found = await found
        model, ignored = _bound(found, request)
        headers = _about_ignored(ignored)
        answer = _whole(model, request, headers)
        if request.stream:
            answer = self._streamed(model, request, headers)
        async with aclosing(answer) as parts:
            async for part in parts:
                yield part

    async def _streamed(self, model: Any, request: ChatRequest, headers: dict[str, str]) -> Answer:
        """Answer with server-sent events.

        The head waits for something to show, so that an early failure has a status of its own.
        """
        replies = _replies_to(request)
        stream = model.astream(request.langchain_messages())
        started = False
        async with aclosing(_ahead(stream, self._keep_alive_seconds)) as chunks:
            try:
                async for chunk in chunks:
                    shown = [KEEP_ALIVE] if chunk is None else list(replies.chunk(chunk))
                    if shown and not started:
                        started = True
                        yield Head(200, SSE | headers)
                    for part in shown:
                        yield part
            except Exception as error:
                if not started:
                    raise
                yield failed(refusal(error).body)
                return
        if not started:
            yield Head(200, SSE | headers)
        for part in replies.end():
            yield part


async def _whole(model: Any, request: ChatRequest, headers: dict[str, str]) -> Answer:
    message: AIMessage = await model.ainvoke(request.langchain_messages())
    yield Head(200, JSON | headers)
    yield _replies_to(request).whole(message)


def _replies_to(request: ChatRequest) -> Replies:
    options = request.stream_options
    return Replies(
        request.model,
        has_reasoning=bool(request.include_reasoning),
        has_usage=options is not None and bool(options.include_usage),
    )


def _bound(model: Any, request: ChatRequest) -> tuple[Any, list[str]]:
    """Give the chat model with all that the request sets, and names of what its provider does not
    have."""
    given = request.bound()
    sampling = request.sampling()
    root: Any = getattr(model, "root_model", None)
    ignored = ignored_by(root or model, sampling)
    if root is None:
        model, own = sampled(model, sampling)
        given |= own
    elif sampling:
        given[SAMPLING] = sampling
    settings = request.tool_settings()
    tools = [tool.given() for tool in request.tools or ()]
    if root is None:
        settings = tool_options_of(model, settings)
        if settings.get("tool_choice") == "none":  # which most providers take for a tool's name
            tools = []
    if tools:
        model = model.bind_tools(tools, **settings)
    bound = model.bind(**given) if given else model
    return bound, [*ignored, *request.unused()]


def _about_ignored(names: Sequence[str]) -> dict[str, str]:
    """Make the header that names what was left out. Names are the client's: some fit no header."""
    fitting = [name for name in names if HEADER_NAME.fullmatch(name)]
    return {IGNORED: ", ".join(fitting[:MOST_NAMES])} if fitting else {}


async def _ahead(
    chunks: AsyncGenerator[AIMessageChunk], seconds: float
) -> AsyncGenerator[AIMessageChunk | None]:
    """Give the chunks of a stream, and None for every `seconds` without one.

    The stream runs in one task from its start to its end, because its context variables need that.
    """
    queue: asyncio.Queue[AIMessageChunk | BaseException | None] = asyncio.Queue(AHEAD)
    task = asyncio.create_task(_pump(chunks, queue))
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


async def _pump(
    chunks: AsyncGenerator[AIMessageChunk],
    queue: asyncio.Queue[AIMessageChunk | BaseException | None],
) -> None:
    """Put the chunks of a stream into a queue, then None; or the error that ended it."""
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                await queue.put(chunk)
        await queue.put(None)
    except Exception as error:  # noqa: BLE001 - raised where the chunks are read
        await queue.put(error)


def no_file(id: str) -> Refused:
    """Make the refusal of a file that there is not, or that is another key's."""
    message = f"There is no file {id!r} of this key: runs give them in the field `files`."
    return Refused(404, message, code="file_not_found")


def refused(error: Refused) -> tuple[Head, bytes]:
    """Give the head and the body of a refusal."""
    return Head(error.status, {**JSON, **error.headers}), error.json
