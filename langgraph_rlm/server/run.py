"""Run: `langgraph-rlm serve`. It binds, and serves until it is stopped.

First it refuses what a server must not be: open to everybody, or its own upstream.
"""

import asyncio
import gc
import ipaddress
import os
import socket
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.resolve import BASE_VARIABLES, check_address
from langgraph_rlm.server.app import create_app
from langgraph_rlm.server.ending import Ending
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.keys import server_keys
from langgraph_rlm.server.listening import (
    BACKLOG,
    Server,
    address_of,
    bound,
    family_of,
    is_loopback,
    quiet_config,
)
from langgraph_rlm.server.logs import log_to_stderr
from langgraph_rlm.server.pool import Pool, open_pool
from langgraph_rlm.server.settings import KEY_VARIABLE, Settings

try:
    import uvicorn
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

if sys.platform == "win32":
    raise ConfigurationError(
        "langgraph-rlm serve needs a POSIX system. "
        "On Windows serve langgraph_rlm.server.create_app() with uvicorn."
    )

KEEP_ALIVE = 75
"""Seconds that an idle connection is kept: longer than load balancers keep theirs, which is 60 as a
rule. Where we closed first, they would send a request into a closed connection, and answer 502."""
HAND_OVER = 5
"""Seconds that it may take to tell clients that their requests are handed over."""
DEFAULT_PORTS = {"http": 80, "https": 443}


def serve(
    settings: Settings, *, is_forced: bool = False, say: Callable[[str], None] = print
) -> None:
    """Serve until SIGTERM or Ctrl-C. After `drain_seconds` no more requests are taken; those under
    way have `stop_seconds` to end, and are handed over then.

    Args:
        settings: what the server was told.
        is_forced: serve other machines without a key.
        say: takes the one line that tells where the server is.

    Raises:
        ConfigurationError: the address is taken or open to everybody, or the server to every page
            of the web, the upstream is this server, or the database cannot be opened.
    """
    check_binding(settings, is_forced)
    check_origins(settings, is_forced)
    log_to_stderr(settings.log_level)
    with bound(settings.host, settings.port) as listener:
        check_upstreams(settings, *listener.getsockname()[:2])
        stop_seconds = int(settings.stop_seconds + HAND_OVER)
        config = quiet_config(
            settings.body_seconds, stop_seconds, backlog=BACKLOG, timeout_keep_alive=KEEP_ALIVE
        )
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(settings, config, listener, say))


async def _serve(
    settings: Settings,
    config: "uvicorn.Config",
    listener: socket.socket,
    say: Callable[[str], None],
) -> None:
    async with open_pool(settings) as pool:
        ending = Ending()
        config.app = create_app(settings, engine=lambda: _opened(pool), ending=ending)
        # what is loaded stays: no collection looks at it again, which takes tens of milliseconds
        gc.freeze()
        say(f"Serving http://{address_of(listener)}/v1 (Ctrl-C to stop)")
        server = Server(
            config,
            on_end=ending.begin,
            on_over=ending.hand_over,
            drain_seconds=settings.drain_seconds,
            stop_seconds=settings.stop_seconds,
        )
        await server.serve(sockets=[listener])


@asynccontextmanager
async def _opened(pool: Pool) -> AsyncGenerator[Engine]:
    yield pool


def check_binding(settings: Settings, is_forced: bool) -> None:
    """Refuse to be open to other machines without a key.

    Raises:
        ConfigurationError: the server would be.
    """
    if is_forced or server_keys(settings) or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"--host {settings.host} serves other machines, and anybody on them could spend your "
        f"models' money. Set {KEY_VARIABLE} to the key that clients have to give, or add --force."
    )


def check_origins(settings: Settings, is_forced: bool) -> None:
    """Refuse to let every page of the web in without a key.

    Raises:
        ConfigurationError: the server would.
    """
    if is_forced or server_keys(settings) or "*" not in settings.cors_origins:
        return
    raise ConfigurationError(
        "--cors-origin * without a key lets any page that is open in a browser here spend your "
        f"models' money. Name the origins, or set {KEY_VARIABLE} to the key that clients have to "
        "give, or add --force."
    )


def check_upstreams(settings: Settings, host: str, port: int) -> None:
    """Refuse an upstream that is this server: each request would make another, without end.

    Raises:
        ConfigurationError: one of the upstreams is, or is no address.
    """
    upstreams = {variable: os.environ.get(variable) for variable in BASE_VARIABLES}
    for name, alias in settings.aliases.items():
        upstreams[f"base_url of [models.{name}]"] = alias.base_url
    for name, url in upstreams.items():
        check_address(name, url)
        if url and _leads_to(url, host, port):
            raise ConfigurationError(
                f"{name}={url!r} is this server itself: it would call itself for ever. "
                "Point it to the models' own API, or give another --port; clients of this server "
                "take its address in THEIR environment."
            )


def _leads_to(url: str, host: str, port: int) -> bool:
    parts = urlsplit(url)
    url_port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    if url_port != port or not parts.hostname:
        return False
    try:
        infos = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = {str(info[4][0]) for info in infos}
    if ipaddress.ip_address(host).is_unspecified:
        return any(_is_own(address) for address in addresses)
    return host in addresses


def _is_own(address: str) -> bool:
    """Say whether an address is one of this machine: only those can be bound."""
    with socket.socket(family_of(address), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
