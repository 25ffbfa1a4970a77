"""Provider: the model server and the tool's server of a scenario. It counts what it is asked itself, thread by thread.

Each thread of a test has a URL of its own, `{url}/{thread}/v1` for models and `{url}/{thread}/stamp` for the tool.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from ..on_thread import OnThread
from .scenario import digest_of, reply_to, stamp_of


@dataclass
class Asked:
    """One call, in order of arrival."""

    digest: str
    kind: str
    """`model` or `tool`."""
    arrived: float
    replied: float | None = None
    """When its reply had been written to the socket: seconds of `time.monotonic`."""


class Provider(OnThread):
    """Answers as the scenario says, each call after up to `seconds`, so that calls of a batch come back in another order."""

    def __init__(self, seconds: float = 0.02, reply: Callable[[Any], str] = reply_to) -> None:
        super().__init__()
        self._seconds = seconds
        self._reply = reply
        self._arrived = threading.Condition()
        self._asked: dict[str, list[Asked]] = defaultdict(list)
        self.url = ""

    def asked(self, thread: str) -> list[Asked]:
        """The calls of a thread so far."""
        with self._arrived:
            return list(self._asked[thread])

    def wait_for(self, thread: str, calls: int, seconds: float) -> bool:
        """Wait until a thread has made this many calls."""
        with self._arrived:
            return self._arrived.wait_for(lambda: len(self._asked[thread]) >= calls, seconds)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen; see `OnThread`."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/{thread}/v1/chat/completions", self._chat)
        app.router.add_post("/{thread}/stamp", self._stamp)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        text = self._reply(body["messages"])
        usage = {
            "prompt_tokens": len(str(body["messages"])) // 4,
            "completion_tokens": len(text) // 4,
            "total_tokens": 0,
        }
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        reply = {
            "id": "x",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }
        return await self._answer(request, "model", digest_of(body["messages"]), reply)

    async def _stamp(self, request: web.Request) -> web.StreamResponse:
        arguments = await _body(request)
        return await self._answer(
            request, "tool", digest_of(arguments), {"stamp": stamp_of(arguments)}
        )

    async def _answer(
        self, request: web.Request, kind: str, digest: str, reply: Any
    ) -> web.StreamResponse:
        asked = Asked(digest, kind, time.monotonic())
        with self._arrived:
            self._asked[request.match_info["thread"]].append(asked)
            self._arrived.notify_all()
        await asyncio.sleep(int(digest[:2], 16) / 255 * self._seconds)
        response = web.json_response(reply)
        with suppress(ConnectionError):  # whoever asked may have been killed
            await response.prepare(request)
            await response.write_eof()
            asked.replied = time.monotonic()
        return response


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ConnectionError:  # whoever asked has been killed before the request was out
        raise web.HTTPBadRequest from None
