"""App: the HTTP side of the server. Never parses a request or runs a model.

It decides who may ask, how large a body may be and how many requests are worked on at once, and it
cancels the work for a client that has left.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.chats import Chat, described, open_chat
from langgraph_rlm.server.engine import IGNORED, Answer, Engine, Head, Local, refused
from langgraph_rlm.server.errors import Refused, refusal, unknown_model
from langgraph_rlm.server.figures import Figures
from langgraph_rlm.server.files import RunFiles
from langgraph_rlm.server.keys import checked_key, digests_of, outer_user
from langgraph_rlm.server.metrics import HttpFigures
from langgraph_rlm.server.openapi import document
from langgraph_rlm.server.paths import not_served, wrong_method
from langgraph_rlm.server.savers import open_saver
from langgraph_rlm.server.settings import KEY_VARIABLE, METRICS_KEY_VARIABLE, Settings
from langgraph_rlm.server.upstream import Upstream, environment_upstream
from langgraph_rlm.telemetry.observers import observers

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Message, Receive, Scope, Send
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

CLOSE = {"connection": "close"}
"""Header of an answer to a request whose body was not read to its end."""

OpenEngine = Callable[[], AbstractAsyncContextManager[Engine]]
"""Opens the engine for as long as the application serves."""


def create_app(
    settings: Settings | None = None,
    *,
    chat: Chat | None = None,
    engine: OpenEngine | None = None,
) -> Starlette:
    """Make the server as an ASGI application, for uvicorn or for LangGraph's server (`http.app`).

    The application's lifespan opens the database, and everything runs on the loop that serves it;
    `langgraph-rlm serve` gives runs a process of their own instead.

    The keys are those of LANGGRAPH_RLM_API_KEY. Where there are none, a run belongs to the user
    that an outer server's authentication found (LangGraph's server finds one with
    `"enable_custom_route_auth": true`), else to nobody.

    Args:
        settings: `Settings()` when left out.
        chat: chat models of your own, by model id and owner, instead of `ChatRLM`.
        engine: opens what answers requests, instead of both.
    """
    settings = settings or Settings()
    # a list of the upstream's models would be wrong where the caller decides what an id means
    lists_upstream = chat is None
    open_engine = engine or (lambda: _local(settings, chat))
    return App(settings, open_engine, lists_upstream=lists_upstream).starlette


@asynccontextmanager
async def _local(settings: Settings, chat: Chat | None) -> AsyncGenerator[Engine]:
    figures = Figures()
    observers.append(figures)
    try:
        if chat is not None:
            seconds = settings.keep_alive_seconds
            yield Local(chat, figures=figures.text, keep_alive_seconds=seconds)
            return
        async with open_saver(settings.db) as saver:
            yield Local(
                open_chat(settings, saver),
                files=RunFiles(saver, settings.blob_store).answer,
                figures=figures.text,
                keep_alive_seconds=settings.keep_alive_seconds,
            )
    finally:
        observers.remove(figures)


class App:
    """The endpoints of one server."""

    def __init__(
        self, settings: Settings, open_engine: OpenEngine, *, lists_upstream: bool
    ) -> None:
        self._settings = settings
        self._open_engine = open_engine
        self._lists_upstream = lists_upstream
        self._upstream: Upstream | None = None
        self._keys = digests_of(KEY_VARIABLE)
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._waiting = 0
        self._metrics_keys = digests_of(METRICS_KEY_VARIABLE) or self._keys
        self._figures = HttpFigures(lambda: self._waiting)
        self._engine: Engine | None = None
        self.starlette = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/openapi.json", self._openapi),
                Route("/metrics", _Raw(self._metrics), methods=["GET"]),
                Route("/v1/models", self._models),
                Route("/v1/models/{model:path}", self._model),
                Route("/v1/files/{file_id}", _Raw(self._file), methods=["GET"]),
                Route("/v1/files/{file_id}/content", _Raw(self._file), methods=["GET"]),
                Route("/v1/chat/completions", _Raw(self._complete), methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _http_error,
                Refused: _any_error,
                Exception: _any_error,
            },
            middleware=[Middleware(self._figures.measured), *_middleware(settings)],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        async with self._open_engine() as engine:
            self._engine = engine
            if self._lists_upstream:
                self._upstream = environment_upstream()
            yield
            self._engine = None

    async def _health(self, _: Request) -> Response:
        if self._engine is None or not getattr(self._engine, "is_up", True):
            return JSONResponse({"status": "starting"}, 503)
        return JSONResponse({"status": "ok"})

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(document())

    async def _models(self, request: Request) -> Response:
        self._owner(request.scope)
        return JSONResponse(await described(self._settings, self._upstream))

    async def _model(self, request: Request) -> Response:
        self._owner(request.scope)
        name = request.path_params["model"]
        known = await described(self._settings, self._upstream)
        for model in known["data"]:
            if model["id"] == name:
                return JSONResponse(model)
        raise unknown_model(f"There is no model {name!r} in this server's list.")

    def _owner(self, scope: Scope) -> str:
        """Say who asks: a digest of the key, so that nothing that is stored names the key.

        Raises:
            Refused: the key is missing or wrong.
        """
        if not self._keys:
            return outer_user(scope)
        return checked_key(scope, self._keys).hex()[:32]

    async def _metrics(self, scope: Scope, _: Receive, send: Send) -> None:
        """Give the figures of the server and of its runs."""
        try:
            if self._metrics_keys:
                checked_key(scope, self._metrics_keys, METRICS_KEY_VARIABLE)
            assert self._engine is not None, "The application's lifespan has not begun."
            await _send_answer(self._figures.answer(self._engine), send)
        except Refused as error:
            await _send_refusal(error, send)

    async def _file(self, scope: Scope, _: Receive, send: Send) -> None:
        """Give a file of a run, or what is known of it."""
        try:
            owner = self._owner(scope)
            assert self._engine is not None, "The application's lifespan has not begun."
            has_content = scope["path"].endswith("/content")
            id = scope["path_params"]["file_id"]
            await _send_answer(self._engine.file(owner, id, has_content=has_content), send)
        except Refused as error:
            await _send_refusal(error, send)

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, unless the client leaves first: that cancels its run."""
        body = _Body(receive, self._settings)
        work = asyncio.create_task(self._answer(scope, body, send))
        gone = asyncio.create_task(body.gone())
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, gone):
                task.cancel()
            with suppress(asyncio.CancelledError, ClientGone):
                await work
            with suppress(asyncio.CancelledError):
                await gone

    async def _answer(self, scope: Scope, body: "_Body", send: Send) -> None:
        try:
            owner = self._owner(scope)
            _check_page(scope)
            body.check_size(scope)
            async with self._slot():
                assert self._engine is not None, "The application's lifespan has not begun."
                await _send_answer(self._engine.complete(owner, body.parts()), send)
        except Refused as error:
            await _send_refusal(error, send)

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        """Take one of the slots for requests that are worked on, or wait in line for it.

        Requests in line have not sent their body yet: it waits with them.
        """
        if self._slots.locked() and self._waiting >= self._settings.max_queue:
            message = (
                f"The server works on {self._settings.max_concurrent} requests, "
                f"and {self._waiting} wait. Try again later."
            )
            raise Refused(429, message, code="server_busy", headers={"retry-after": "1"})
        self._waiting += 1
        try:
            with self._figures.in_line():
                await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


def _check_page(scope: Scope) -> None:
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


class _Body:
    """The body of one request as it arrives, and the news that its client has left."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive = receive
        self._max_bytes = settings.max_body_bytes
        self._max_seconds = settings.body_seconds
        self._is_read = asyncio.Event()

    def check_size(self, scope: Scope) -> None:
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

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(self._max_seconds):
                return await self._receive()
        except TimeoutError:
            message = "The body did not come to its end."
            raise Refused(408, message, code="request_timeout", headers=CLOSE) from None

    def _too_large(self) -> Refused:
        message = f"The body is over {self._max_bytes:,} bytes: see --max-body-mb."
        return Refused(413, message, code="request_too_large", headers=CLOSE)


class _Raw:
    """An ASGI endpoint. Starlette takes a function for an endpoint of requests and responses."""

    def __init__(self, endpoint: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope, receive, send)


def _middleware(settings: Settings) -> list[Middleware]:
    """Let browsers in from the origins that the settings name; from no others."""
    if not settings.cors_origins:
        return []
    cors = Middleware(
        CORSMiddleware,
        allow_origins=[*settings.cors_origins],
        allow_methods=["GET", "POST"],
        allow_headers=["*"],  # OpenAI's own client sends a dozen
        expose_headers=[IGNORED, "retry-after", "x-should-retry"],
    )
    return [cors]


async def _send_answer(answer: Answer, send: Send) -> None:
    async with aclosing(answer) as parts:
        async for part in parts:
            if isinstance(part, Head):
                await _send_head(send, part)
            else:
                await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _send_refusal(error: Refused, send: Send) -> None:
    head, text = refused(error)
    await _send_head(send, head, len(text))
    await send({"type": "http.response.body", "body": text})


async def _send_head(send: Send, head: Head, length: int | None = None) -> None:
    headers = dict(head.headers)
    if length is not None:
        headers["content-length"] = str(length)
    encoded = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": head.status, "headers": encoded})


async def _any_error(_: Request, error: Exception) -> Response:
    told = refusal(error)
    return JSONResponse(told.body, told.status, told.headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code == 404:
        message = not_served(request.url.path)
    elif error.status_code == 405:
        message = wrong_method(request.method, request.url.path, error.headers or {})
    body = Refused(error.status_code, message).body
    return JSONResponse(body, error.status_code, error.headers)
