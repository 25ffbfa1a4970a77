"""Sending: answers and refusals as ASGI messages."""

from contextlib import aclosing
from typing import TYPE_CHECKING

from langgraph_rlm.server.answers import Answer, Door, Head, refused
from langgraph_rlm.server.broken import BROKEN_OFF
from langgraph_rlm.server.errors import Refused

if TYPE_CHECKING:
    from starlette.types import Message, Send


class Sending:
    """ASGI's `send` of one answer, and what of it was sent."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self.has_begun = False
        self.is_stream = False
        """Whether what was begun is a stream of events."""

    async def __call__(self, message: "Message") -> None:
        """Send a message."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            kind = dict(message["headers"]).get(b"content-type", b"")
            self.is_stream = kind.startswith(b"text/event-stream")
        await self._send(message)


async def send_broken_off(error: Refused, door: Door, sending: Sending) -> None:
    """Tell a client that its answer is not finished, as far as it can still be told."""
    if not sending.has_begun:
        await send_refusal(error, sending)
    elif sending.is_stream and door in BROKEN_OFF:
        last = BROKEN_OFF[door](error)
        await sending({"type": "http.response.body", "body": last})
    else:
        # the body is shorter than its head said, or has no end: so the client sees that it broke
        raise ConnectionAbortedError


async def send_answer(answer: Answer, send: "Send") -> None:
    """Send an answer as it comes. Raises `Refused` before its head."""
    async with aclosing(answer) as parts:
        async for part in parts:
            if isinstance(part, Head):
                await _send_head(send, part)
            else:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def send_refusal(error: Refused, send: "Send") -> None:
    """Send a refusal."""
    head, text = refused(error)
    await _send_head(send, head, len(text))
    await send({"type": "http.response.body", "body": text})


async def _send_head(send: "Send", head: Head, length: int | None = None) -> None:
    headers = dict(head.headers)
    if length is not None:
        headers["content-length"] = str(length)
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": head.status, "headers": encoded})
