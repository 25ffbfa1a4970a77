"""Run: `langgraph-rlm serve`. Checks what a server must not do (be open to all, call itself), binds, and serves until it is stopped."""

import asyncio
import gc
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from urllib.parse import urlsplit

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.app import create_app
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.process import open_process
from langgraph_rlm.server.protocol import protocol_of
from langgraph_rlm.server.settings import KEY_VARIABLE, Settings, keys_of_environment

try:
    import uvicorn
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

BACKLOG = 2048
UPSTREAMS = ("OPENAI_BASE_URL", "OPENAI_API_BASE")


def serve(
    settings: Settings, *, is_forced: bool = False, say: Callable[[str], None] = print
) -> None:
    """Serve until SIGTERM or Ctrl-C: requests under way may then go on for `stop_seconds`.

    Args:
        settings: of the server.
        is_forced: serve other machines without a key.
        say: takes the one line that tells where the server is.

    Raises:
        ConfigurationError: the address is taken or open to all, the upstream is this server, or the database cannot be opened.
    """
    check_binding(settings, is_forced)
    with _bound(settings) as listener:
        check_upstreams(settings, *listener.getsockname()[:2])
        config = uvicorn.Config(
            "",
            http=protocol_of(settings.body_seconds),
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_graceful_shutdown=int(settings.stop_seconds),
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(settings, config, listener, say))


async def _serve(
    settings: Settings,
    config: "uvicorn.Config",
    listener: socket.socket,
    say: Callable[[str], None],
) -> None:
    async with open_process(settings) as process:

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Engine]:
            yield process

        config.app = create_app(settings, engine=opened)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        gc.freeze()  # what is loaded stays: no collection has to look at it again, which takes tens of milliseconds
        say(f"Serving http://{shown}:{port}/v1 (Ctrl-C to stop)")
        await _Server(config).serve(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, which leaves the end of the process to us: there is a process to stop and a database to close."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """SIGINT and SIGTERM let requests end; a second one does not wait for them."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


@contextmanager
def _bound(settings: Settings) -> Generator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
            listener.listen(BACKLOG)  # from here on clients wait, and are not refused
        except OSError as error:
            raise ConfigurationError(
                f"{settings.host}:{settings.port} cannot be served: {error}. Give another --host or --port."
            ) from error
        yield listener


def check_binding(settings: Settings, is_forced: bool) -> None:
    """Refuse to be open to other machines without a key.

    Raises:
        ConfigurationError: it would be.
    """
    if not (is_forced or keys_of_environment() or _is_loopback(settings.host)):
        raise ConfigurationError(
            f"--host {settings.host} serves other machines, and anybody on them could spend your models' money. Set {KEY_VARIABLE} to "
            "the key that clients have to give, or add --force."
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_upstreams(settings: Settings, host: str, port: int) -> None:
    """Refuse an upstream that is this server: each request would make another, for ever.

    Raises:
        ConfigurationError: it is.
    """
    upstreams = {variable: os.environ.get(variable) for variable in UPSTREAMS}
    upstreams |= {
        f"base_url of [models.{name}]": alias.base_url for name, alias in settings.aliases.items()
    }
    for name, url in upstreams.items():
        if url and _leads_to(url, host, port):
            raise ConfigurationError(
                f"{name}={url!r} is this server itself: it would call itself for ever. Point it to the models' own API, or give "
                "another --port; clients of this server take its address in THEIR environment."
            )


def _leads_to(url: str, host: str, port: int) -> bool:
    parts = urlsplit(url)
    if (parts.port or {"http": 80, "https": 443}.get(parts.scheme)) != port or not parts.hostname:
        return False
    try:
        found: set[Any] = {
            info[4][0] for info in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
        }
    except OSError:
        return False
    return (
        any(_is_own(address) for address in found)
        if ipaddress.ip_address(host).is_unspecified
        else host in found
    )


def _is_own(address: str) -> bool:
    """Whether an address is one of this machine: only those can be bound."""
    with socket.socket(
        socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM
    ) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


if sys.platform == "win32":
    raise ConfigurationError(
        "langgraph-rlm serve needs a POSIX system. On Windows serve langgraph_rlm.server.create_app() with uvicorn."
    )
