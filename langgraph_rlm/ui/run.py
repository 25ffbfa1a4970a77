"""Run: serve the page. It binds, tells where it is, and serves until it is stopped."""

import asyncio
import getpass
import ipaddress
import os
import secrets
import socket
import tempfile
import threading
import webbrowser
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.hosting.sources import Source, source_of
from langgraph_rlm.server.listening import Server, address_of, bound, is_loopback, quiet_config
from langgraph_rlm.server.settings import KEY_VARIABLE, keys_of_environment
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.ui.access import LOOPBACK, Access
from langgraph_rlm.ui.bodies import SECONDS
from langgraph_rlm.ui.pages import Pages

try:
    import uvicorn
except ImportError as error:
    raise ConfigurationError(
        "The page's server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

STOP_SECONDS = 5
"""How long requests may take to end after Ctrl-C."""
PORT = 8765
OPENED_SECONDS = 20.0
"""Seconds for which the file is kept that leads a browser to the page."""

OpenSource = Callable[[], AbstractAsyncContextManager[Source]]
"""Opens the threads for as long as the server runs, on its event loop."""


@dataclass(frozen=True)
class Serving:
    """How the page is served."""

    host: str = "127.0.0.1"
    port: int = PORT
    """0 takes a free one."""
    hosts: Sequence[str] = ()
    """Further names by which browsers may ask."""
    is_opened: bool = True
    """Whether a browser is opened."""
    say: Callable[[str], None] = print
    """Takes the line that tells where the page is."""


def serve_ui(
    graph: Any,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    blob_store: str | Path | BlobStore | None = None,
    hosts: Sequence[str] = (),
    open_browser: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page from a process of one's own, whose graph has its tools, until Ctrl-C.

    Args:
        graph: with a checkpointer; or a checkpointer, whose threads are read and answered only.
        host: another than loopback needs a key in LANGGRAPH_RLM_API_KEY.
        port: 0 takes a free one.
        blob_store: where the blobs of a checkpointer's threads are; None is the default.
        hosts: further names by which browsers may ask.
        open_browser: whether a browser is opened.
        say: takes the line that tells where the page is, with its token.

    Raises:
        ConfigurationError: the address is taken or open to everybody, or there is no checkpointer.
    """

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Source]:
        yield source_of(graph, blob_store)

    run(Serving(host, port, hosts, open_browser, say), opened)


def run(serving: Serving, open_source: OpenSource) -> None:
    """Serve until SIGTERM or Ctrl-C; runs of this process are cancelled then, and can be continued.

    Raises:
        ConfigurationError: see `serve_ui`.
    """
    keys = keys_of_environment()
    if not keys and not is_loopback(serving.host):
        raise ConfigurationError(
            f"--host {serving.host} serves other machines, and anybody on them could answer "
            f"approvals and spend your models' money. Set {KEY_VARIABLE} to the token of the page."
        )
    with bound(serving.host, serving.port) as listener:
        config = quiet_config(SECONDS, STOP_SECONDS)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(serving, open_source, config, listener, keys))


async def _serve(
    serving: Serving,
    open_source: OpenSource,
    config: "uvicorn.Config",
    listener: socket.socket,
    keys: Sequence[str],
) -> None:
    is_made = not keys
    keys = keys or (secrets.token_urlsafe(32),)
    access = Access(
        keys,
        hosts=LOOPBACK | _names(serving),
        any_address=not is_loopback(serving.host),
    )
    async with open_source() as source:
        pages = Pages(lambda: source, access, user=_user(serving))
        config.app = pages.starlette
        address = f"http://{_reachable(address_of(listener))}/?token="
        shown = keys[0] if is_made else f"${KEY_VARIABLE}"  # a key that lasts stays off the screen
        serving.say(f"The page is at {address}{shown} (Ctrl-C to stop)")
        if serving.is_opened:
            url = f"{address}{quote(keys[0], safe='')}"
            threading.Thread(target=_open_browser, args=(url,), daemon=True).start()
        await Server(config, on_end=pages.end).serve(sockets=[listener])


def _names(serving: Serving) -> frozenset[str]:
    """Give the names by which the server may be asked, beside those of loopback."""
    names = {*serving.hosts, serving.host}
    if not is_loopback(serving.host):
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names)


def _reachable(address: str) -> str:
    """Give an address that a browser on this machine can ask."""
    host, _, port = address.rpartition(":")
    if ipaddress.ip_address(host.strip("[]")).is_unspecified:
        return f"127.0.0.1:{port}"
    return address


def _user(serving: Serving) -> str | None:
    """Say who decides: on loopback whoever started it; behind a key it is not known."""
    if not is_loopback(serving.host):
        return None
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return None


def _open_browser(url: str) -> None:
    """Open the page without its token in the arguments of a process, which all users can see.

    The browser is given a file that only this user can read, which leads to the page.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "page.html")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(
                '<!doctype html><meta charset="utf-8">'
                f'<meta http-equiv="refresh" content="0; url={escape(url)}">'
            )
        if webbrowser.open(path.as_uri()):
            threading.Event().wait(OPENED_SECONDS)  # a browser that starts reads it later
