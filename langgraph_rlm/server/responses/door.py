"""Door: what is asked of responses, path by path, and how it is answered."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from langgraph_rlm.server.answers import JSON, SSE, Answer, Asked, Head
from langgraph_rlm.server.asking import about_ignored
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.repeats import response_of
from langgraph_rlm.server.replies import KEEP_ALIVE
from langgraph_rlm.server.responses.background import Background, Live
from langgraph_rlm.server.responses.events import begun, broken_off, last, written
from langgraph_rlm.server.responses.items import listed_items
from langgraph_rlm.server.responses.objects import OPEN, Object, failed
from langgraph_rlm.server.responses.output import Output
from langgraph_rlm.server.responses.requests import ResponseRequest, parse_response_request
from langgraph_rlm.server.responses.store import Record, Store
from langgraph_rlm.server.responses.work import (
    Work,
    in_words_of_responses,
    new_record,
    work_of,
)
from langgraph_rlm.server.settings import Settings

MOST_LISTED = 100
LOOK_SECONDS = 1.0
"""Between two looks at a response that another process works on."""
LISTED = 20
"""Items on a page, where the client does not say."""


class Responses:
    """What answers `/v1/responses`."""

    def __init__(self, chat: Chat, store: Store, settings: Settings) -> None:
        """Answer with these chat models, and keep responses in this store."""
        self._chat = chat
        self._store = store
        self._seconds = settings.keep_alive_seconds
        self._background = Background(chat, store, settings)

    async def close(self) -> None:
        """Stop what works without a client; it can be continued."""
        await self._background.close()

    async def answer(self, asked: Asked, raw: bytes) -> Answer:
        """Choose the answer to a request.

        Raises:
            Refused: it is wrong, or there is no such response.
        """
        if asked.door == "response":
            request = await asyncio.to_thread(parse_response_request, raw)
            return self._created(asked, request)
        record = await self._store.find(asked.owner, asked.id)
        match asked.door:
            case "stored response" if asked.options.get("stream") == "true":
                record = await self._background.looked_after(asked.owner, record)
                return await self._read_again(asked, record)
            case "stored response":
                record = await self._background.looked_after(asked.owner, record)
                return _json(record.response)
            case "input items":
                items = await self._store.get(record.turns[-1])
                return _json(_page(record.id, items, asked.options))
            case "cancel response":
                return _json(await self._cancelled(asked.owner, record))
            case _:
                await self._background.cancel(asked.owner, record)
                await self._store.delete(asked.owner, record)
                return _json({"id": record.id, "object": "response", "deleted": True})

    # A new response

    async def _created(self, asked: Asked, request: ResponseRequest) -> Answer:
        owner = asked.owner
        try:
            made = await self._made_before(asked)
            if made is not None:
                answer = self._again(owner, made, 0) if request.stream else _json(made.response)
            elif request.background:
                answer = self._in_background(asked, request)
            else:
                record, told = await new_record(
                    self._store, owner, request, "in_progress", asked.repeat
                )
                work = await work_of(self._chat, owner, request, record, told)
                answer = self._whole(owner, work)
                if request.stream:
                    answer = self._streamed(owner, work)
            async with aclosing(answer) as parts:
                async for part in parts:
                    yield part
        except Exception as error:
            raise in_words_of_responses(error) from error

    async def _whole(self, owner: str, work: Work) -> Answer:
        await work.whole()
        record = work.ended
        await self._keep(owner, work, record)
        yield Head(200, JSON | about_ignored(work.ignored))
        yield json.dumps(record.response).encode()

    async def _streamed(self, owner: str, work: Work) -> Answer:
        """Answer with server-sent events.

        The head waits for something to show, so that an early failure has a status of its own.
        """
        number = 0
        record = work.record
        head = Head(200, SSE | about_ignored(work.ignored))
        opening = list(begun(record.response))
        try:
            async with aclosing(work.events(self._seconds)) as events:
                async for event in events:
                    if opening:
                        yield head
                    for told in [*opening, *([] if event is None else [event])]:
                        yield written(told, number)
                        number += 1
                    opening = []
                    if event is None:
                        yield KEEP_ALIVE
            record = work.ended
        except Exception as error:
            if opening:
                raise
            told = in_words_of_responses(error)
            response = failed(record.response, told, work.output.items)
            record = record.with_response(response)
        await self._keep(owner, work, record)
        yield written(last(record.response), number)

    async def _keep(self, owner: str, work: Work, record: Record) -> None:
        if work.request.is_kept:
            await self._store.save(owner, record)

    # Without a client

    async def _in_background(self, asked: Asked, request: ResponseRequest) -> Answer:
        owner = asked.owner
        self._background.check_room(owner)
        record, told = await new_record(self._store, owner, request, "queued", asked.repeat)
        work = await work_of(self._chat, owner, request, record, told)
        given = request.model_dump(exclude_none=True, by_alias=True, exclude={"input"})
        record = replace(record, request=await self._store.put(given))
        live = await self._background.start(owner, request, record)
        headers = about_ignored(work.ignored)
        if request.stream:
            async with aclosing(self._followed(live, 0, headers)) as parts:
                async for part in parts:
                    yield part
            return
        yield Head(200, JSON | headers)
        yield json.dumps(record.response).encode()

    async def _followed(
        self, live: Live, start: int, headers: Mapping[str, str] = MappingProxyType({})
    ) -> Answer:
        """Give the events of a response that is worked on, or was a short time ago."""
        yield Head(200, {**SSE, **headers})
        async with aclosing(live.read(start, self._seconds)) as events:
            async for event in events:
                yield KEEP_ALIVE if event is None else event

    async def _made_before(self, asked: Asked) -> Record | None:
        """Give the response that the same request has made before, as it stands."""
        id = response_of(asked.repeat)
        if id is None:
            return None
        try:
            record = await self._store.find(asked.owner, id)
        except Refused:
            return None
        return await self._background.looked_after(asked.owner, record)

    async def _read_again(self, asked: Asked, record: Record) -> Answer:
        """Give the events of a response in the background: as they came, where it is worked on
        here or was a short time ago; else as they can be told of it."""
        start = _start(asked)
        live = self._background.stream(asked.owner, asked.id)
        if live is not None:
            return self._followed(live, start)
        request: Any = {}
        if record.request:
            request = await self._store.get(record.request)
        if not request.get("stream"):
            message = (
                "Only a response with background=true and stream=true has events to read. Get it "
                "without stream."
            )
            raise Refused(400, message, param="stream", code="stream_not_available")
        return self._again(asked.owner, record, start)

    async def _again(self, owner: str, record: Record, start: int) -> Answer:
        """Tell of a response that another process works on, or did: its beginning, and when it is
        over its items, each in one piece.

        Who has read more than the beginning gets the last event alone, which has the whole
        response: the pieces before it were others.
        """
        yield Head(200, dict(SSE))
        number = 0
        for event in begun(record.response):
            if number >= start:
                yield written(event, number)
            number += 1
        has_read_more = start > number
        silent = 0.0
        while record.status in OPEN:
            await asyncio.sleep(LOOK_SECONDS)
            silent += LOOK_SECONDS
            if silent >= self._seconds:
                yield KEEP_ALIVE
                silent = 0.0
            try:
                record = await self._store.find(owner, record.id)
                record = await self._background.looked_after(owner, record)
            except Refused as error:  # it was deleted
                yield broken_off(error)
                return
        items: list[dict[str, Any]] = [] if has_read_more else record.response["output"]
        for event in Output(record.id, has_reasoning=True).again(items):
            yield written(event, number)
            number += 1
        yield written(last(record.response), max(number, start))

    async def _cancelled(self, owner: str, record: Record) -> Object:
        if not record.response["background"]:
            message = "Only a response with background=true can be cancelled."
            raise Refused(400, message, code="invalid_value")
        return await self._background.cancel(owner, record)


async def _json(value: Mapping[str, Any]) -> Answer:
    yield Head(200, dict(JSON))
    yield json.dumps(value).encode()


def _start(asked: Asked) -> int:
    """Give the number of the first event that is wanted."""
    after = asked.options.get("starting_after", "")
    if not after:
        return 0
    if not after.isdigit() or len(after) > 12:
        message = f"starting_after={after!r} is no number of an event."
        raise Refused(400, message, param="starting_after", code="invalid_value")
    return int(after) + 1


def _page(id: str, items: list[dict[str, Any]], options: Mapping[str, str]) -> dict[str, Any]:
    """Give a page of the items of an input, the newest first unless asked otherwise."""
    listed = listed_items(id, items)
    order, limit = options.get("order", "desc"), options.get("limit", str(LISTED))
    if order not in ("asc", "desc"):
        message = f"order={order!r} is not one of 'asc', 'desc'."
        raise Refused(400, message, param="order", code="invalid_value")
    if not limit.isdigit() or not 1 <= int(limit[:9]) <= MOST_LISTED:
        message = f"limit={limit!r} is not a number from 1 to {MOST_LISTED}."
        raise Refused(400, message, param="limit", code="invalid_value")
    if order == "desc":
        listed.reverse()
    ids = [item["id"] for item in listed]
    after = options.get("after")
    if after is not None and after not in ids:
        message = f"after={after!r} is no item of this response."
        raise Refused(400, message, param="after", code="invalid_value")
    start = 0 if after is None else ids.index(after) + 1
    page = listed[start : start + int(limit)]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else "",
        "last_id": page[-1]["id"] if page else "",
        "has_more": start + len(page) < len(listed),
    }
