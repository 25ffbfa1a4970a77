"""Reported: what providers say that a call has used, as counts that can be relied on.

A server may say anything: what is not a count is left out, and parts are never more than the whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

READ, WRITTEN = "cache_read", "cache_creation"
"""LangChain's names for input that was cached, and for input that was put into the cache. OpenAI's
service tiers have theirs, such as `priority_cache_read`."""

WRITTEN_5M, WRITTEN_1H = "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"
"""Anthropic's, in whose presence LangChain leaves `cache_creation` at 0."""


@dataclass(frozen=True)
class CachedInput:
    """Parts of the input tokens of one call."""

    read: int
    written: int
    written_1h: int


def count(reported: Any) -> int:
    """Give a number of tokens; 0 for anything else that a provider has put there."""
    return reported if isinstance(reported, int) and reported > 0 else 0


def counts(details: Mapping[str, Any] | None) -> dict[str, int]:
    """Keep the details that are counts, without those that are zero."""
    given = details or {}
    return {name: number for name, number in given.items() if isinstance(number, int) and number}


def cached_input(details: Mapping[str, Any] | None, input_tokens: int) -> CachedInput:
    """Give what of the input a provider's cache has given and taken.

    Args:
        details: `input_token_details`.
        input_tokens: all of the input; the parts are never more.
    """
    known = details or {}
    read = min(_ending(known, READ), input_tokens)
    written_1h = min(count(known.get(WRITTEN_1H)), input_tokens - read)
    written = _ending(known, WRITTEN) + count(known.get(WRITTEN_5M))
    return CachedInput(read, min(written, input_tokens - read - written_1h), written_1h)


def is_from_cache(usage: Mapping[str, Any]) -> bool:
    """Whether a reply came out of LangChain's own cache (`set_llm_cache`, `cache=`) and nobody was
    asked. LangChain says so by a cost of zero, and leaves the tokens of the call that was paid."""
    return usage.get("total_cost") == 0


def _ending(details: Mapping[str, Any], name: str) -> int:
    return sum(count(number) for key, number in details.items() if str(key).endswith(name))
