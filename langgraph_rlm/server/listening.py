"""Listening: a socket that waits for clients, and a server that ends in order. It serves nothing
itself."""

import asyncio
import ipaddress
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.protocol import protocol_of

try:
    import uvicorn
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

BACKLOG = 2048
LAST_WORDS = 0.3
"""Seconds in which clients are told that their answers break off."""


class Server(uvicorn.Server):
    """uvicorn's server, which leaves the end of the process to us.

    We have runs to stop and a database to close.
    """

    def __init__(
        self,
        config: "uvicorn.Config",
        *,
        on_end: Callable[[], None] = lambda: None,
        on_over: Callable[[], None] = lambda: None,
        drain_seconds: float = 0,
        stop_seconds: float | None = None,
    ) -> None:
        """Tell how it is to end.

        Args:
            config: uvicorn's.
            on_end: is called when the server is told to end.
            on_over: is called when what is still under way has to end.
            drain_seconds: how long it takes requests after that, as before.
            stop_seconds: how long those that are under way then have; None where `on_over` does
                nothing.
        """
        super().__init__(config)
        self._on_end, self._on_over = on_end, on_over
        self._drain_seconds = drain_seconds
        self._stop_seconds = stop_seconds
        self._is_told = False

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Let requests end at SIGINT and SIGTERM; a second signal does not wait for them."""
        if sys.platform == "win32":
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal does not wait for anything."""
        loop = asyncio.get_running_loop()
        if self._is_told:
            self._on_over()
            self.should_exit = True
            loop.call_later(LAST_WORDS, self._leave)
            return
        self._is_told = True
        self._on_end()
        loop.call_later(self._drain_seconds, self._stop)

    def _stop(self) -> None:
        """Take no more requests."""
        self.should_exit = True
        if self._stop_seconds is not None:
            asyncio.get_running_loop().call_later(self._stop_seconds, self._on_over)

    def _leave(self) -> None:
        self.force_exit = True


def quiet_config(read_seconds: float, stop_seconds: int, **more: Any) -> "uvicorn.Config":
    """Give uvicorn's configuration of a server that logs its own way; its application is set later.

    Args:
        read_seconds: how long a client may take for a request; see `protocol_of`.
        stop_seconds: how long requests may take to end.
        more: of uvicorn's.
    """
    return uvicorn.Config(
        "",
        http=protocol_of(read_seconds),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=stop_seconds,
        **more,
    )


@contextmanager
def bound(host: str, port: int) -> Generator[socket.socket]:
    """Give a listening socket.

    Raises:
        ConfigurationError: the address cannot be served.
    """
    with socket.socket(family_of(host), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(BACKLOG)  # from here on clients wait, and are not refused
        except OSError as error:
            raise ConfigurationError(
                f"{host}:{port} cannot be served: {error}. Give another --host or --port."
            ) from error
        yield listener


def address_of(listener: socket.socket) -> str:
    """Give host and port of a listening socket as they stand in a URL."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def family_of(address: str) -> socket.AddressFamily:
    """Say whether an address is one of IPv6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
