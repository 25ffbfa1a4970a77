"""App: the HTTP side of the server. Never parses a request or runs a model.

It decides who may ask, how large a body may be and how many requests are worked on at once, and it
cancels the work for a client that has left.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.answers import IGNORED, Asked, Door
from langgraph_rlm.server.bodies import Body, ClientGone, check_page, left, no_body
from langgraph_rlm.server.broken import handed_over
from langgraph_rlm.server.chats import Chat, described
from langgraph_rlm.server.ending import Ending
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.errors import Refused, refusal, unknown_model
from langgraph_rlm.server.keys import checked_key, digests_of, outer_user, server_keys
from langgraph_rlm.server.limits.given import owner_of
from langgraph_rlm.server.metrics import HttpFigures
from langgraph_rlm.server.openapi import document
from langgraph_rlm.server.opening import open_engine
from langgraph_rlm.server.paths import not_served, wrong_method
from langgraph_rlm.server.readiness import Database, is_up, processes_of
from langgraph_rlm.server.repeats import checked_repeat
from langgraph_rlm.server.sending import Sending, send_answer, send_broken_off, send_refusal
from langgraph_rlm.server.settings import METRICS_KEY_VARIABLE, Settings
from langgraph_rlm.server.upstream import Upstream, environment_upstream

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.cors import CORSMiddleware
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

ENGINE_PATHS: Sequence[tuple[str, str, Door]] = (
    ("/v1/chat/completions", "POST", "chat"),
    ("/v1/completions", "POST", "completion"),
    ("/v1/responses", "POST", "response"),
    ("/v1/responses/{id}", "GET", "stored response"),
    ("/v1/responses/{id}", "DELETE", "delete response"),
    ("/v1/responses/{id}/cancel", "POST", "cancel response"),
    ("/v1/responses/{id}/input_items", "GET", "input items"),
    ("/v1/usage", "GET", "usage"),
    ("/v1/files/{id}", "GET", "file"),
    ("/v1/files/{id}/content", "GET", "file content"),
)
"""What the engine answers, by path and method."""

WITH_BODY: frozenset[Door] = frozenset({"chat", "completion", "response"})
"""Doors whose requests have a body and are new work: they wait for a slot, and end with their
client."""

OpenEngine = Callable[[], AbstractAsyncContextManager[Engine]]
"""Opens the engine for as long as the application serves."""


def create_app(
    settings: Settings | None = None,
    *,
    chat: Chat | None = None,
    engine: OpenEngine | None = None,
    ending: Ending | None = None,
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
        ending: says when the server ends, by whoever runs it.
    """
    settings = settings or Settings()
    # a list of the upstream's models would be wrong where the caller decides what an id means
    lists_upstream = chat is None
    opened = engine or (lambda: open_engine(settings, chat))
    app = App(settings, opened, ending or Ending(), lists_upstream=lists_upstream)
    return app.starlette


class App:
    """The endpoints of one server."""

    def __init__(
        self,
        settings: Settings,
        open_engine: OpenEngine,
        ending: Ending,
        *,
        lists_upstream: bool,
    ) -> None:
        self._settings = settings
        self._ending = ending
        self._database = Database()
        self._open_engine = open_engine
        self._lists_upstream = lists_upstream
        self._upstream: Upstream | None = None
        self._keys = server_keys(settings)
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._waiting = 0
        self._metrics_keys = digests_of(METRICS_KEY_VARIABLE) or self._keys
        self._figures = HttpFigures(lambda: self._waiting, settings.max_concurrent)
        self._engine: Engine | None = None
        self.starlette = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/ready", self._ready),
                Route("/openapi.json", self._openapi),
                Route("/metrics", _Raw(self._metrics), methods=["GET"]),
                Route("/v1/models", self._models),
                Route("/v1/models/{model:path}", self._model),
                *self._doors(),
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

    def _doors(self) -> list[Route]:
        """Give the routes of what the engine answers."""
        return [
            Route(path, self._asks(door), methods=[method]) for path, method, door in ENGINE_PATHS
        ]

    async def _health(self, _: Request) -> Response:
        """Say whether the server lives, and how many of its run processes do."""
        told = processes_of(self._engine)
        about = {"run_processes": told} if told else {}
        if not is_up(self._engine):
            return JSONResponse({"status": "starting", **about}, 503)
        return JSONResponse({"status": "ok", **about})

    async def _ready(self, _: Request) -> Response:
        """Say whether more requests are wanted here."""
        status = await self._status()
        code = 200 if status == "ready" else 503
        told = processes_of(self._engine)
        about = {"run_processes": told} if told else {}
        return JSONResponse({"status": status, "waiting": self._waiting, **about}, code)

    async def _status(self) -> str:
        if self._ending.is_near:
            return "stopping"
        if not is_up(self._engine):
            return "starting"
        if self._slots.locked() and self._waiting >= self._settings.max_queue:
            return "busy"
        return "ready" if await self._database.answers(self._running) else "no database"

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
        return owner_of(checked_key(scope, self._keys))

    async def _metrics(self, scope: Scope, _: Receive, send: Send) -> None:
        """Give the figures of the server and of its runs."""
        try:
            if self._metrics_keys:
                checked_key(scope, self._metrics_keys, METRICS_KEY_VARIABLE)
            await send_answer(self._figures.answer(self._running), send)
        except Refused as error:
            await send_refusal(error, send)

    @property
    def _running(self) -> Engine:
        assert self._engine is not None, "The application's lifespan has not begun."
        return self._engine

    def _asks(self, door: Door) -> "_Raw":
        """Make the endpoint of a door: with a body where it is a POST of a new answer."""

        async def with_body(scope: Scope, receive: Receive, send: Send) -> None:
            body, sending = Body(receive, self._settings), Sending(send)
            work = self._answer(scope, body, sending, door)
            if not await _until(body.gone(), work, self._ending):
                await send_broken_off(handed_over(), door, sending)

        async def without(scope: Scope, receive: Receive, send: Send) -> None:
            sending = Sending(send)
            if not await _until(left(receive), self._give(scope, sending, door), self._ending):
                await send_broken_off(handed_over(), door, sending)

        return _Raw(with_body if door in WITH_BODY else without)

    async def _give(self, scope: Scope, send: Send, door: Door) -> None:
        """Give what is there already, or how far it is."""
        try:
            asked = self._asked(door, scope)
            await send_answer(self._running.answer(asked, no_body()), send)
        except Refused as error:
            await send_refusal(error, send)

    def _asked(self, door: Door, scope: Scope) -> Asked:
        """Read what is asked from the path, and who asks."""
        owner = self._owner(scope)
        id = scope.get("path_params", {}).get("id", "")
        options = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        repeat = ""
        if door in WITH_BODY:
            headers = dict(scope["headers"])
            repeat = checked_repeat(headers.get(b"idempotency-key", b"").decode("latin-1"))
        return Asked(door, owner, id, repeat, options)

    async def _answer(self, scope: Scope, body: Body, send: Send, door: Door) -> None:
        try:
            asked = self._asked(door, scope)
            check_page(scope)
            body.check_size(scope)
            async with self._slot():
                await send_answer(self._running.answer(asked, body.parts()), send)
        except Refused as error:
            await send_refusal(error, send)

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


async def _until(
    gone: Coroutine[Any, Any, None], answer: Coroutine[Any, Any, None], ending: Ending
) -> bool:
    """Answer, unless the client leaves first, or the server ends: that cancels the run.

    Returns:
        False where the server's end came first.
    """
    work, leaving = asyncio.create_task(answer), asyncio.create_task(gone)
    over = asyncio.create_task(ending.over())
    try:
        done, _ = await asyncio.wait({work, leaving, over}, return_when=asyncio.FIRST_COMPLETED)
        return done != {over}
    finally:
        for task in (work, leaving, over):
            task.cancel()
        with suppress(asyncio.CancelledError, ClientGone):
            await work
        with suppress(asyncio.CancelledError):
            await leaving


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
        allow_methods=["GET", "POST", "DELETE"],
        allow_headers=["*"],  # OpenAI's own client sends a dozen
        expose_headers=[IGNORED, "retry-after", "x-should-retry"],
    )
    return [cors]


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
