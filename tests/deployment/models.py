"""Models: the OpenAI-compatible server that workers ask. It counts each prompt, so that what is paid twice is seen.

It is no part of any worker: what it has seen stays when a worker is killed.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from ..on_thread import OnThread
from .work import reply, run_of

PROMPT_TOKENS, REPLY_TOKENS = 1_000, 100
"""What each call is said to have used, whatever its length."""

JUST = 0.5
"""Seconds that a reply may take to be read and saved."""


@dataclass
class Ask:
    """One call."""

    prompt: str
    run: str
    arrived: float
    """Seconds of `time.monotonic`."""
    was_saved: bool
    """Whether the database held a reply to the same prompt already."""
    by: str
    """Who asked, by its key."""
    replied: float | None = None
    """When its reply had been written to the socket."""


@dataclass
class Tally:
    """What one run has asked."""

    asks: list[Ask] = field(default_factory=list)

    @property
    def prompts(self) -> set[str]:
        """The sub-calls' prompts, each once."""
        return {ask.prompt for ask in self.asks if ask.prompt.startswith("ASK")}

    @property
    def again(self) -> list[Ask]:
        """Calls whose prompt had been asked before."""
        seen: set[str] = set()
        repeated: list[Ask] = []
        for ask in self.asks:
            if ask.prompt in seen:
                repeated.append(ask)
            seen.add(ask.prompt)
        return repeated

    def in_flight(self, moments: Sequence[float]) -> set[str]:
        """The prompts whose reply cannot have been saved when a worker was hit: it was not sent, or only just."""
        return {
            ask.prompt
            for ask in self.asks
            for moment in moments
            if ask.arrived < moment and (ask.replied is None or ask.replied > moment - JUST)
        }


class Models(OnThread):
    """Answers `POST {url}/chat/completions` as `work.reply` says."""

    def __init__(
        self,
        seconds: float = 0.3,
        host: str = "127.0.0.1",
        saved: Callable[[str], bool] = lambda text: False,
    ) -> None:
        """Describe the server.

        Args:
            seconds: how long each reply takes.
            saved: whether the database holds a text that was sent as a reply; asked from a thread,
                when a prompt comes again.
        """
        super().__init__()
        self.seconds, self._host, self._saved = seconds, host, saved
        self._changed = threading.Condition()
        self._runs: dict[str, Tally] = {}
        self._prompts: set[str] = set()
        self.url = ""

    def tally(self, run: str) -> Tally:
        """What a run has asked so far."""
        with self._changed:
            return Tally(list(self._runs.get(run, Tally()).asks))

    def wait_for(self, run: str, calls: int, seconds: float = 60) -> bool:
        """Wait until a run has asked so many times."""
        with self._changed:
            return self._changed.wait_for(
                lambda: len(self._runs.get(run, Tally()).asks) >= calls, seconds
            )

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen; see `OnThread`."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_post("/v1/chat/completions", self._chat)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, self._host, 0, backlog=1024).start()
        self.url = f"http://{self._host}:{runner.addresses[0][1]}/v1"
        yield
        await runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
        except ConnectionError:  # whoever asked has been killed before the request was out
            raise web.HTTPBadRequest from None
        prompt, text = reply(body["messages"])
        by = request.headers.get("authorization", "").removeprefix("Bearer ")
        ask = await self._noted(prompt, text, by)
        await asyncio.sleep(self.seconds)
        response = web.json_response(_completion(body["model"], text))
        with suppress(ConnectionError):  # whoever asked may have been killed
            await response.prepare(request)
            await response.write_eof()
            ask.replied = time.monotonic()
        return response

    async def _noted(self, prompt: str, text: str, by: str) -> Ask:
        run, saved = run_of(prompt), False
        if prompt in self._prompts:
            saved = await asyncio.to_thread(self._saved, text)
        ask = Ask(prompt, run, time.monotonic(), saved, by)
        with self._changed:
            self._prompts.add(prompt)
            self._runs.setdefault(run, Tally()).asks.append(ask)
            self._changed.notify_all()
        return ask


def _completion(model: str, text: str) -> dict[str, Any]:
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": REPLY_TOKENS,
        "total_tokens": PROMPT_TOKENS + REPLY_TOKENS,
    }
    message = {"role": "assistant", "content": text}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
