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


class Server(uvicorn.Server):
    """uvicorn's server, which leaves the end of the process to us.

    We have runs to stop and a database to close.
    """

    def __init__(
        self, config: "uvicorn.Config", *, on_end: Callable[[], None] = lambda: None
    ) -> None:
        """Take uvicorn's configuration, and what is called when the server is told to end."""
        super().__init__(config)
        self._on_end = on_end

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
        """Begin to end."""
        self._on_end()
        super().handle_exit(sig, frame)


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
