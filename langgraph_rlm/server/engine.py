"""Engine: one request in, the head and the body of its answer out.

It knows nothing of HTTP's connections.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from langgraph_rlm.server.answers import Answer, Asked, Door, Head
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.completions import complete, wanted_chat, wanted_text
from langgraph_rlm.server.errors import Refused, no_file, refusal
from langgraph_rlm.server.limits.accounts import Accounts
from langgraph_rlm.server.repeats import Repeats, run_of
from langgraph_rlm.server.responses.door import Responses

NEW_WORK: frozenset[Door] = frozenset({"chat", "completion", "response"})
"""Doors whose requests count towards the limits of their key."""

LARGE = 1 << 20
"""Bytes above which a body is parsed in a thread."""

T = TypeVar("T")


class Engine(Protocol):
    """What answers requests. It raises nothing but `Refused`, and that only before the head."""

    def answer(self, asked: Asked, body: AsyncIterator[bytes]) -> Answer:
        """Answer one request.

        Args:
            asked: the request.
            body: its body, which is empty for most doors.
        """
        ...


Files = Callable[[str, str, bool], Answer]
"""Gives a file: for an owner, an id, and whether its bytes are asked for."""


class Local:
    """The engine that answers on the running event loop."""

    def __init__(
        self,
        chat: Chat,
        responses: Responses,
        repeats: Repeats,
        *,
        files: Files | None = None,
        accounts: Accounts | None = None,
        figures: Callable[[], bytes] = bytes,
        ping: Callable[[], Awaitable[object]] | None = None,
        keep_alive_seconds: float = 15,
    ) -> None:
        """Answer with these chat models.

        Args:
            chat: see `Chat`.
            responses: answers what is asked of responses.
            repeats: knows the requests that may be sent again.
            files: gives the files of their runs; None where they have none.
            accounts: count what keys use; None where nothing is counted.
            figures: gives the figures of their runs.
            ping: asks the database something small.
            keep_alive_seconds: a stream that is silent for so long gets a comment.
        """
        self._chat = chat
        self._responses = responses
        self._repeats = repeats
        self._files = files
        self._accounts = accounts
        self._figures = figures
        self._ping = ping
        self._keep_alive_seconds = keep_alive_seconds

    async def answer(self, asked: Asked, body: AsyncIterator[bytes]) -> Answer:
        """Do what `Engine.answer` says."""
        try:
            raw = b"".join([part async for part in body])
            async with aclosing(self._let_in(asked, raw)) as parts:
                del raw
                async for part in parts:
                    yield part
        except Exception as error:
            raise refusal(error) from error

    async def close(self) -> None:
        """Stop what works without a client; it can be continued."""
        await self._responses.close()
        if self._accounts is not None:
            await self._accounts.close()

    async def _let_in(self, asked: Asked, raw: bytes) -> Answer:
        """Answer, within the limits of the key where the request is new work."""
        if self._accounts is None or asked.door not in NEW_WORK:
            answer = await self._answer(asked, raw)
            del raw
            async with aclosing(answer) as parts:
                async for part in parts:
                    yield part
            return
        async with self._accounts.request(asked.owner) as entered:
            answer = await self._answer(asked, raw)
            del raw
            async with aclosing(answer) as parts:
                async for part in parts:
                    if isinstance(part, Head):
                        part = replace(part, headers={**part.headers, **entered.headers})
                    yield part

    async def _answer(self, asked: Asked, raw: bytes) -> Answer:
        """Choose who answers, and read the body."""
        owner, seconds = asked.owner, self._keep_alive_seconds
        if asked.repeat:
            await self._repeats.check(asked, raw)
        named = run_of(asked.repeat)
        match asked.door:
            case "chat":
                wanted = await _read(wanted_chat, raw)
                return complete(self._chat, owner, wanted, seconds, named)
            case "completion":
                wanted = await _read(wanted_text, raw)
                return complete(self._chat, owner, wanted, seconds, named)
            case "file" | "file content":
                return self._file(asked)
            case "figures":
                return self._counted()
            case "ready":
                return await self._ready()
            case "usage":
                return await self._used(owner)
            case _:
                return await self._responses.answer(asked, raw)

    def _file(self, asked: Asked) -> Answer:
        if self._files is None:
            raise no_file(asked.id)
        return self._files(asked.owner, asked.id, asked.door == "file content")

    async def _ready(self) -> Answer:
        """Say that the database answers.

        Raises:
            Exception: whatever it raises.
        """
        if self._ping is not None:
            await self._ping()
        return _json({"status": "ready"})

    async def _used(self, owner: str) -> Answer:
        if self._accounts is None:
            message = "This server counts nothing: its --config has no [limits]."
            raise Refused(404, message, code="not_counted")
        return _json(await self._accounts.used(owner))

    async def _counted(self) -> Answer:
        yield Head(200)
        yield self._figures()


async def _json(value: Mapping[str, Any]) -> Answer:
    yield Head(200)
    yield json.dumps(value).encode()


async def _read(reader: Callable[[bytes], T], raw: bytes) -> T:
    if len(raw) > LARGE:
        return await asyncio.to_thread(reader, raw)
    return reader(raw)
