"""Pages: the HTTP of the page. What it decides is in `access.py`, what it does in `desk.py`.

Models, documents and clients wrote what it serves: it goes out as JSON, as plain text, or as bytes
that a browser saves.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.hosting.sources import Source, source_of
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.settings import KEY_VARIABLE, keys_of_environment
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.trace.html import page_of, policy
from langgraph_rlm.ui.access import LOOPBACK, NO_FRAMES, Access, cookie_name
from langgraph_rlm.ui.bodies import Answers, Asked, Forked, Nothing, read_body
from langgraph_rlm.ui.desk import Desk
from langgraph_rlm.ui.parts import blob_of, context_of, digest_of, text_of
from langgraph_rlm.ui.replies import (
    Endpoint,
    Events,
    Frame,
    answered,
    as_json,
    no_icon,
    refused,
)

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, RedirectResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise ConfigurationError(
        "The page's server needs Starlette and uvicorn: pip install 'langgraph-rlm[server]'"
    ) from error

CLOSED_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>langgraph-rlm</title><h1>This page needs its token</h1>
<p>Open the address that <code>langgraph-rlm ui</code> has printed:
it ends in <code>?token=...</code></p></html>"""
ENTER_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8">
<meta http-equiv="refresh" content="0; url=./"><title>langgraph-rlm</title>
<p><a href="./">Continue</a></p></html>"""
"""Leads to the page where another site led here: browsers then keep the cookie from a redirect."""
FROM_HERE = (None, "none", "same-origin")


def app(
    given: Any,
    *,
    key: str | Sequence[str] | None = None,
    blob_store: str | Path | BlobStore | None = None,
    hosts: Sequence[str] = (),
    user: str | None = None,
) -> Starlette:
    """Make the page's server as an ASGI application, to mount in another one.

        outer.mount("/runs", langgraph_rlm.ui.app(rlm, key=os.environ["PAGE_KEY"]))

    Runs are tasks of the event loop that serves. They are cancelled when it ends, and can be
    continued.

    Args:
        given: a graph with a checkpointer, which runs its threads; or a checkpointer, whose threads
            are read, and answered for other processes.
        key: one or several tokens that open the page, at `?token=KEY`. None for those of
            LANGGRAPH_RLM_API_KEY.
        blob_store: where the blobs of a checkpointer's threads are; None is the default.
        hosts: names by which browsers may ask, beside those of loopback.
        user: who decides, in the log of decisions. A user that an outer application's
            authentication finds goes before it.

    Raises:
        ConfigurationError: there is no key, or no checkpointer.
    """
    keys = (key,) if isinstance(key, str) else tuple(key or keys_of_environment())
    if not keys or not all(keys):
        raise ConfigurationError(
            f"The page answers approvals and spends the models' money: give key=, or set "
            f"{KEY_VARIABLE}."
        )
    source_of(given, blob_store)  # what is wrong is said now, and not to the first browser
    access = Access(keys, hosts=LOOPBACK | {host.lower() for host in hosts})
    return Pages(lambda: source_of(given, blob_store), access, user=user).starlette


class Pages:
    """The endpoints."""

    def __init__(
        self, open_source: Callable[[], Source], access: Access, *, user: str | None
    ) -> None:
        """Take what opens the threads on the loop that serves, and who may ask."""
        self._open_source = open_source
        self._access = access
        self._user = user
        self._desk: Desk | None = None
        self._is_over = False
        thread = "/api/threads/{id:path}"
        reads, acts = self._reading, self._acting
        self.starlette = Starlette(
            routes=[
                Route("/", self._page, methods=["GET"]),
                Route("/favicon.ico", no_icon, methods=["GET"]),
                Route("/api/threads", reads(self._threads), methods=["GET"]),
                Route("/api/threads", acts(self._begin), methods=["POST"]),
                Route(f"{thread}/records", reads(self._records), methods=["GET"]),
                Route(f"{thread}/events", reads(self._events), methods=["GET"]),
                Route(f"{thread}/texts/{{digest}}", reads(self._text), methods=["GET"]),
                Route(f"{thread}/contexts/{{digest}}", reads(self._context), methods=["GET"]),
                Route(f"{thread}/blobs/{{digest}}", reads(self._blob), methods=["GET"]),
                Route(f"{thread}/answers", acts(self._answer), methods=["POST"]),
                Route(f"{thread}/questions", acts(self._ask), methods=["POST"]),
                Route(f"{thread}/forks", acts(self._fork), methods=["POST"]),
                Route(f"{thread}/continue", acts(self._continue), methods=["POST"]),
                Route(f"{thread}/stop", acts(self._stop), methods=["POST"]),
            ],
            exception_handlers={
                Refused: refused,
                HTTPException: refused,
            },
            middleware=[Middleware(Frame, access=access)],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        yield
        await self.close()

    async def close(self) -> None:
        """Cancel all runs; they can be continued."""
        self.end()
        if self._desk is not None:
            await self._desk.close()

    def end(self) -> None:
        """End all streams, so that a server which waits for its requests can end."""
        self._is_over = True
        if self._desk is not None:
            self._desk.feeds.wake()

    @property
    def desk(self) -> Desk:
        """What does the work; made by the first request, since it belongs to an event loop."""
        if self._desk is None:
            self._desk = Desk(self._open_source())
        return self._desk

    # Who may ask

    def _reading(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            self._access.check(request.headers, _cookie(request))
            return await answered(endpoint, request)

        return checked

    def _acting(self, endpoint: Endpoint) -> Endpoint:
        async def checked(request: Request) -> Response:
            self._access.check(request.headers, _cookie(request))
            self._access.check_act(request.headers)
            return await answered(endpoint, request)

        return checked

    async def _page(self, request: Request) -> Response:
        """Give the page. A token in its address is taken out of it, and kept as a cookie."""
        token = request.query_params.get("token")
        if token is not None:
            return self._enter(request, token)
        if not self._access.is_known(request.headers, _cookie(request)):
            return HTMLResponse(CLOSED_PAGE, 401)
        boot: dict[str, Any] = {
            "mode": "live",
            "csrf": self._access.word,
            "can_run": self.desk.can_begin(),
        }
        thread = request.query_params.get("thread")
        if thread is not None:
            boot["thread"] = thread
        security = f"{policy(is_live=True)}; {NO_FRAMES}"
        page = await asyncio.to_thread(page_of, boot, is_live=True)
        return HTMLResponse(page, headers={"content-security-policy": security})

    def _enter(self, request: Request, token: str) -> Response:
        if not self._access.is_key(token):
            return HTMLResponse(CLOSED_PAGE, 401)
        base = f"{request.scope.get('root_path', '')}/"
        answer: Response = RedirectResponse(base, 303)
        if request.headers.get("sec-fetch-site") not in FROM_HERE:
            answer = HTMLResponse(ENTER_PAGE)
        answer.set_cookie(
            cookie_name(_port(request)),
            self._access.cookie(token),
            path=base,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    def _by(self, request: Request) -> str | None:
        identity = getattr(request.scope.get("user"), "identity", None)
        return str(identity) if identity else self._user

    # Reading

    async def _threads(self, _: Request) -> Response:
        found = [
            {
                "id": each.id,
                "updated": each.updated.timestamp(),
                "state": each.state,
                "question": each.question,
                "checkpoints": each.checkpoints,
                "bytes": each.bytes,
            }
            for each in await self.desk.threads()
        ]
        return as_json({"threads": found})

    async def _records(self, request: Request) -> Response:
        feed = await self.desk.feeds.of(*_branch(request))
        lines = "".join(f"{json.dumps(record)}\n" for record in feed.records)
        return Response(lines, media_type="application/x-ndjson")

    async def _events(self, request: Request) -> Response:
        feed = await self.desk.feeds.of(*_branch(request))
        last = request.headers.get("last-event-id")
        return Events(feed.events(last, lambda: self._is_over))

    async def _text(self, request: Request) -> Response:
        feed = await self.desk.feeds.of(*_branch(request))
        return await text_of(feed.follower, digest_of(request))

    async def _context(self, request: Request) -> Response:
        thread, checkpoint = _branch(request)
        feed = await self.desk.feeds.of(thread, checkpoint)
        blobs = (await self.desk.opened(thread)).blobs
        return await context_of(feed.follower, blobs, request)

    async def _blob(self, request: Request) -> Response:
        thread, checkpoint = _branch(request)
        feed = await self.desk.feeds.of(thread, checkpoint)
        blobs = (await self.desk.opened(thread)).blobs
        return await blob_of(feed.follower, blobs, digest_of(request))

    # Acting

    async def _answer(self, request: Request) -> Response:
        body = await read_body(request, Answers)
        runs = await self.desk.answer(_thread(request), body.answers, self._by(request))
        return as_json({"kept": [*body.answers], "runs": runs}, 202)

    async def _begin(self, request: Request) -> Response:
        body = await read_body(request, Asked)
        thread = await self.desk.ask(None, body.question, self._by(request))
        return as_json({"id": thread}, 201)

    async def _ask(self, request: Request) -> Response:
        body = await read_body(request, Asked)
        thread = await self.desk.ask(_thread(request), body.question, self._by(request))
        return as_json({"id": thread}, 202)

    async def _fork(self, request: Request) -> Response:
        body = await read_body(request, Forked)
        checkpoint = await self.desk.fork(
            _thread(request), body.checkpoint, body.place, body.value, self._by(request)
        )
        return as_json({"checkpoint": checkpoint}, 201)

    async def _continue(self, request: Request) -> Response:
        await read_body(request, Nothing)
        await self.desk.go_on(_thread(request), self._by(request))
        return as_json({}, 202)

    async def _stop(self, request: Request) -> Response:
        await read_body(request, Nothing)
        await self.desk.stop(_thread(request))
        return as_json({}, 202)


def _branch(request: Request) -> tuple[str, str | None]:
    return _thread(request), request.query_params.get("checkpoint") or None


def _thread(request: Request) -> str:
    return request.path_params["id"]


def _cookie(request: Request) -> str | None:
    return request.cookies.get(cookie_name(_port(request)))


def _port(request: Request) -> object:
    return (request.scope.get("server") or ("", ""))[1]
