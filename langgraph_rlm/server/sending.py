"""Sending: answers and refusals as ASGI messages."""

from contextlib import aclosing
from typing import TYPE_CHECKING

from langgraph_rlm.server.answers import Answer, Head, refused
from langgraph_rlm.server.errors import Refused

if TYPE_CHECKING:
    from starlette.types import Send


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
