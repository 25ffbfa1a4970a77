"""Replies: a chat model's message, whole or in chunks, in OpenAI's form. Never asks a model."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk

FINISHES = ("stop", "length", "tool_calls", "content_filter")
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class Replies:
    """The frames of one answer."""

    def __init__(self, model: str, *, has_reasoning: bool = False, has_usage: bool = False) -> None:
        """Name the answer.

        Args:
            model: the id that the client asked for.
            has_reasoning: whether the client sees the run's progress.
            has_usage: whether a stream ends with its usage.
        """
        self._model, self._reasoning, self._usage_asked = model, has_reasoning, has_usage
        self._id, self._created = f"chatcmpl-{uuid.uuid4().hex}", int(time.time())
        self._started = False
        self._indices: dict[str, int] = {}
        self._calls = -1
        self._usage: Any = None
        self._metadata: dict[str, Any] = {}

    def whole(self, message: AIMessage) -> bytes:
        """A `chat.completion`."""
        calls = _calls(message)
        said: dict[str, Any] = {
            "role": "assistant",
            "content": message.text or (None if calls else ""),
            "refusal": None,
        }
        if calls:
            said["tool_calls"] = calls
        if self._reasoning and (thought := reasoning_of(message)):
            said["reasoning_content"] = thought
        choice = {
            "index": 0,
            "message": said,
            "logprobs": None,
            "finish_reason": _finish(message.response_metadata, bool(calls)),
        }
        return json.dumps(
            self._frame("chat.completion", choices=[choice], usage=usage_of(message.usage_metadata))
        ).encode()

    def chunk(self, chunk: AIMessageChunk) -> Iterator[bytes]:
        """What a client sees of a model's chunk: often nothing."""
        self._metadata |= chunk.response_metadata
        if chunk.usage_metadata:
            self._usage = chunk.usage_metadata
        if self._reasoning and (thought := reasoning_of(chunk)):
            yield self._delta({"reasoning_content": thought})
        if chunk.text:
            yield self._delta({"content": chunk.text})
        if chunk.tool_call_chunks:
            yield self._delta(
                {"tool_calls": [self._call(cast(Any, call)) for call in chunk.tool_call_chunks]}
            )

    def end(self) -> Iterator[bytes]:
        """The last chunks of a stream."""
        yield self._delta({}, _finish(self._metadata, self._calls >= 0))
        if self._usage_asked:
            yield _event(
                self._frame("chat.completion.chunk", choices=[], usage=usage_of(self._usage))
            )
        yield DONE

    def _delta(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        if not self._started:
            self._started = True
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event(
            self._frame(
                "chat.completion.chunk",
                choices=[choice],
                **({"usage": None} if self._usage_asked else {}),
            )
        )

    def _call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """A piece of a tool call. A piece without a new id belongs to the call before it, unless it says to which."""
        name = str(call.get("index")) if call.get("index") is not None else call.get("id")
        is_new = name is not None and name not in self._indices
        if is_new:
            self._calls += 1
            self._indices[cast(str, name)] = self._calls
        function = {"arguments": call.get("args") or ""} | (
            {"name": call["name"]} if call.get("name") else {}
        )
        piece: dict[str, Any] = {
            "index": self._calls if name is None else self._indices[name],
            "function": function,
        }
        return piece | ({"id": call["id"], "type": "function"} if is_new and call.get("id") else {})

    def _frame(self, kind: str, **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            **more,
        }


def _event(value: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def failed(body: Mapping[str, Any]) -> bytes:
    """The end of a stream that had begun when something failed."""
    return _event(body)


def reasoning_of(message: AIMessage) -> str:
    """The text of a message's reasoning blocks."""
    blocks: list[Any] = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "".join(block.get("reasoning") or "" for block in blocks)


def usage_of(usage: Any) -> dict[str, Any]:
    """OpenAI's usage; what was not counted is 0."""
    given: Mapping[str, Any] = usage or {}
    sent, got = given.get("input_tokens", 0), given.get("output_tokens", 0)
    details: Any = given.get("input_token_details") or {}
    out: Any = given.get("output_token_details") or {}
    return {
        "prompt_tokens": sent,
        "completion_tokens": got,
        "total_tokens": given.get("total_tokens", sent + got),
        "prompt_tokens_details": {"cached_tokens": details.get("cache_read") or 0},
        "completion_tokens_details": {"reasoning_tokens": out.get("reasoning") or 0},
    }


def _calls(message: AIMessage) -> list[dict[str, Any]]:
    whole = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    broken = [(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    return [
        {"id": id, "type": "function", "function": {"name": name, "arguments": args}}
        for id, name, args in whole + broken
    ]


def _finish(metadata: Mapping[str, Any], has_calls: bool) -> str:
    if has_calls:
        return "tool_calls"
    reason = metadata.get("finish_reason")
    return reason if reason in FINISHES else "stop"
