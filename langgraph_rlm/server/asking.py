"""Asking: a chat model with all that a request sets, and its stream. Knows no form of an answer."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from inspect import isawaitable
from typing import Any

from langchain_core.messages import AIMessageChunk

from langgraph_rlm.models.sampling import SAMPLING, ignored_by, sampled
from langgraph_rlm.models.tool_options import tool_options_of
from langgraph_rlm.server.answers import IGNORED
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.requests import ChatRequest

HEADER_NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)
MOST_NAMES = 32
AHEAD = 64
"""Chunks that a model may be ahead of its client."""


async def found(chat: Chat, model_id: str, owner: str) -> Any:
    """Give the chat model of an id for an owner.

    Raises:
        Refused: there is no such model.
    """
    model: Any = chat(model_id, owner)
    return await model if isawaitable(model) else model


def bound(model: Any, request: ChatRequest) -> tuple[Any, list[str]]:
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
    if given:
        model = model.bind(**given)
    return model, [*ignored, *request.unused()]


def about_ignored(names: Sequence[str]) -> dict[str, str]:
    """Make the header that names what was left out. Names are the client's: some fit no header."""
    fitting = [name for name in names if HEADER_NAME.fullmatch(name)]
    return {IGNORED: ", ".join(fitting[:MOST_NAMES])} if fitting else {}


async def ahead(
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
