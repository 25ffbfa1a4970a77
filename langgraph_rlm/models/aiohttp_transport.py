"""aiohttp transport: requests of OpenAI's client, sent by aiohttp for half the CPU time a call.

OpenAI's client has a transport over aiohttp, whose place this one takes. With the client's own, a
server that does not read a long prompt is waited for without end, a refused or broken connection is
told as a time-out, a reply that is not HTTP as an error that no client knows, and an event loop
that ends leaves "Unclosed client session" in the log. Loaded only where aiohttp is installed;
retries nothing.
"""

import asyncio
import base64
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import aiohttp
import httpx2
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

MOST_IN_HEADER = 1 << 16
"""Bytes of one header of a reply; aiohttp's own limit of 8 KB is less than some proxies send."""
MOST_HEADERS = 1000

SHORT_BODY = 1 << 15
"""Bytes of a body that is handed over at once: so few find room in a connection's buffers."""
PIECE = 1 << 16
"""Bytes of a longer body that have the time-out for writing together."""

ERRORS: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (aiohttp.ConnectionTimeoutError, httpx2.ConnectTimeout),
    (aiohttp.ServerTimeoutError, httpx2.ReadTimeout),
    (aiohttp.ClientProxyConnectionError, httpx2.ProxyError),
    (aiohttp.ClientHttpProxyError, httpx2.ProxyError),
    (aiohttp.ClientConnectorError, httpx2.ConnectError),
    (aiohttp.ClientOSError, httpx2.ReadError),
    (aiohttp.ClientError, httpx2.RemoteProtocolError),
    (HttpProcessingError, httpx2.RemoteProtocolError),
    (TimeoutError, httpx2.ReadTimeout),
    (OSError, httpx2.ReadError),
)
"""Errors of aiohttp, and what httpx raises instead; the first that fits is taken."""

Sessions = dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None]]]
"""The session of each event loop, and what closes it when the loop ends."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """A transport of httpx over aiohttp, for any event loop."""

    def __init__(
        self, tls: ssl.SSLContext, limits: httpx2.Limits, proxy: httpx2.Proxy | None
    ) -> None:
        """Describe a transport. It connects when it is first asked.

        Args:
            tls: for servers at https.
            limits: of the connections of one event loop. Idle ones are kept until they expire,
                however many they are.
            proxy: one over plain HTTP, which all requests go through.
        """
        self._tls = tls
        self._limits = limits
        self._proxy = proxy and URL(str(proxy.url))
        self._proxy_headers = _proxy_headers(proxy)
        self._sessions: Sessions = {}
        weakref.finalize(self, _drop, self._sessions)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and give the reply once its headers are here.

        Raises:
            httpx2.TransportError: there is no reply.
        """
        session = await self._session()
        body = await request.aread()
        with _errors_of_httpx():
            if len(body) <= SHORT_BODY:
                return _response(await self._ask(session, request, body or None), None)
            upload = _Upload(body, request.extensions.get("timeout", {}).get("write"))
            return _response(await upload.run(self._ask(session, request, upload.pieces())), upload)

    async def aclose(self) -> None:
        """Close the connections of this event loop, and tell other loops to close theirs."""
        mine = self._sessions.pop(asyncio.get_running_loop(), None)
        if mine is not None:
            await mine[1].aclose()
        _drop(self._sessions)

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            _drop_ended(self._sessions)
            session = self._new_session()
            guard = _until_the_end(session, self._sessions, loop)
            self._sessions[loop] = session, guard
            await anext(guard)
        return self._sessions[loop][0]

    def _new_session(self) -> aiohttp.ClientSession:
        connector = _Connector(
            limit=self._limits.max_connections or 0,
            keepalive_timeout=self._limits.keepalive_expiry,
            ssl=self._tls,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),  # httpx keeps cookies
            auto_decompress=False,  # and unpacks bodies
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
            max_line_size=MOST_IN_HEADER,
            max_field_size=MOST_IN_HEADER,
            max_headers=MOST_HEADERS,
        )

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        request: httpx2.Request,
        body: bytes | AsyncIterator[memoryview] | None,
    ) -> aiohttp.ClientResponse:
        url, timeout = request.url, request.extensions.get("timeout", {})
        headers = [each for each in request.headers.multi_items() if each[0] != "transfer-encoding"]
        if url.scheme == "http":  # there is no tunnel: the proxy reads this request itself
            headers.extend(self._proxy_headers.items())
        return await session.request(
            request.method,
            URL(f"{url.scheme}://{url.netloc.decode()}{url.raw_path.decode()}", encoded=True),
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(
                connect=timeout.get("pool"),
                sock_connect=timeout.get("connect"),
                sock_read=timeout.get("read"),
            ),
            proxy=self._proxy,
            proxy_headers=self._proxy_headers,
            server_hostname=request.extensions.get("sni_hostname"),
        )


@contextmanager
def _errors_of_httpx() -> Generator[None]:
    try:
        yield
    except Exception as error:
        kind = next((told for own, told in ERRORS if isinstance(error, own)), None)
        if kind is None:
            raise
        raise kind(str(error) or type(error).__name__) from error


def _proxy_headers(proxy: httpx2.Proxy | None) -> dict[str, str]:
    if proxy is None:
        return {}
    headers = dict(proxy.headers.items())
    if proxy.raw_auth is not None:
        pair = base64.b64encode(b":".join(proxy.raw_auth))
        headers["Proxy-Authorization"] = f"Basic {pair.decode()}"
    return headers


# Bodies


class _Upload:
    """A long body, sent in pieces. A server that does not take one of them in time is given up.

    aiohttp has no time-out for writing, and that for reading begins when all is written.
    """

    def __init__(self, body: bytes, seconds: float | None) -> None:
        self._body = memoryview(body)
        self._seconds = seconds
        self._watch = asyncio.timeout(None)
        self._is_sent = False
        self.connection: asyncio.Transport | None = None

    async def run(
        self, asked: Coroutine[Any, Any, aiohttp.ClientResponse]
    ) -> aiohttp.ClientResponse:
        """Wait for the reply to the request that sends the pieces."""
        before = _uploading.set(self)
        try:
            async with self._watch:
                return await asked
        except BaseException as error:
            self.drop()
            if self._watch.expired() and isinstance(error, TimeoutError):
                raise httpx2.WriteTimeout("The server does not read the request.") from error
            raise
        finally:
            _uploading.reset(before)

    async def pieces(self) -> AsyncIterator[memoryview]:
        """Give the body piece by piece, as fast as they are taken."""
        for start in range(0, len(self._body), PIECE):
            self._expect_more(self._seconds)
            yield self._body[start : start + PIECE]
        self._expect_more(None)
        self._is_sent = True

    def drop(self) -> None:
        """Close the connection at once unless all is sent: an orderly end would wait for that."""
        if self.connection is not None and not self._is_sent:
            self.connection.abort()

    def _expect_more(self, seconds: float | None) -> None:
        until = None if seconds is None else asyncio.get_running_loop().time() + seconds
        with suppress(RuntimeError):  # the reply came before all was sent
            self._watch.reschedule(until)


_uploading: ContextVar[_Upload | None] = ContextVar("_uploading", default=None)
"""What this task sends in pieces."""


def _response(reply: aiohttp.ClientResponse, upload: _Upload | None) -> httpx2.Response:
    version = reply.version or aiohttp.HttpVersion11
    extensions = {
        "http_version": f"HTTP/{version.major}.{version.minor}".encode(),
        "reason_phrase": (reply.reason or "").encode("ascii", "ignore"),
    }
    return httpx2.Response(
        reply.status,
        headers=list(reply.raw_headers),
        stream=_Body(reply, upload),
        extensions=extensions,
    )


class _Body(httpx2.AsyncByteStream):
    """The body of a reply, as it comes in."""

    def __init__(self, reply: aiohttp.ClientResponse, upload: _Upload | None) -> None:
        self._reply = reply
        self._upload = upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for piece in self._reply.content.iter_any():
                yield piece

    async def aclose(self) -> None:
        """Close the connection, unless all has been read and it is back among the idle ones."""
        if self._upload is not None:
            self._upload.drop()
        self._reply.close()


# Connections, and their end


class _Connector(aiohttp.TCPConnector):
    """The connections of one event loop."""

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """Give a connection, and tell what is sent in pieces which one it goes through."""
        connection = await super().connect(*args, **options)
        upload = _uploading.get()
        if upload is not None:
            upload.connection = connection.transport
        return connection

    def __del__(self, *_: object) -> None:
        """Say nothing: what is left of a loop that ended without closing anything is closed with
        its sockets, as with any other client."""


async def _until_the_end(
    session: aiohttp.ClientSession, sessions: Sessions, loop: asyncio.AbstractEventLoop
) -> AsyncGenerator[None]:
    """Close a session when this generator is closed: an event loop closes those that were begun on
    it when it ends (`shutdown_asyncgens`), and when nobody holds them any more."""
    try:
        yield
    finally:
        sessions.pop(loop, None)
        await session.close()


def _drop(sessions: Sessions) -> None:
    """Leave all sessions to their loops, which close them; those of loops that do not run are only
    forgotten, without a word in the log."""
    for loop, (session, _) in [*sessions.items()]:
        if not loop.is_running():
            session.detach()
    sessions.clear()


def _drop_ended(sessions: Sessions) -> None:
    for loop in [each for each in sessions if each.is_closed()]:
        session, _ = sessions.pop(loop)
        session.detach()
