"""OpenAI replies: what servers of OpenAI's API send, put right before LangChain reads it.

There are many such servers, and few send exactly what OpenAI sends. LangChain's model reads their
replies as they come: it drops or mixes up tool calls, and fails with a bare KeyError or TypeError
on an error within a 200, a page of HTML or a reply without choices. `Completions` stands between
the two: it mends what has a meaning, and raises an error that says what was sent where there is
none. What it sends is what LangChain made, byte for byte.
"""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any, Self

import openai

from langgraph_rlm.errors import ModelReplyError, shown
from langgraph_rlm.models.failures import is_page, page_text
from langgraph_rlm.models.sampling import EXTRA_BODY
from langgraph_rlm.models.tool_calls import CallStream, Ids, arguments_text
from langgraph_rlm.storage.json_types import is_dict, is_list, is_whole

USAGE_OPTION = "stream_options"
PLAIN_PARTS = ("messages", "tools")
"""Parts of a request that LangChain has already written as the API takes them."""
DIGITS = re.compile(r"[0-9]{1,15}")

LONGEST_PAGE = 1 << 16
"""Bytes of a page that are read for its error."""


class Completions:
    """`client.chat.completions`, as LangChain's models call it."""

    def __init__(self, inner: Any) -> None:
        """Put right what `inner`, the `chat.completions` of an `openai.AsyncOpenAI`, gives."""
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def create(self, **payload: Any) -> Any:
        """Do what `AsyncCompletions.create` does."""
        if payload.get("stream"):
            return Chunks(await _asked(self._inner.create, payload), _ids_in(payload))
        return (await self.with_raw_response.create(**payload)).parse()

    @property
    def with_raw_response(self) -> "RawCompletions":
        """The same, with the headers of its replies."""
        return RawCompletions(self._inner.with_raw_response)


class RawCompletions:
    """`client.chat.completions.with_raw_response`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def create(self, **payload: Any) -> "RawReply":
        """Do what `AsyncCompletionsWithRawResponse.create` does."""
        return RawReply(await _asked(self._inner.create, payload), payload)


class RawReply:
    """A reply with its headers, whose `parse` gives it put right."""

    def __init__(self, inner: Any, payload: Mapping[str, Any]) -> None:
        self._inner = inner
        self._payload = payload

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def parse(self) -> Any:
        """Give the completion as a dict, or the stream.

        OpenAI's client would make a typed object of the completion, for LangChain to make a dict of
        it again: 0.3 ms each time, and 0.1 s to build the types for the first.
        """
        taken = _ids_in(self._payload)
        if self._payload.get("stream"):
            return Chunks(self._inner.parse(), taken)
        return completion_of(_json_of(self._inner.http_response), taken, self._inner.http_request)


async def _asked(create: Callable[..., Any], payload: Mapping[str, Any]) -> Any:
    """Ask; once more without usage in the stream where the server does not know that option."""
    sent = _as_it_is(payload)
    try:
        return await create(**sent)
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        if USAGE_OPTION not in sent or USAGE_OPTION not in str(error):
            raise
    return await create(**{name: sent[name] for name in sent if name != USAGE_OPTION})


def _as_it_is(payload: Mapping[str, Any]) -> dict[str, Any]:
    """Give the same request, whose messages and tools OpenAI's client sends as they are.

    It holds each message against every type that a message may have, 0.1 ms and more for each: over
    half of an iteration at 20 messages. It does not look into `extra_body`, where they go here.
    """
    plain = {name: payload[name] for name in PLAIN_PARTS if name in payload}
    body: dict[str, Any] = {**plain, **(payload.get(EXTRA_BODY) or {})}
    others = {name: payload[name] for name in payload if name not in plain}
    return {**others, "messages": [], EXTRA_BODY: body}


def _ids_in(payload: Mapping[str, Any]) -> set[str]:
    """Give the ids of the tool calls in a request."""
    messages: list[Any] = payload.get("messages") or []
    calls = [call for message in messages if is_dict(message) for call in _calls(message)]
    return {str(call.get("id")) for call in calls}


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the calls of functions in a message or a piece of one; anything else there is none."""
    calls = message.get("tool_calls")
    if not is_list(calls):
        return []
    return [call for call in calls if is_dict(call) and is_dict(call.get("function"))]


# Whole replies


def _json_of(response: Any) -> dict[str, Any]:
    """Read a whole reply, whatever it says that it is."""
    try:
        given = json.loads(response.content)
    except ValueError:
        given = None
    if not is_dict(given):
        raise _not_a_reply(response.text)
    return given


def completion_of(
    given: dict[str, Any], taken: Iterable[str], request: Any = None
) -> dict[str, Any]:
    """Put a completion right.

    Args:
        given: as the server sent it.
        taken: ids of tool calls earlier in the conversation.
        request: the HTTP request, for errors.

    Raises:
        openai.APIError: it is an error.
        ModelReplyError: it is no completion.
    """
    if given.get("error"):
        raise _error(given["error"], request)
    choices = given.get("choices")
    if not is_list(choices) or not choices:
        raise _not_a_reply(json.dumps(given, default=str))
    ids = Ids(taken)
    for choice in choices:
        if not is_dict(choice) or not is_dict(choice.get("message")):
            raise _not_a_reply(json.dumps(given, default=str))
        _check_choice(choice, request)
        message = choice["message"]
        message["role"] = "assistant"
        message["tool_calls"] = [_whole_call(call, ids) for call in _calls(message)] or None
    given["usage"] = _usage(given.get("usage"))
    return given


def _whole_call(call: dict[str, Any], ids: Ids) -> dict[str, Any]:
    function = call["function"]
    arguments = arguments_text(function.get("arguments")).strip() or "{}"
    name = str(function.get("name") or "")
    named = {"name": name, "arguments": arguments}
    return {"id": ids.give(call.get("id")), "type": "function", "function": named}


def _usage(given: object) -> dict[str, Any] | None:
    """Keep of a usage what is counts; None where none is. What is missing is estimated later."""
    if not is_dict(given):
        return None
    details = {name: _counts(value) for name, value in given.items() if is_dict(value)}
    return {**_counts(given), **details} or None


def _counts(given: Mapping[str, Any]) -> dict[str, int]:
    """Keep what is a count, also where it is written as a text."""
    numbers = {
        name: int(value) if isinstance(value, str) and DIGITS.fullmatch(value) else value
        for name, value in given.items()
    }
    return {name: value for name, value in numbers.items() if is_whole(value) and value >= 0}


# Streams


class Chunks:
    """The chunks of a stream, each put right, as dicts."""

    def __init__(self, stream: Any, taken: Iterable[str]) -> None:
        self._stream = stream
        self._calls = CallStream(taken)
        self._taken = taken
        self._request = stream.response.request

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stream.close()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        response = self._stream.response
        kind = str(response.headers.get("content-type", "")).lower()
        if "json" in kind or "html" in kind:
            yield self._one_chunk(await _text_of(response), kind)
            return
        is_empty = True
        async for chunk in self._stream:
            is_empty = False
            if not isinstance(chunk, openai.BaseModel):
                raise _not_a_reply(json.dumps(chunk, default=str))
            yield self._mended(chunk.model_dump(warnings=False))
        if is_empty:
            raise ModelReplyError("The model's server ended its stream without sending anything.")

    def _one_chunk(self, text: str, kind: str) -> dict[str, Any]:
        """Read a reply that the server sent whole, though a stream was asked for."""
        try:
            given = json.loads(text)
        except ValueError:
            given = None
        if not is_dict(given):
            raise _not_a_reply(text)
        whole = completion_of(given, self._taken, self._request)
        choice = whole["choices"][0]
        delta: dict[str, Any] = choice["message"]
        calls = _calls(delta)
        delta["tool_calls"] = [{**call, "index": index} for index, call in enumerate(calls)]
        return self._mended({**whole, "choices": [{**choice, "delta": delta}]})

    def _mended(self, chunk: dict[str, Any]) -> dict[str, Any]:
        choices: object = chunk.get("choices") or list[Any]()
        if not is_list(choices):
            raise _not_a_reply(json.dumps(chunk, default=str))
        mended: list[dict[str, Any]] = []
        for choice in choices:
            if not is_dict(choice):
                raise _not_a_reply(json.dumps(chunk, default=str))
            _check_choice(choice, self._request)
            mended.append({**choice, "delta": self._delta(choice.get("delta"))})
        return {**chunk, "choices": mended, "usage": _usage(chunk.get("usage"))}

    def _delta(self, given: Any) -> dict[str, Any]:
        if not is_dict(given):
            return {"role": "assistant"}
        pieces = [
            {**call["function"], "args": call["function"].get("arguments")} | _place(call)
            for call in _calls(given)
        ]
        delta = {**given, "role": "assistant"}
        delta["tool_calls"] = [_piece(piece) for piece in self._calls.feed(pieces)]
        if given.get("refusal") and not given.get("content"):
            # LangChain reads no refusals in a stream, but leaves blocks of content as they are
            refusal = str(given["refusal"])
            delta["content"] = [{"type": "refusal", "refusal": refusal, "index": 0}]
        return delta


def _place(call: Mapping[str, Any]) -> dict[str, Any]:
    return {"id": call.get("id"), "index": call.get("index")}


def _piece(piece: Mapping[str, Any]) -> dict[str, Any]:
    """Write a piece of a call as OpenAI does."""
    function = {"name": piece["name"], "arguments": piece["args"]}
    return {"id": piece["id"], "index": piece["index"], "type": "function", "function": function}


async def _text_of(response: Any) -> str:
    """Read a body. Of a page of HTML only the first part is read."""
    if "json" in str(response.headers.get("content-type")).lower():
        return (await response.aread()).decode("utf-8", "replace")
    read = b""
    async for part in response.aiter_bytes():
        read += part
        if len(read) > LONGEST_PAGE:
            break
    return read.decode("utf-8", "replace")


# Errors


def _check_choice(choice: Mapping[str, Any], request: Any) -> None:
    """Raise the error that OpenRouter and others put into a choice."""
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise _error(choice.get("error"), request)


def _error(given: Any, request: Any) -> openai.APIError:
    """Make the error that OpenAI's client raises for an error within a stream."""
    message = given
    if is_dict(given):
        message = given.get("message")
    if not isinstance(message, str) or not message:
        message = f"The model's server sent an error: {shown(given)}"
    return openai.APIError(message, request, body=given)


def _not_a_reply(text: str) -> ModelReplyError:
    if is_page(text):
        return ModelReplyError(
            f"The model's server sent a page of HTML instead of a reply: {page_text(text)!r}. "
            "Check its address: most end in /v1."
        )
    return ModelReplyError(f"The model's server sent no chat completion: {shown(text)}")
