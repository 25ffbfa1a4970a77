"""Replies: a run's progress and its outcome, as the message chunks of a chat model."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from langchain_core.messages import AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.progress import Event

CODE_CHARS = 2_000
"""Most characters of a cell's code that progress shows."""
OUTPUT_CHARS = 500
"""Most characters of a cell's output that progress shows."""


class ReplyMetadata(TypedDict):
    """What the `response_metadata` of every reply has."""

    model_name: str
    finish_reason: Any
    """`"stop"`, `"length"` or `"tool_calls"`; of a direct reply also what else a provider says."""
    thread_id: str | None
    """The run's; None for a direct reply."""
    turns: int
    sub_calls: int
    stop_reason: str


def reasoning(text: str) -> AIMessageChunk:
    """Make a chunk that shows work: a reasoning block in `content_blocks`, no text."""
    return AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})


def progress_text(event: Event) -> str:
    """Write a progress event for a reader of reasoning; empty for an event that only counts."""
    indent = "  " * event["depth"]
    if event["type"] == "turn":
        return f"\n{indent}Turn {event['turn']} of {event['of']}\n"
    if event["type"] == "code":
        return f"```python\n{_clipped(event['code'], CODE_CHARS)}\n```\n"
    if event["type"] == "output":
        output = event["output"].strip() or "(no output)"
        return f"{indent}{event['outcome']}: {_clipped(output, OUTPUT_CHARS)}\n"
    if event["type"] == "sub_calls":
        return f"{indent}{event['function']}: {event['done']} of {event['total']} answered\n"
    return ""


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def final(
    *,
    text: str = "",
    calls: Sequence[Mapping[str, Any]] = (),
    usage: UsageMetadata | None,
    metadata: Mapping[str, Any],
) -> list[AIMessageChunk]:
    """Make the end of a reply: its text, its tool calls, and last what it spent.

    Args:
        text: the answer, or what is left of it to send.
        calls: tool calls, each with `name`, `args` and perhaps `id`.
        usage: what this reply spent.
        metadata: becomes `response_metadata`.
    """
    chunks: list[AIMessageChunk] = []
    if text:
        chunks.append(AIMessageChunk(content=text))
    made = [_call_chunk(call, index) for index, call in enumerate(calls)]
    if made:
        chunks.append(AIMessageChunk(content="", tool_call_chunks=made))
    last = AIMessageChunk(
        content="", usage_metadata=usage, response_metadata=dict(metadata), chunk_position="last"
    )
    return [*chunks, last]


def _call_chunk(call: Mapping[str, Any], index: int) -> ToolCallChunk:
    args = json.dumps(call["args"], ensure_ascii=False)
    id = call.get("id") or f"call_{uuid.uuid4().hex[:24]}"
    return tool_call_chunk(name=call["name"], args=args, id=id, index=index)


def usage_since(before: Mapping[str, Any], now: Usage) -> UsageMetadata:
    """Give what a reply spent: the run's usage now, less its usage when the reply was begun."""
    inputs = now["input_tokens"] - before.get("input_tokens", 0)
    outputs = now["output_tokens"] - before.get("output_tokens", 0)
    usage = UsageMetadata(input_tokens=inputs, output_tokens=outputs, total_tokens=inputs + outputs)
    if details := _details_since(before, now, "input_token_details"):
        usage["input_token_details"] = InputTokenDetails(**details)
    if details := _details_since(before, now, "output_token_details"):
        usage["output_token_details"] = OutputTokenDetails(**details)
    return usage


def _details_since(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give the counts under `key` now, each less what it was before."""
    old: Mapping[str, int] = before.get(key) or {}
    new: Mapping[str, int] = now.get(key) or {}
    return {name: count - old.get(name, 0) for name, count in new.items()}


def cut_at(text: str, stop: Sequence[str]) -> str:
    """Cut a text at the first of the stop sequences, as if a model had stopped there."""
    starts = [text.find(sequence) for sequence in stop if sequence]
    found = [start for start in starts if start >= 0]
    return text[: min(found, default=len(text))]
