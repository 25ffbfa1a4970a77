"""Model reply: what the root model itself said, in a direct reply. Never asks it.

Its text without thoughts, its refusal where `ChatRLM` shows refusals, and why it ended, in OpenAI's
words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk
from langchain_core.messages.ai import UsageMetadata, add_usage

from langgraph_rlm.budget.ledger import CHARS_PER_TOKEN
from langgraph_rlm.chat.shapes import is_mapping
from langgraph_rlm.models.replies import message_text, shortfall_of
from langgraph_rlm.models.tool_calls import pieces_of

REFUSAL = "refusal"
"""Key of a message's `additional_kwargs`: what the model said when it refused."""


@dataclass
class Said:
    """What a provider says of its replies to one call, beside their text."""

    usage: UsageMetadata | None = None
    """Of all tries together."""
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    """Of the last reply."""
    called: list[str] = field(default_factory=list[str])
    """Names of the tools that the last reply called."""
    has_text: bool = False
    """Whether any text or refusal was shown."""
    estimated_calls: int = 0
    """Replies whose provider did not say all that they used."""
    _reported: UsageMetadata | None = None
    """Usage of the reply that comes in, as its provider says it."""
    _written: int = 0
    """Its characters so far."""

    def add(self, reply: AIMessage) -> None:
        """Add a whole reply, or a chunk of one; take its metadata and its calls."""
        if reply.usage_metadata:
            self._reported = add_usage(self._reported, reply.usage_metadata)
        self._written += _chars_written(reply)
        self.metadata.update(reply.response_metadata)
        self.called += [piece["name"] for piece in _pieces(reply) if piece["name"]]

    def end_reply(self, prompt_chars: int) -> None:
        """Count what the reply has spent, as its provider says it, or as the texts let one think.

        Args:
            prompt_chars: of what the model was sent.
        """
        reported, written = self._reported, self._written
        self._reported, self._written = None, 0
        usage = UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0)
        if reported is not None:
            usage = reported.copy()
        inputs = usage["input_tokens"] or prompt_chars // CHARS_PER_TOKEN
        outputs = usage["output_tokens"] or written // CHARS_PER_TOKEN
        if (inputs, outputs) != (usage["input_tokens"], usage["output_tokens"]):
            self.estimated_calls += 1
            usage["total_tokens"] = inputs + outputs
        usage["input_tokens"], usage["output_tokens"] = inputs, outputs
        self.usage = add_usage(self.usage, usage)

    def note_shown(self, part: AIMessageChunk) -> None:
        """Note that a part of the reply was shown."""
        if str(part.text).strip() or REFUSAL in part.additional_kwargs:
            self.has_text = True

    def finish_reason(self, *, has_calls: bool) -> str:
        """Name why the last reply ended, as OpenAI does."""
        shortfall = shortfall_of(AIMessage("", response_metadata=self.metadata))
        if shortfall == "refusal":  # Anthropic's; OpenAI has a field for what the model then says
            return "content_filter"
        if shortfall is not None:
            return shortfall
        return "tool_calls" if has_calls else "stop"


def _chars_written(reply: AIMessage) -> int:
    """Count the characters of a reply or a chunk: its text, its thoughts and its calls."""
    content: Any = reply.content
    texts = [content] if isinstance(content, str) else [str(block) for block in content]
    texts += [str(value) for value in reply.additional_kwargs.values() if value]
    texts += [piece["args"] or "" for piece in _pieces(reply)]
    return sum(map(len, texts))


def _pieces(reply: AIMessage) -> Sequence[ToolCallChunk]:
    return reply.tool_call_chunks if isinstance(reply, AIMessageChunk) else pieces_of(reply)


def shown(chunk: AIMessageChunk, cleaned: Callable[[str], str]) -> AIMessageChunk:
    """Give what of a model's chunk is shown.

    The last chunk of our reply says the rest for all: usage, metadata, and that it is the last.

    Args:
        chunk: of the model.
        cleaned: takes a piece of the reply's text, and gives what of it to show.
    """
    content, refusal = _content(chunk, cleaned)
    given = {key: value for key, value in chunk.additional_kwargs.items() if value is not None}
    if refusal:
        given[REFUSAL] = refusal
    return AIMessageChunk(
        content=content, additional_kwargs=given, tool_call_chunks=chunk.tool_call_chunks
    )


def refusal_in(message: AIMessage) -> str:
    """Give what a model said when it refused; empty if it said something else."""
    return "" if str(message.text) else message_text(message)


def _content(chunk: AIMessageChunk, cleaned: Callable[[str], str]) -> tuple[Any, str]:
    """Give a chunk's content without thoughts and refusals, and its refusal."""
    refusal = refusal_in(chunk)
    content: Any = chunk.content
    if isinstance(content, str):
        return cleaned(content), refusal
    kept: list[Any] = []
    for block in content:
        if is_mapping(block) and block.get("type") == "text":
            text = cleaned(str(block.get("text") or ""))
            kept += [{**block, "text": text}] if text else []
        elif not is_mapping(block) or block.get("type") != REFUSAL:
            kept.append(block)
    return kept or "", refusal
