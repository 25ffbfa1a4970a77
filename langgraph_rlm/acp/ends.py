"""Ends: how a prompt ended, in the protocol's words. Reads nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from langgraph_rlm.acp.sdk import acp, schema
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.hosting.status import Status

META = "langgraph-rlm"
"""Key of what the protocol has no field for, in the `_meta` of an answer."""

STOP_REASONS: Mapping[str, schema.StopReason] = {
    "answered": "end_turn",
    "max_tokens": "max_tokens",
    "max_cost": "max_tokens",
    "max_iterations": "max_turn_requests",
    "max_sub_calls": "max_turn_requests",
    "max_seconds": "max_turn_requests",
}
"""The protocol's reasons for ours: it has none for money and time. `_meta` has ours."""


def ended(status: Status, reason: schema.StopReason | None = None) -> schema.PromptResponse:
    """Make the response to a prompt.

    Args:
        status: of the thread, as it is now.
        reason: None for the one that the status has.
    """
    told: dict[str, Any] = {
        "thread": status.thread,
        "state": status.state,
        "stop_reason": status.stop_reason or None,
        "usage": status.usage,
        "coverage": status.coverage,
        "structured": status.structured,
    }
    return schema.PromptResponse(
        stop_reason=reason or STOP_REASONS.get(status.stop_reason, "end_turn"),
        usage=_usage(status.usage),
        field_meta={META: {name: each for name, each in told.items() if each is not None}},
    )


def _usage(usage: Usage) -> schema.Usage:
    """Give what the whole tree has spent on the question."""
    read, written = usage["input_tokens"], usage["output_tokens"]
    of_input = usage.get("input_token_details", {})
    of_output = usage.get("output_token_details", {})
    return schema.Usage(
        total_tokens=read + written,
        input_tokens=read,
        output_tokens=written,
        thought_tokens=of_output.get("reasoning"),
        cached_read_tokens=of_input.get("cache_read"),
        cached_write_tokens=of_input.get("cache_creation"),
    )


def file_blocks(session: str, blocks: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Make content of the protocol of files that code gave back.

    Args:
        session: its id.
        blocks: LangChain's, as `chat.reply_files.blocks_of` makes them.
    """
    made: list[Any] = []
    for block in blocks:
        uri = f"langgraph-rlm://{session}/{block['extras']['filename']}"
        if block["type"] == "image":
            made.append(acp.image_block(block["base64"], block["mime_type"], uri=uri))
            continue
        blob = acp.embedded_blob_resource(uri, block["base64"], mime_type=block["mime_type"])
        made.append(acp.resource_block(blob))
    return made
