"""Replies: a run's progress and its outcome as the message chunks of a chat model."""

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.progress import Event

CODE_CHARS = 2_000
OUTPUT_CHARS = 500


def reasoning(text: str) -> AIMessageChunk:
    """A chunk that shows work: a reasoning block in `content_blocks`, no text."""
    return AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})


def progress_text(event: Event) -> str:
    """What a consumer of reasoning reads of a progress event; empty for what only counts."""
    indent = "  " * event["depth"]
    if event["type"] == "turn":
        return f"\n{indent}Turn {event['turn']} of {event['of']}\n"
    if event["type"] == "code":
        return f"```python\n{_clipped(event['code'], CODE_CHARS)}\n```\n"
    if event["type"] == "output":
        return f"{indent}{event['outcome']}: {_clipped(event['output'].strip() or '(no output)', OUTPUT_CHARS)}\n"
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
    """The end of a reply: its text, its tool calls, and last what it spent."""
    chunks = [AIMessageChunk(content=text)] if text else []
    made = [_call_chunk(call, index) for index, call in enumerate(calls)]
    if made:
        chunks.append(AIMessageChunk(content="", tool_call_chunks=made))
    last = AIMessageChunk(
        content="", usage_metadata=usage, response_metadata=dict(metadata), chunk_position="last"
    )
    return [*chunks, last]


def _call_chunk(call: Mapping[str, Any], index: int) -> ToolCallChunk:
    args = json.dumps(call["args"], ensure_ascii=False)
    return tool_call_chunk(
        name=call["name"],
        args=args,
        id=call.get("id") or f"call_{uuid.uuid4().hex[:24]}",
        index=index,
    )


def usage_since(before: Mapping[str, Any], now: Usage) -> UsageMetadata:
    """What a reply spent: the run's usage less what it was when the reply was begun."""
    tokens = {key: now[key] - before.get(key, 0) for key in ("input_tokens", "output_tokens")}
    usage = UsageMetadata(**tokens, total_tokens=sum(tokens.values()))
    for key in ("input_token_details", "output_token_details"):
        if details := _less(cast(Mapping[str, int], now.get(key) or {}), before.get(key) or {}):
            usage[key] = cast(Any, details)
    return usage


def _less(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in now.items()}


def cut_at(text: str, stop: Sequence[str]) -> str:
    """A text up to the first of the stop sequences, as a model that stopped there would have written it."""
    ends = [place for sequence in stop if sequence and (place := text.find(sequence)) >= 0]
    return text[: min(ends)] if ends else text
