"""Bodies: the body of a request as it arrives, and the news that its client has left."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

CLOSE = {"connection": "close"}
"""Header of an answer to a request whose body was not read to its end."""


def check_page(scope: "Scope") -> None:
    """Refuse what a page of any origin may send without asking first: a body that is not JSON.

    It could not read the answer, and would spend the models' money all the same.
    """
    headers = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    if b"origin" in headers and kind != b"application/json":
        message = "A request from a browser must have the content type application/json."
        raise Refused(415, message, code="unsupported_media_type", headers=CLOSE)


class ClientGone(Exception):
    """Raised where the body is read, when the client left before its request had ended."""


class Body:
    """The body of one request as it arrives, and the news that its client has left."""

    def __init__(self, receive: "Receive", settings: Settings) -> None:
        self._receive = receive
        self._max_bytes = settings.max_body_bytes
        self._max_seconds = settings.body_seconds
        self._is_read = asyncio.Event()

    def check_size(self, scope: "Scope") -> None:
        """Refuse a body that its client says is too large, before any of it is read."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_bytes:
            raise self._too_large()

    async def parts(self) -> AsyncIterator[bytes]:
        """Read the body, piece by piece.

        Raises:
            Refused: it is too large, or a piece does not come in time.
            ClientGone: the client left.
        """
        size = 0
        while True:
            message = await self._next()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > self._max_bytes:
                raise self._too_large()
            yield part
            if not message.get("more_body"):
                self._is_read.set()
                return

    async def gone(self) -> None:
        """Wait until the client leaves, once its request is read."""
        await self._is_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _next(self) -> "Message":
        try:
            async with asyncio.timeout(self._max_seconds):
                return await self._receive()
        except TimeoutError:
            message = "The body did not come to its end."
            raise Refused(408, message, code="request_timeout", headers=CLOSE) from None

    def _too_large(self) -> Refused:
        message = f"The body is over {self._max_bytes:,} bytes: see --max-body-mb."
        return Refused(413, message, code="request_too_large", headers=CLOSE)


async def left(receive: "Receive") -> None:
    """Wait until the client of a request without a body leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def no_body() -> AsyncGenerator[bytes]:
    """Give the body of a request that has none."""
    for part in ():
        yield part
