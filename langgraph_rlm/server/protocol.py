"""Protocol: uvicorn's reading of HTTP, with limits on what comes before a body.

uvicorn itself takes headers of any length, and waits for them without end.
"""

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from langgraph_rlm.errors import ConfigurationError

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError as error:
    raise ConfigurationError(
        "The server needs uvicorn and httptools: pip install 'langgraph-rlm[server]'"
    ) from error

if TYPE_CHECKING:
    from uvicorn import Config

LONGEST = 1 << 16
"""Bytes of a request's line and headers; one packet more may come before they are refused."""


def protocol_of(seconds: float) -> type[HttpToolsProtocol]:
    """Give the protocol of a server.

    Args:
        seconds: how long a client may take for the line and the headers of a request.
    """

    class Protocol(_LimitedProtocol):
        """One connection of this server."""

        max_seconds = seconds

    return Protocol


class _LimitedProtocol(HttpToolsProtocol):
    """One connection, closed when the headers of a request come too late or are too long."""

    max_seconds: ClassVar[float]

    def __init__(self, config: "Config", *given: Any, **more: Any) -> None:
        super().__init__(config, *given, **more)
        self._size = 0
        self._in_headers = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers:
            self._size += len(data)
            if self._size > LONGEST:
                self.send_400_response(f"The headers are over {LONGEST} bytes.")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = 0
        self._in_headers = True
        self._start_timer()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        self._stop_timer()
        super().on_headers_complete()

    def _start_timer(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self.max_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
