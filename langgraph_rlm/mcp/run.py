"""Run: serves the tools over stdio or HTTP until the client or a signal ends it."""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import (
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.hosting.sources import Source
from langgraph_rlm.mcp.guard import Guard
from langgraph_rlm.mcp.server import OpenSource, Serving, server_of
from langgraph_rlm.server.keys import digests_of
from langgraph_rlm.server.listening import Server, address_of, bound, is_loopback, quiet_config
from langgraph_rlm.server.settings import KEY_VARIABLE

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LOG = logging.getLogger("langgraph_rlm.mcp")

PATH = "/mcp"
STOP_SECONDS = 2
"""How long requests may take to end after Ctrl-C."""
HEADER_SECONDS = 60.0
"""How long a client may take for the line and the headers of a request."""
BODY_BYTES = 32 * 2**20
"""Largest request: mostly the text of a question."""
MOST_SESSIONS = 1000
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
SIGNALS = (signal.SIGINT, signal.SIGTERM)


# stdio


def run_stdio(open_source: OpenSource, serving: Serving) -> None:
    """Serve the client that has started this process, until it closes its end.

    Its stdout is the protocol's from the first moment on: what else is printed goes to stderr.

    Raises:
        ConfigurationError: the source cannot be opened.
    """
    with asyncio.Runner() as runner:
        ended_by = runner.run(_stdio(open_source, serving))
        if ended_by is not None:
            # a thread of the SDK still waits for the client's next line, and cannot be told to end
            os._exit(128 + ended_by)


async def _stdio(open_source: OpenSource, serving: Serving) -> int | None:
    """Serve; give the number of the signal that has ended it, if one has."""
    closed = asyncio.Event()
    async with AsyncExitStack() as until_done:
        with _nothing_printed():
            source = await until_done.enter_async_context(open_source())

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Source]:
            try:
                yield source
            finally:
                closed.set()

        task = asyncio.ensure_future(server_of(opened, serving).run_stdio_async())
        ended_by = await _ended(task)
        if ended_by is not None:
            task.cancel()
            await closed.wait()
    return ended_by


async def _ended(task: "asyncio.Future[None]") -> int | None:
    """Wait for the end of a task, or for a signal, and give its number."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[int] = loop.create_future()

    def take(number: int) -> None:
        if not told.done():
            told.set_result(number)

    for number in SIGNALS:
        with suppress(NotImplementedError):  # on Windows Python's own handling stays
            loop.add_signal_handler(number, take, number)
    await asyncio.wait({task, told}, return_when=asyncio.FIRST_COMPLETED)
    if told.done():
        return told.result()
    with _client_may_leave():
        await task
    return None


@contextmanager
def _client_may_leave() -> Generator[None]:
    """Take the end of the client's pipe for the end that it is, also in the middle of an answer."""
    try:
        yield
    except* BrokenPipeError:
        LOG.info("The client has left before its answer.")


@contextmanager
def _nothing_printed() -> Generator[None]:
    """Send what is printed meanwhile, also by other programs, to stderr instead of stdout."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


# HTTP


@dataclass(frozen=True)
class Address:
    """Where and how MCP is served over HTTP."""

    host: str
    port: int
    """0 takes a free one."""
    hosts: Sequence[str] = ()
    """Further names by which clients may ask, such as that of a proxy."""
    say: Callable[[str], None] = print
    """Takes the line that tells where the server is."""


def run_http(open_source: OpenSource, serving: Serving, address: Address) -> None:
    """Serve clients over streamable HTTP until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: the address is taken or open to everybody, or the source cannot be
            opened.
    """
    keys = digests_of(KEY_VARIABLE)
    if not keys and not is_loopback(address.host):
        raise ConfigurationError(
            f"--http {address.host} serves other machines, and anybody on them could ask about the "
            f"folders and spend your models' money. Set {KEY_VARIABLE} to the key that clients "
            "have to give."
        )
    with bound(address.host, address.port) as listener:
        config = quiet_config(HEADER_SECONDS, STOP_SECONDS)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_http(open_source, serving, address, config, listener, keys))


async def _http(
    open_source: OpenSource,
    serving: Serving,
    address: Address,
    config: "uvicorn.Config",
    listener: socket.socket,
    keys: Sequence[bytes],
) -> None:
    async with open_source() as source:
        config.app = app_of(lambda: nullcontext(source), serving, keys, _names(address))
        address.say(f"Serving MCP at http://{address_of(listener)}{PATH} (Ctrl-C to stop)")
        await Server(config).serve(sockets=[listener])


def app_of(
    open_source: OpenSource, serving: Serving, keys: Sequence[bytes], names: Sequence[str]
) -> "ASGIApp":
    """Make the ASGI application.

    Args:
        open_source: opens the threads.
        serving: how they are served.
        keys: digests of the keys that open it; none opens it to everybody who reaches it.
        names: of the hosts by which it may be asked. Pages of browsers never may: each of their
            requests has an `Origin`.
    """
    security = TransportSecuritySettings(
        allowed_hosts=[each for name in names for each in (name, f"{name}:*")],
        allowed_origins=[],
    )
    app = server_of(open_source, serving).streamable_http_app(
        streamable_http_path=PATH,
        transport_security=security,
        max_request_body_size=BODY_BYTES,
        max_sessions=MOST_SESSIONS,
    )
    return Guard(app, keys) if keys else app


def _names(address: Address) -> list[str]:
    """Give the names by which the server may be asked."""
    names = {*LOOPBACK, *address.hosts}
    if not is_loopback(address.host):
        host = f"[{address.host}]" if ":" in address.host else address.host
        names |= {host, socket.gethostname(), socket.getfqdn()}
    return sorted(names)
