"""Prefix caches of providers, as a mock has them: how many tokens of a request were sent before.

They know what OpenAI and Anthropic document: OpenAI reads the longest common prefix by itself, in steps of 128 tokens from 1,024 on, on the machine that a `prompt_cache_key` leads to; Anthropic writes and reads at breakpoints alone, at most four a request, looks back 20 blocks from each, and caches nothing below 1,024 tokens. A token is four characters of JSON.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LEAST = 1_024
"""Tokens of the shortest prefix that is cached."""
STEP = 128
LOOK_BACK = 20
MOST_BREAKPOINTS = 4
MARK = "cache_control"


@dataclass(frozen=True)
class Read:
    """What a request took from the cache, and what it put there, in tokens."""

    all: int
    read: int = 0
    written: int = 0
    written_1h: int = 0


@dataclass
class OpenAICache:
    """By the key of each request; requests without one share a machine."""

    seen: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def take(self, body: Mapping[str, Any]) -> Read:
        """Count a request, and keep it."""
        text = "".join(_text([body.get("tools"), *body["messages"]]))
        earlier = self.seen[str(body.get("prompt_cache_key"))]
        shared = max((_shared(text, each) for each in earlier), default=0) // 4
        earlier.append(text)
        read = shared // STEP * STEP
        return Read(len(text) // 4, read if read >= LEAST else 0)


@dataclass
class AnthropicCache:
    """By breakpoints."""

    kept: set[str] = field(default_factory=set)

    def take(self, body: Mapping[str, Any]) -> Read:
        """Count a request, and keep what its breakpoints mark.

        Raises:
            ValueError: as the API answers 400.
        """
        blocks = list(_blocks(body))
        prefixes, marks, text = [], [], ""
        for index, (block, mark) in enumerate(blocks):
            text += block
            prefixes.append(text)
            if mark is not None:
                marks.append((index, mark))
        if len(marks) > MOST_BREAKPOINTS:
            raise ValueError(f"A maximum of 4 blocks with cache_control, found {len(marks)}")
        read = max((self._read(prefixes, index) for index, _ in marks), default=0)
        written = {"5m": 0, "1h": 0}
        done = read
        for index, mark in marks:
            tokens = len(prefixes[index]) // 4
            if tokens >= LEAST and tokens > done:
                written[mark.get("ttl", "5m")] += tokens - done
                done = tokens
            if tokens >= LEAST:
                self.kept.add(prefixes[index])
        return Read(len(text) // 4, read, written["5m"], written["1h"])

    def _read(self, prefixes: list[str], last: int) -> int:
        """The tokens of the longest kept prefix that ends within reach of a breakpoint."""
        for index in range(last, max(-1, last - LOOK_BACK), -1):
            if prefixes[index] in self.kept:
                return len(prefixes[index]) // 4
        return 0


def _shared(one: str, other: str) -> int:
    shortest = min(len(one), len(other))
    return next((at for at in range(shortest) if one[at] != other[at]), shortest)


def _text(parts: list[Any]) -> Iterator[str]:
    yield from (json.dumps(part, sort_keys=True) for part in parts if part)


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The blocks of a request to Anthropic in the order in which they are cached, each with its mark."""
    given = [("tool", tool) for tool in body.get("tools", [])]
    given += [("system", block) for block in _as_blocks(body.get("system") or [])]
    for message in body["messages"]:
        given += [(message["role"], block) for block in _as_blocks(message["content"])]
    for kind, block in given:
        mark = block.get(MARK)
        if mark is not None and block.get("type") == "text" and not block["text"]:
            raise ValueError("cache_control cannot be set for empty text blocks")
        plain = {name: value for name, value in block.items() if name != MARK}
        yield f"{kind}{json.dumps(plain, sort_keys=True)}", mark


def _as_blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
