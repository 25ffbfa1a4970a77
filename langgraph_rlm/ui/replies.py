"""Replies: what is true of every answer of the page's server, and how its errors are told."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from langgraph_rlm.errors import (
    AnsweredError,
    BlobError,
    ConfigurationError,
    ForkError,
    ResumeError,
    RLMError,
    ThreadBusyError,
)
from langgraph_rlm.hosting.runs import LOG, told
from langgraph_rlm.hosting.secrets import without_secrets
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.ui.access import HEADERS, NOTHING, Access

Endpoint = Callable[[Request], Awaitable[Response]]


class Frame:
    """What is true of every answer: its host is ours, and its headers keep browsers careful."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def framed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = {name.decode("latin-1"): value for name, value in message["headers"]}
                wanted = {**HEADERS, "content-security-policy": NOTHING}
                message["headers"] = [
                    *message["headers"],
                    *[(n.encode(), v.encode()) for n, v in wanted.items() if n not in headers],
                ]
            await send(message)

        try:
            self._access.check_host(Request(scope).headers)
        except Refused as error:
            await refusal(error)(scope, receive, framed)
            return
        await self._app(scope, receive, framed)


class Events(StreamingResponse):
    """Server-sent events, whose source is closed as soon as the reader has left."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        self._events = events
        super().__init__(events, headers={"x-accel-buffering": "no"})

    async def stream_response(self, send: Send) -> None:
        """Send what comes until the reader leaves."""
        async with aclosing(self._events):
            await super().stream_response(send)


async def answered(endpoint: Endpoint, request: Request) -> Response:
    """Call an endpoint, and tell what went wrong; of what is not ours only the log says more."""
    try:
        return await endpoint(request)
    except (Refused, HTTPException):
        raise
    except RLMError as error:
        raise _of_error(error) from error
    except Exception as error:
        LOG.error("A request failed", exc_info=error)
        raise Refused(500, "The server failed; its log says how.") from error


def _of_error(error: RLMError) -> Refused:
    """Translate an error into a status."""
    text = told(error)
    if isinstance(error, AnsweredError | ThreadBusyError):
        return Refused(409, text)
    if isinstance(error, ResumeError | ForkError | ConfigurationError):
        return Refused(422, text)
    if isinstance(error, BlobError):
        return Refused(404, text)
    LOG.error("A request failed", exc_info=error)
    return Refused(500, text)


async def no_icon(_: Request) -> Response:
    """Browsers ask for an icon by themselves, and note a failure where they get an error."""
    return Response(status_code=204)


async def refused(_: Request, error: Exception) -> Response:
    """Tell why a request is refused, by us or by Starlette: an unknown path, a wrong method."""
    if isinstance(error, HTTPException):
        error = Refused(error.status_code, error.detail, headers=error.headers)
    assert isinstance(error, Refused), "no other errors are registered"
    return refusal(error)


def refusal(error: Refused) -> Response:
    """Tell why a request is refused."""
    body = {"error": {"message": without_secrets(str(error))}}
    return as_json(body, error.status, error.headers)


def as_json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give JSON in ASCII: models and clients send lone surrogates, which UTF-8 cannot hold."""
    return Response(json.dumps(body), status, headers, media_type="application/json")
