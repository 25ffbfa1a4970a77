"""Replies: what a provider's message says: its text, its thoughts, and whether it is whole.

Each provider says these in its own words; this file knows them all. Never calls a model.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from langchain_core.messages import AIMessage

from langgraph_rlm.storage.json_types import is_dict, is_list

Shortfall = Literal["length", "content_filter", "refusal"]
"""Why a reply is not what was asked for: it was cut off at a limit of tokens, filtered, or
refused."""

REASONS: Mapping[str, Shortfall] = {
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",
    "model_context_window_exceeded": "length",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
    "safety": "content_filter",
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
    "refusal": "refusal",
}
"""Reasons of OpenAI, Anthropic, Google, Mistral, Bedrock and Ollama, in lower case."""

EMPTY_REPLY = "(empty)"
"""What stands for an earlier reply without text, which many providers refuse."""

REASON_KEYS = ("finish_reason", "stop_reason", "stopReason", "done_reason")
THOUGHT_TYPES = ("thinking", "redacted_thinking", "reasoning", "reasoning_content")
"""Content blocks in which a model thinks."""
THOUGHT_KEYS = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "__gemini_function_call_thought_signatures__",
)
"""Keys of `additional_kwargs` in which providers give thoughts, and want them back."""
THOUGHT_TEXTS = ("thinking", "reasoning", "text", "reasoning_content")


def message_text(message: AIMessage) -> str:
    """Give the text of a reply; where it has none, what the model said when it refused."""
    return str(message.text) or _refusal(message)


def shortfall_of(message: AIMessage) -> Shortfall | None:
    """Say why a reply is not what was asked for; None where it is."""
    for reason in _reasons(message.response_metadata):
        if reason in REASONS:
            return REASONS[reason]
    return "refusal" if _refusal(message) and not str(message.text) else None


def kept_thoughts(message: AIMessage) -> dict[str, Any] | None:
    """Give a reply's thoughts as the provider wants them back, plain JSON; None without any.

    Returns:
        `content`, blocks, and `additional_kwargs`; see `with_thoughts`.
    """
    blocks = [block for block in _blocks(message) if block.get("type") in THOUGHT_TYPES]
    given = message.additional_kwargs
    keys = {key: given[key] for key in THOUGHT_KEYS if given.get(key)}
    return {"content": blocks, "additional_kwargs": keys} if blocks or keys else None


def with_thoughts(message: AIMessage, kept: Mapping[str, Any]) -> AIMessage:
    """Put thoughts back into a message, ahead of its text."""
    said = [{"type": "text", "text": str(message.text)}] if str(message.text) else []
    content: Any = [*kept["content"], *said] if kept["content"] else message.content
    more = {**message.additional_kwargs, **kept["additional_kwargs"]}
    return message.model_copy(update={"content": content, "additional_kwargs": more})


def thought_text(message: AIMessage) -> str:
    """Give a reply's thoughts as text, as far as its provider tells them apart; empty without."""
    kept = kept_thoughts(message)
    return "" if kept is None else text_of_thoughts(kept)


def text_of_thoughts(kept: Mapping[str, Any]) -> str:
    """Give kept thoughts, as `kept_thoughts` gives them, as text."""
    return "\n".join([*_texts(kept["content"]), *_texts([kept["additional_kwargs"]])])


def _texts(found: Any) -> Iterator[str]:
    """Give the texts in blocks of thoughts, whatever their form."""
    for block in _dicts(found):
        for each in (block, *_dicts(block.get("summary"))):
            texts = (each.get(key) for key in THOUGHT_TEXTS)
            yield from [text for text in texts if isinstance(text, str)][:1]


def _reasons(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Give the reasons for which a reply ended, in lower case."""
    details = metadata.get("incomplete_details")
    if is_dict(details):  # OpenAI's Responses API
        yield str(details.get("reason")).lower()
    for key in REASON_KEYS:
        if isinstance(metadata.get(key), str):
            yield metadata[key].lower()


def _refusal(message: AIMessage) -> str:
    """Give what the model said when it refused; empty where it did not."""
    said = message.additional_kwargs.get("refusal")
    if isinstance(said, str):
        return said
    return "".join(
        block["refusal"]
        for block in _blocks(message)
        if block.get("type") == "refusal" and isinstance(block.get("refusal"), str)
    )


def _blocks(message: AIMessage) -> list[dict[str, Any]]:
    return _dicts(message.content)


def _dicts(value: object) -> list[dict[str, Any]]:
    return [each for each in value if is_dict(each)] if is_list(value) else []
