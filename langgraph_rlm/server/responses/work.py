"""Work: one response, from its request to its record and its events. Knows no client."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AIMessage

from langgraph_rlm.chat.ids import new_run_id
from langgraph_rlm.errors import UnknownToolCallError
from langgraph_rlm.server.asking import ahead, bound, found
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.errors import Refused, refusal
from langgraph_rlm.server.repeats import response_of, run_of
from langgraph_rlm.server.requests import ChatRequest
from langgraph_rlm.server.responses.ids import new_response_id
from langgraph_rlm.server.responses.items import items_from, messages_of
from langgraph_rlm.server.responses.objects import Object, Status, ended, new_object
from langgraph_rlm.server.responses.output import Event, Output
from langgraph_rlm.server.responses.past import past_of, resolved
from langgraph_rlm.server.responses.requests import ResponseRequest
from langgraph_rlm.server.responses.store import Items, Record, Store

PARAMS = {
    "messages": "input",
    "response_format": "text.format",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
}
"""Names of fields in this API, by those of a chat completion."""


@dataclass(frozen=True)
class Work:
    """A response that is to be answered."""

    request: ResponseRequest
    record: Record
    output: Output
    _model: Any
    _chat: ChatRequest
    _options: dict[str, Any]
    ignored: list[str]
    """Fields that mean nothing to the model."""

    async def whole(self) -> None:
        """Ask the model, and have the output whole."""
        messages = self._chat.langchain_messages()
        message: AIMessage = await self._model.ainvoke(messages, **self._options)
        for _ in self.output.whole(message):
            pass
        for _ in self.output.end():
            pass

    async def events(self, seconds: float) -> AsyncGenerator[Event | None]:
        """Ask the model, and give events as the output grows; None for every `seconds` without."""
        messages = await asyncio.to_thread(self._chat.langchain_messages)
        stream = self._model.astream(messages, **self._options)
        async with aclosing(ahead(stream, seconds)) as chunks:
            async for chunk in chunks:
                if chunk is None:
                    yield None
                    continue
                for event in self.output.chunk(chunk):
                    yield event
        for event in self.output.end():
            yield event

    @property
    def ended(self) -> Record:
        """The record once the output is whole."""
        metadata = self.output.metadata
        run: Any = metadata.get("run")
        response: Object = ended(self.record.response, self.output)
        return replace(self.record, response=response, run=run)


async def new_record(
    store: Store, owner: str, request: ResponseRequest, status: Status, repeat: str = ""
) -> tuple[Record, Items]:
    """Make the record of a request, and keep its input where it is to be kept.

    Args:
        store: has the responses before it.
        owner: who asks.
        request: what is asked.
        status: that it begins with.
        repeat: the client's key for a request that may be sent again: it names the same response.

    Returns:
        The record, and the items that the model is told.

    Raises:
        Refused: it follows or names what is not there.
    """
    items = await resolved(store, owner, request.items)
    past = await past_of(store, owner, request, items)
    given: list[dict[str, Any]] = [item.model_dump(exclude_none=True) for item in items]
    response = new_object(response_of(repeat) or new_response_id(), request, status)
    run = run_of(repeat)
    named = new_run_id() if run is None else run.run
    record = Record(response, past.turns, after=past.after, named=named)
    told: Items = given
    if not past.is_known:
        told = [*await said_in(store, record), *past.output, *given]
    if not request.is_kept:
        return record, told
    before = [*past.turns, await store.put(past.output)] if past.turns else []
    first = len(before) if past.is_known else 0
    turns = [*before, await store.put(given)]
    return replace(record, turns=turns, first=first), told


async def said_in(store: Store, record: Record) -> Items:
    """Read the items that the model is told, from where they are kept."""
    told: list[dict[str, Any]] = []
    for digest in record.turns[record.first :]:
        told += await store.get(digest)
    return told


async def work_of(
    chat: Chat, owner: str, request: ResponseRequest, record: Record, told: Items
) -> Work:
    """Make ready what a record asks: the same record asks the same, also after a restart.

    Args:
        chat: gives the model.
        owner: who asks.
        request: what is asked.
        record: of the response.
        told: the items that the model is told.

    Raises:
        Refused: there is no such model, or the request asks for what it has not.
    """
    messages = await asyncio.to_thread(lambda: messages_of(items_from(told)))
    asked = await asyncio.to_thread(request.chat, messages)
    unbound = await found(chat, request.model, owner)
    options: dict[str, Any] = {}
    if getattr(unbound, "root_model", None) is not None:
        options["named_run"] = record.to_begin
    model, ignored = bound(unbound, asked)
    output = Output(record.id, has_reasoning=request.shows_reasoning)
    return Work(request, record, output, model, asked, options, ignored)


def in_words_of_responses(error: BaseException) -> Refused:
    """Give what a client is told of an error, by the names that this API has for fields."""
    if isinstance(error, UnknownToolCallError) and not error.ids:
        told = Refused(400, str(error), code="previous_response_not_found")
        told.param = "previous_response_id"
        return told
    told = refusal(error)
    if told.param is not None:
        head, _, rest = told.param.partition(".")
        renamed = PARAMS.get(head, head)
        told.param = f"{renamed}.{rest}" if rest else renamed
    return told
