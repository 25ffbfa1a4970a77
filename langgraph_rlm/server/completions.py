"""Completions: answers of one form after another, whole or as a stream: a chat's, or a bare text.

What they have in common is here; the forms are those of `replies.py` and `text_replies.py`.
"""

from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.messages import AIMessage, AIMessageChunk

from langgraph_rlm.chat.calls import Named
from langgraph_rlm.server.answers import JSON, SSE, Answer, Head
from langgraph_rlm.server.asking import about_ignored, ahead, bound, found
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.errors import refusal
from langgraph_rlm.server.replies import KEEP_ALIVE, Replies, failed
from langgraph_rlm.server.requests import ChatRequest, parse_request
from langgraph_rlm.server.text_replies import TextReplies
from langgraph_rlm.server.text_requests import parse_text_request


class Form(Protocol):
    """How a chat model's message is written."""

    def whole(self, message: AIMessage) -> bytes:
        """Give the body of a whole answer."""
        ...

    def chunk(self, chunk: AIMessageChunk) -> Iterator[bytes]:
        """Give what a client sees of a chunk: often nothing."""
        ...

    def end(self) -> Iterator[bytes]:
        """Give the last events of a stream."""
        ...


@dataclass(frozen=True)
class Wanted:
    """One completion that is asked for."""

    request: ChatRequest
    form: Form


def wanted_chat(raw: bytes) -> Wanted:
    """Read the body of `POST /v1/chat/completions`. Raises `Refused`."""
    request = parse_request(raw)
    replies = Replies(
        request.model,
        has_reasoning=bool(request.include_reasoning),
        has_usage=request.wants_usage,
    )
    return Wanted(request, replies)


def wanted_text(raw: bytes) -> Wanted:
    """Read the body of `POST /v1/completions`. Raises `Refused`."""
    request = parse_text_request(raw)
    return Wanted(request, TextReplies(request.model, has_usage=request.wants_usage))


async def complete(
    chat: Chat, owner: str, wanted: Wanted, keep_alive_seconds: float, named: Named | None = None
) -> Answer:
    """Give a completion.

    Args:
        chat: gives the model.
        owner: who asks.
        wanted: what is asked.
        keep_alive_seconds: a stream that is silent for so long gets a comment.
        named: the run that it begins or continues, where the client may ask for it again.
    """
    request = wanted.request
    unbound = await found(chat, request.model, owner)
    model, ignored = bound(unbound, request)
    if named is not None and getattr(unbound, "root_model", None) is not None:
        model = model.bind(named_run=named)
    headers = about_ignored(ignored)
    answer = _whole(model, wanted, headers)
    if request.stream:
        answer = _streamed(model, wanted, headers, keep_alive_seconds)
    async with aclosing(answer) as parts:
        async for part in parts:
            yield part


async def _whole(model: Any, wanted: Wanted, headers: dict[str, str]) -> Answer:
    message: AIMessage = await model.ainvoke(wanted.request.langchain_messages())
    yield Head(200, JSON | headers)
    yield wanted.form.whole(message)


async def _streamed(
    model: Any, wanted: Wanted, headers: dict[str, str], keep_alive_seconds: float
) -> Answer:
    """Answer with server-sent events.

    The head waits for something to show, so that an early failure has a status of its own.
    """
    stream = model.astream(wanted.request.langchain_messages())
    started = False
    async with aclosing(ahead(stream, keep_alive_seconds)) as chunks:
        try:
            async for chunk in chunks:
                shown = [KEEP_ALIVE] if chunk is None else list(wanted.form.chunk(chunk))
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
    for part in wanted.form.end():
        yield part
