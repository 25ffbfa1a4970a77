"""Protocol: uvicorn's reading of HTTP, with an end to what may come ahead of a body: it takes headers of any length, and waits for ever."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

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
"""Bytes of a request's line and headers; a packet more may come before they are refused."""


def protocol_of(seconds: float) -> type[HttpToolsProtocol]:
    """The protocol of a server.

    Args:
        seconds: how long a client may take for the line and the headers of a request.
    """

    class Protocol(HttpToolsProtocol):
        """One connection."""

        def __init__(self, config: "Config", *given: Any, **more: Any) -> None:
            super().__init__(config, *given, **more)
            self._size, self._is_ahead = 0, True
            self._late: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._is_ahead:
                self._size += len(data)
                if self._size > LONGEST:
                    self.send_400_response(f"The headers are over {LONGEST} bytes.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._size, self._is_ahead = 0, True
            self._wait()

        def on_headers_complete(self) -> None:
            self._is_ahead = False
            self._stop()
            super().on_headers_complete()

        def _wait(self) -> None:
            if self._late is None:
                self._late = asyncio.get_running_loop().call_later(
                    seconds, cast(Any, self.transport).close
                )

        def _stop(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Protocol
