"""Replies: a run's progress and its outcome, as the message chunks of a chat model."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

from langchain_core.messages import AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.chat.reply_files import ReplyFile
from langgraph_rlm.models.tool_calls import CallStream
from langgraph_rlm.progress import Event
from langgraph_rlm.runtime.windows import BYTES_PER_TOKEN
from langgraph_rlm.state import Coverage

CODE_CHARS = 2_000
"""Most characters of a cell's code that progress shows."""
OUTPUT_CHARS = 500
"""Most characters of a cell's output that progress shows."""


class RunEnd(TypedDict):
    """Where a run stands at the end of a reply."""

    run: str
    checkpoint: str
    """The newest checkpoint of its thread."""


class ReplyMetadata(TypedDict):
    """What the `response_metadata` of every reply has."""

    model_name: str
    finish_reason: str
    """`"stop"`, `"length"`, `"tool_calls"` or `"content_filter"`."""
    thread_id: str | None
    """The run's; None for a direct reply."""
    turns: int
    sub_calls: int
    stop_reason: str
    estimated_calls: int
    """Model calls whose provider did not say all that they used: `usage_metadata` counts an
    estimate from the texts for what is missing."""
    files: NotRequired[list[ReplyFile]]
    """What the run gave back through `out/`; left out where it gave nothing."""
    run: NotRequired[RunEnd]
    """Which run this is and where it stands, for callers that name runs."""
    coverage: NotRequired[Coverage]
    """How much of the contexts models have seen, once there is an answer; left out where there are
    none."""


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
    if event["type"] == "replay":
        return f"{indent}{event['done']} of {event['total']} earlier cells run again\n"
    if event["type"] == "files_differ":
        return f"{indent}{len(event['names'])} files were written otherwise by cells run again\n"
    if event["type"] == "sub_calls":
        return f"{indent}{event['function']}: {event['done']} of {event['total']} answered\n"
    if event["type"] == "waiting":
        return f"{indent}{event['model']} is busy: waits {event['seconds']:.0f} s\n"
    return ""


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}..."


def final(
    *,
    text: str = "",
    calls: Sequence[Mapping[str, Any]] = (),
    blocks: Sequence[dict[str, Any]] = (),
    usage: UsageMetadata | None,
    metadata: Mapping[str, Any],
) -> list[AIMessageChunk]:
    """Make the end of a reply: its text, its tool calls, and last what it spent.

    Args:
        text: the answer, or what is left of it to send.
        calls: tool calls, each with `name`, `args` and perhaps `id`.
        blocks: content blocks behind the text.
        usage: what this reply spent.
        metadata: becomes `response_metadata`.
    """
    chunks: list[AIMessageChunk] = []
    if text:
        chunks.append(AIMessageChunk(content=text))
    if blocks:
        chunks.append(AIMessageChunk(content=[*blocks]))
    if calls:
        chunks.append(AIMessageChunk(content="", tool_call_chunks=call_chunks(calls)))
    last = AIMessageChunk(
        content="", usage_metadata=usage, response_metadata=dict(metadata), chunk_position="last"
    )
    return [*chunks, last]


def call_chunks(calls: Sequence[Mapping[str, Any]]) -> list[ToolCallChunk]:
    """Make the chunks of whole tool calls, each with `name`, `args` and perhaps `id`."""
    return CallStream().feed([{**call, "index": index} for index, call in enumerate(calls)])


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


def estimated_since(before: Mapping[str, Any], now: Usage) -> int:
    """Give how many calls of a reply were estimated."""
    return now.get("estimated_calls", 0) - before.get("estimated_calls", 0)


def _details_since(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Give the counts under `key` now, each less what it was before."""
    old: Mapping[str, int] = before.get(key) or {}
    new: Mapping[str, int] = now.get(key) or {}
    return {name: count - old.get(name, 0) for name, count in new.items()}


def cut_to(text: str, max_tokens: int | None) -> str:
    """Cut an answer to a client's `max_tokens`, counted as four bytes of UTF-8 each."""
    if max_tokens is None or len(text) <= max_tokens:  # no character has more than four bytes
        return text
    data = text.encode("utf-8", "surrogatepass")
    most = max_tokens * BYTES_PER_TOKEN
    return text if len(data) <= most else data[:most].decode("utf-8", "ignore")


def cut_at(text: str, stop: Sequence[str]) -> str:
    """Cut a text at the first of the stop sequences, as if a model had stopped there."""
    starts = [text.find(sequence) for sequence in stop if sequence]
    found = [start for start in starts if start >= 0]
    return text[: min(found, default=len(text))]
