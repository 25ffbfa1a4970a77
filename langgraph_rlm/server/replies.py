"""Replies: a chat model's message, whole or in chunks, in OpenAI's form. Never asks a model."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk

from langgraph_rlm.models.tool_calls import CallStream, with_ordinary_calls

CUT = ("length", "content_filter")
"""Reasons of OpenAI's for which a reply is not whole."""
DONE = b"data: [DONE]\n\n"
KEEP_ALIVE = b": keep-alive\n\n"


class Replies:
    """The answer to one request, as one body or as the events of a stream."""

    def __init__(self, model: str, *, has_reasoning: bool = False, has_usage: bool = False) -> None:
        """Give the answer its id.

        Args:
            model: the id that the client asked for.
            has_reasoning: whether the client sees the run's progress.
            has_usage: whether a stream ends with its usage.
        """
        self._model = model
        self._has_reasoning = has_reasoning
        self._has_usage = has_usage
        self._id = f"chatcmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._started = False
        self._calls = CallStream()
        self._usage: Any = None
        self._metadata: dict[str, Any] = {}

    def whole(self, message: AIMessage) -> bytes:
        """Give a `chat.completion`."""
        calls = calls_of(with_ordinary_calls(message))
        refusal = refusal_of(message) or None
        said: dict[str, Any] = {"role": "assistant", "content": message.text, "refusal": refusal}
        if calls:
            said["tool_calls"] = calls
        if calls or refusal:
            said["content"] = message.text or None
        thought = self._reasoning_of(message)
        if thought:
            said["reasoning_content"] = thought
        finish = _finish(message.response_metadata, bool(calls))
        choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
        usage = usage_of(message.usage_metadata)
        frame = self._frame("chat.completion", choices=[choice], usage=usage)
        return json.dumps(frame | more_in(message.response_metadata)).encode()

    def chunk(self, chunk: AIMessageChunk) -> Iterator[bytes]:
        """Give what a client sees of a model's chunk: often nothing."""
        self._metadata |= chunk.response_metadata
        if chunk.usage_metadata:
            self._usage = chunk.usage_metadata
        thought = self._reasoning_of(chunk)
        if thought:
            yield self._delta({"reasoning_content": thought})
        if chunk.text:
            yield self._delta({"content": chunk.text})
        refusal = refusal_of(chunk)
        if refusal:
            yield self._delta({"refusal": refusal})
        if chunk.tool_call_chunks:
            yield self._delta({"tool_calls": self._pieces(chunk)})

    def end(self) -> Iterator[bytes]:
        """Give the last events of a stream."""
        finish = _finish(self._metadata, self._calls.count > 0)
        yield self._delta({}, finish, more_in(self._metadata))
        if self._has_usage:
            usage = usage_of(self._usage)
            yield event(self._frame("chat.completion.chunk", choices=[], usage=usage))
        yield DONE

    def _reasoning_of(self, message: AIMessage) -> str:
        return reasoning_of(message) if self._has_reasoning else ""

    def _delta(
        self,
        delta: dict[str, Any],
        finish: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        if not self._started:
            self._started = True
            delta = {"role": "assistant", "content": "", **delta}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        frame = self._frame("chat.completion.chunk", choices=[choice], **more)
        if self._has_usage:
            frame["usage"] = None
        return event(frame)

    def _pieces(self, chunk: AIMessageChunk) -> list[dict[str, Any]]:
        """Give the pieces of tool calls in a chunk as OpenAI does."""
        return [
            _piece(piece) for piece in self._calls.feed([{**p} for p in chunk.tool_call_chunks])
        ]

    def _frame(self, kind: str, **more: Any) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            **more,
        }


def described(file: Mapping[str, Any]) -> dict[str, Any]:
    """Give a file of a run as OpenAI's Files API does, with its media type."""
    return {
        "id": file["id"],
        "object": "file",
        "bytes": file["size"],
        "created_at": 0,
        "filename": file["name"],
        "purpose": "assistants_output",
        "status": "processed",
        "mime_type": file["type"],
    }


def more_in(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields that OpenAI does not have: the files of a run, and how much of its contexts
    models have seen; none where there are none."""
    more: dict[str, Any] = {}
    files: list[Any] = metadata.get("files") or []
    if files:
        more["files"] = [described(file) for file in files]
    if metadata.get("coverage"):
        more["coverage"] = metadata["coverage"]
    return more


def event(value: Mapping[str, Any]) -> bytes:
    """Write one event of a stream."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def failed(body: Mapping[str, Any]) -> bytes:
    """Give the last event of a stream that had begun when something failed."""
    return event(body)


def reasoning_of(message: AIMessage) -> str:
    """Give the text of a message's reasoning blocks."""
    blocks: list[Any] = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "".join(block.get("reasoning") or "" for block in blocks)


def usage_of(usage: Any) -> dict[str, Any]:
    """Give OpenAI's usage for LangChain's; what was not counted is 0."""
    given: Mapping[str, Any] = usage or {}
    sent = given.get("input_tokens", 0)
    got = given.get("output_tokens", 0)
    sent_details: Any = given.get("input_token_details") or {}
    got_details: Any = given.get("output_token_details") or {}
    return {
        "prompt_tokens": sent,
        "completion_tokens": got,
        "total_tokens": given.get("total_tokens", sent + got),
        "prompt_tokens_details": {"cached_tokens": sent_details.get("cache_read") or 0},
        "completion_tokens_details": {"reasoning_tokens": got_details.get("reasoning") or 0},
    }


def refusal_of(message: AIMessage) -> str:
    """Give what a model said when it refused; empty if it did not."""
    refusal = message.additional_kwargs.get("refusal")
    return refusal if isinstance(refusal, str) else ""


def _piece(piece: ToolCallChunk) -> dict[str, Any]:
    """Write a piece of a tool call; the first one of a call has its id."""
    function = {"arguments": piece["args"] or ""}
    if piece["name"]:
        function["name"] = piece["name"]
    written: dict[str, Any] = {"index": piece["index"], "function": function}
    if piece["id"]:
        written |= {"id": piece["id"], "type": "function"}
    return written


def calls_of(message: AIMessage) -> list[dict[str, Any]]:
    """Give the calls of a whole message, also those whose arguments are no JSON object."""
    whole = [(call["id"], call["name"], json.dumps(call["args"])) for call in message.tool_calls]
    broken = [(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
    return [
        {"id": id, "type": "function", "function": {"name": name, "arguments": args}}
        for id, name, args in whole + broken
    ]


def _finish(metadata: Mapping[str, Any], has_calls: bool) -> str:
    reason = metadata.get("finish_reason")
    if reason in CUT:
        return reason
    return "tool_calls" if has_calls else "stop"
