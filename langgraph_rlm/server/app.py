"""App: the HTTP side. Who may ask, how large and how many requests may be, and who has gone. Never parses a request or runs a model."""

import asyncio
import hashlib
import hmac
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Any, cast

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.chats import Chat, described, open_chat
from langgraph_rlm.server.engine import Answer, Engine, Head, Local, refused
from langgraph_rlm.server.errors import Refused, refusal
from langgraph_rlm.server.openapi import document
from langgraph_rlm.server.savers import open_saver
from langgraph_rlm.server.settings import KEY_VARIABLE, Settings, keys_of_environment

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route
    from starlette.types import Receive, Scope, Send
except ImportError as error:
    raise ConfigurationError(
        "The server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

NOBODY = "anonymous"
"""The owner of all requests where no key is asked for."""
Opened = Callable[[], AbstractAsyncContextManager[Engine]]


def create_app(
    settings: Settings | None = None, *, chat: Chat | None = None, engine: Opened | None = None
) -> Starlette:
    """The server as an ASGI application, for uvicorn, or for LangGraph's own server as its `http.app`.

    Its lifespan opens the database, and everything runs on the loop that serves it; `langgraph-rlm serve` gives runs a process of their
    own instead. Keys are those of LANGGRAPH_RLM_API_KEY; where there are none, runs belong to the user that an outer server's
    authentication found (LangGraph's with `"enable_custom_route_auth": true`), else to nobody.

    Args:
        settings: its defaults when left out.
        chat: chat models of your own, by model id and owner, in the place of `ChatRLM`.
        engine: opens who answers, in the place of both.
    """
    settings = settings or Settings()
    return App(settings, engine or (lambda: _local(settings, chat))).starlette


@asynccontextmanager
async def _local(settings: Settings, chat: Chat | None) -> AsyncGenerator[Engine]:
    if chat is not None:
        yield Local(chat, keep_alive_seconds=settings.keep_alive_seconds)
        return
    async with open_saver(settings.db) as saver:
        yield Local(open_chat(settings, saver), keep_alive_seconds=settings.keep_alive_seconds)


class App:
    """The endpoints of one server."""

    def __init__(self, settings: Settings, opened: Opened) -> None:
        self._settings, self._opened = settings, opened
        self._keys = [hashlib.sha256(key.encode()).digest() for key in keys_of_environment()]
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._waiting = 0
        self._engine: Engine | None = None
        self.starlette = Starlette(
            routes=[
                Route("/health", self._health),
                Route("/openapi.json", self._openapi),
                Route("/v1/models", self._models),
                Route("/v1/models/{model:path}", self._model),
                Route("/v1/chat/completions", _Raw(self._complete), methods=["POST"]),
            ],
            exception_handlers={
                HTTPException: _http_error,
                Refused: _refused_error,
                Exception: _other_error,
            },
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        async with self._opened() as engine:
            self._engine = engine
            yield
            self._engine = None

    async def _health(self, _: Request) -> Response:
        is_up = self._engine is not None and getattr(self._engine, "is_up", True)
        return JSONResponse({"status": "ok" if is_up else "starting"}, 200 if is_up else 503)

    async def _openapi(self, _: Request) -> Response:
        return JSONResponse(document())

    async def _models(self, request: Request) -> Response:
        self._owner(request.scope)
        return JSONResponse(described(self._settings))

    async def _model(self, request: Request) -> Response:
        self._owner(request.scope)
        name = request.path_params["model"]
        found = next(
            (model for model in described(self._settings)["data"] if model["id"] == name), None
        )
        if found is None:
            raise Refused(
                404,
                f"There is no model {name!r} in this server's list.",
                param="model",
                code="model_not_found",
            )
        return JSONResponse(found)

    def _owner(self, scope: Scope) -> str:
        """Who asks: a digest of the key, so that nothing stored names it. Raises `Refused` for a missing or wrong one."""
        if not self._keys:
            user = getattr(
                scope.get("user"), "identity", None
            )  # of the server that this one is mounted in
            return _digest(f"user:{user}") if user else NOBODY
        headers = {name.lower(): value for name, value in scope["headers"]}
        scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
        given = hashlib.sha256(key.strip()).digest()
        known = [
            hmac.compare_digest(given, each) for each in self._keys
        ]  # all of them, so that time tells nothing
        if scheme.lower() != b"bearer" or not any(known):
            raise Refused(
                401,
                f"Give one of the server's keys ({KEY_VARIABLE}) as 'Authorization: Bearer KEY'.",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
            )
        return given.hex()[:32]

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, unless the client goes away first: that cancels its run."""
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
            body.check_size(scope)
            async with self._slot():
                await self._send(cast(Engine, self._engine).complete(owner, body.parts()), send)
        except Refused as error:
            head, text = refused(error)
            await _start(send, head, len(text))
            await send({"type": "http.response.body", "body": text})

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        """A place among the requests that are worked on. Those in line have not sent their body yet: it waits with them."""
        if self._slots.locked() and self._waiting >= self._settings.max_queue:
            message = f"The server works on {self._settings.max_concurrent} requests, and {self._waiting} wait. Try again later."
            raise Refused(429, message, code="server_busy", headers={"retry-after": "1"})
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    async def _send(self, answer: Answer, send: Send) -> None:
        async with aclosing(answer) as parts:
            async for part in parts:
                if isinstance(part, Head):
                    await _start(send, part)
                else:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


class ClientGone(Exception):
    """The client went away within its request."""


class _Body:
    """The body of a request as it comes, and word of its client's leaving."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive, self._most, self._patience = (
            receive,
            settings.max_body_bytes,
            settings.body_seconds,
        )
        self._is_read = asyncio.Event()

    def check_size(self, scope: Scope) -> None:
        """Refuse by what the client says of its size, before anything is read."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if length.isdigit() and int(length) > self._most:
            raise self._too_large()

    def _too_large(self) -> Refused:
        return Refused(
            413,
            f"The body is over {self._most:,} bytes: see --max-body-mb.",
            code="request_too_large",
            headers={"connection": "close"},
        )

    async def parts(self) -> AsyncIterator[bytes]:
        """The body, piece by piece."""
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._patience):
                    message = await self._receive()
            except TimeoutError:
                raise Refused(
                    408,
                    "The body did not come to its end.",
                    code="request_timeout",
                    headers={"connection": "close"},
                ) from None
            if message["type"] == "http.disconnect":
                raise ClientGone
            size += len(message.get("body", b""))
            if size > self._most:
                raise self._too_large()
            yield message.get("body", b"")
            if not message.get("more_body"):
                self._is_read.set()
                return

    async def gone(self) -> None:
        """Wait for the client to leave, once its request is read."""
        await self._is_read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


class _Raw:
    """An ASGI endpoint: Starlette takes functions for request-response endpoints."""

    def __init__(self, endpoint: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._endpoint = endpoint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._endpoint(scope, receive, send)


async def _start(send: Send, head: Head, length: int | None = None) -> None:
    headers = head.headers | ({} if length is None else {"content-length": str(length)})
    await send(
        {
            "type": "http.response.start",
            "status": head.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers.items()
            ],
        }
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


async def _refused_error(_: Request, error: Exception) -> Response:
    refusal_ = refusal(error)
    return JSONResponse(refusal_.body, refusal_.status, refusal_.headers)


async def _other_error(request: Request, error: Exception) -> Response:
    return await _refused_error(request, error)


async def _http_error(_: Request, error: Exception) -> Response:
    given = cast(HTTPException, error)
    told = {
        404: "There is no such path. There are /v1/chat/completions, /v1/models and /health.",
        405: "The path has no such method.",
    }
    refusal_ = Refused(given.status_code, told.get(given.status_code, given.detail))
    return JSONResponse(refusal_.body, given.status_code, cast(Any, given.headers))
