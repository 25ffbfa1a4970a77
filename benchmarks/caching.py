"""Caching: tokens that providers read from their caches in a run of ten turns.

    python -m benchmarks.caching [--turns 10]

The mocks count prefixes as OpenAI and Anthropic document it (`tests/prefix_cache.py`). `off` is
what a provider sees without breakpoints. Costs are list prices of `genai-prices`.
"""

import argparse
import os
import tempfile
from collections.abc import Callable
from typing import Any

from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import cell
from tests.anthropic_server import AnthropicServer
from tests.openai_server import OpenAIServer, Reply, turn_of
from tests.prefix_cache import OpenAICache

PRINTED = 2_000
"""Characters that each turn prints."""


def turns(count: int) -> Callable[[Any], str]:
    """Make a root model that looks at another part of the context in each turn."""

    def reply(body: Any) -> str:
        turn = turn_of(body)
        if turn == count - 1:
            return cell("FINAL('done')")
        code = f"print(context[{turn * PRINTED}:{(turn + 1) * PRINTED}])"
        return cell(code, "I look at the next part.")

    return reply


def asked(model: Any, count: int, **options: Any) -> dict[str, Any]:
    """Run to the end, and give the usage."""
    context = " ".join(f"{number:x}" for number in range(PRINTED * count))
    with tempfile.TemporaryDirectory() as folder:
        graph = create_rlm(model, blob_store=folder, sandbox="monty", **options)
        return graph.invoke({"query": "What is in it?", "context": context})["usage"]


def show(name: str, usage: dict[str, Any]) -> None:
    """Print a line of the table."""
    details = usage.get("input_token_details", {})
    written = sum(
        details.get(key, 0)
        for key in ("cache_creation", "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
    )
    read, all = details.get("cache_read", 0), usage["input_tokens"]
    cost = usage["cost"]
    print(f"| {name} | {all:,} | {read:,} ({read / all:.0%}) | {written:,} | ${cost:.4f} |")


def anthropic(count: int, **options: Any) -> dict[str, Any]:
    """Run with Claude's wire form."""
    with AnthropicServer(turns(count)) as server:
        given: Any = {"base_url": server.url.removesuffix("/v1"), "api_key": "none"}
        return asked(ChatAnthropic(model_name="claude-sonnet-4-6", **given), count, **options)


def openai(count: int, **options: Any) -> dict[str, Any]:
    """Run with OpenAI's wire form."""
    cache, answer = OpenAICache(), turns(count)

    def reply(body: Any) -> Reply:
        took, text = cache.take(body), answer(body)
        usage = {
            "prompt_tokens": took.all,
            "completion_tokens": len(text) // 4,
            "prompt_tokens_details": {"cached_tokens": took.read},
        }
        return Reply(content=text, usage=usage)

    with OpenAIServer(reply) as server:
        given: Any = {"base_url": server.url, "api_key": "none"}
        return asked(ChatOpenAI(model="gpt-5", **given), count, **options)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--turns", type=int, default=10)
    count: int = parser.parse_args().turns
    os.environ["no_proxy"] = "*"
    print("| provider, breakpoints | input tokens | read from the cache | written | cost |")
    print("|---|---|---|---|---|")
    show("Anthropic, off", anthropic(count, prompt_caching=None))
    show("Anthropic, five minutes", anthropic(count))
    show("Anthropic, an hour", anthropic(count, prompt_caching="1h"))
    show("OpenAI, by itself", openai(count))


if __name__ == "__main__":
    main()
