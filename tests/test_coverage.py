"""Coverage: runs made so that what models have seen is known, and what is never claimed."""

import json
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM, create_rlm
from langgraph_rlm.coverage.mapped import unescaped
from langgraph_rlm.coverage.matching import LEAST, Matcher, TooMuchWork
from langgraph_rlm.coverage.series import Series
from langgraph_rlm.coverage.tree import coverage_of
from langgraph_rlm.history.run_tree import run_tree
from langgraph_rlm.testing import ScriptedModel, cell

PREVIEW = 300
"""Characters of a context that each question shows."""


def words(count: int, seed: int = 1) -> str:
    """Lines of random words, none of which is there twice."""
    rng = random.Random(seed)
    line = lambda: " ".join(f"{rng.getrandbits(32):08x}" for _ in range(9))  # noqa: E731
    return "".join(f"{line()}\n" for _ in range(count))


TEXT = words(500)  # 40,500 bytes


def covered(context: Any, *codes: str, **options: Any) -> dict[str, Any]:
    """Run cells, one a turn, and give what the run has covered."""
    *_, out = asked(context, list(codes), **options)
    return out["coverage"]


def asked(context: Any, *questions: list[str], sub: Callable[[str], str] = lambda _: "ok", **options: Any) -> list[Any]:
    codes = [code for question in questions for code in question]
    model = ScriptedModel(replies=[cell(code) for code in codes])
    graph = create_rlm(model, sub_model=options.pop("sub_model", None) or ScriptedModel(answer=sub), checkpointer=InMemorySaver(), **options)
    config: Any = {"configurable": {"thread_id": "1"}}
    contexts = context if isinstance(context, list) and len(questions) > 1 else [context] * len(questions)
    outs = [graph.invoke({"query": "q", "context": each}, config) for each in contexts]
    graph.rlm.sessions.close()
    return outs


def seen(context: Any, *codes: str, **options: Any) -> float:
    return covered(context, *codes, **options)["seen"]


def about(share: float) -> Any:
    return pytest.approx(share, abs=0.0002)


# What prompts hold


def test_chunks_over_all_of_a_text() -> None:
    got = covered(TEXT, "llm_query_batched([f'Sum up:\\n{context[i:i + 2000]}' for i in range(0, len(context), 2000)])\nFINAL('x')")
    assert got == {"seen": 1.0, "size": 40_500, "whole": True, "contexts": {"context_0": {"seen": 1.0, "read": 0.0, "whole": True, "size": 40_500}}}


def test_chunks_over_half_of_a_text() -> None:
    assert seen(TEXT, "llm_query_batched([f'Sum up: {context[i:i + 2025]}' for i in range(0, 20250, 2025)])\nFINAL('x')") == 0.5


def test_chunks_that_overlap_count_once() -> None:
    assert seen(TEXT, "llm_query_batched([f'{context[i:i + 3000]} ?' for i in range(0, 18000, 1000)])\nFINAL('x')") == about(20_000 / 40_500)


def test_what_is_found_read_and_asked_about() -> None:
    at = TEXT.index("\n", 30_000) + 1
    word = TEXT[at : at + 8]
    got = covered(TEXT, f"hit = grep({word!r})[0]\npiece = peek(hit['start'], hit['start'] + 4050)\nllm_query(f'What of {{piece}}')\nFINAL('x')")
    assert got["whole"] is False
    assert got["seen"] == about((4050 + PREVIEW) / 40_500)
    assert got["contexts"]["context_0"]["read"] == about(4050 / 40_500)


def test_ranges_are_known_without_a_look_at_the_text() -> None:
    got = covered(TEXT, "ranges = chunk_ranges(4050)\nllm_query_batched('Sum up', ranges=ranges[:4])\nFINAL('x')")
    whole = sum(len(TEXT[:4050]) for _ in range(4))
    assert got["seen"] == pytest.approx(whole / 40_500, abs=0.01)
    assert got["contexts"]["context_0"]["read"] == got["seen"] and not got["whole"]


def test_ranges_of_a_context_too_large_to_be_bound() -> None:
    limits = {"max_heap_bytes": 100_000}
    got = covered(TEXT, "llm_query('q', ranges=[(0, 4050)])\nFINAL('x')", limits=limits)
    assert got["seen"] == 0.1 and not got["whole"]


def test_a_refused_or_failed_call_has_sent_nothing() -> None:
    def fail(_: str) -> Any:
        return OSError("gone")

    code = "try:\n    llm_query(context[:20250])\nexcept RuntimeError:\n    pass\nFINAL('x')"
    assert seen(TEXT, code, sub=fail) == about(PREVIEW / 40_500)


# What is shown


def test_only_what_the_root_was_shown_of_an_output_counts() -> None:
    assert seen(TEXT, "print(context[:4050])", "FINAL('x')") == 0.1
    assert seen(TEXT, "print(context[:4050])\nFINAL('x')") == about(PREVIEW / 40_500)
    limits = {"max_output_chars": 1000}
    assert seen(TEXT, "print(context[4050:8100])", "FINAL('x')", limits=limits) == about((1000 + PREVIEW) / 40_500)


def test_a_repr_and_json_count_as_what_they_stand_for() -> None:
    text = "".join(f'{number} says: "é — {word}"\n' for number, word in enumerate(words(30).split()))
    assert len(text) < 9_000
    assert seen(text, "context", "FINAL('x')") == 1.0
    assert seen(text, "import json\nprint(json.dumps(context))", "FINAL('x')") == 1.0
    assert seen(text, "import json\nllm_query(json.dumps([context]))\nFINAL('x')") == 1.0


# Repeats


def test_what_repeats_is_claimed_once() -> None:
    line = "the same line again and again, word by word\n"
    text = TEXT + line * 100
    half = len(TEXT)
    code = f"llm_query_batched([context[i:i + 88] for i in range({half}, len(context), 88)])\nFINAL('x')"
    assert seen(text, code) <= (PREVIEW + 200) / len(text)


def test_a_repeated_line_counts_for_the_place_beside_its_neighbours() -> None:
    line = "the same line again and again, word by word\n"
    first, second, third = words(3, 5).splitlines(keepends=True)
    text = f"{words(20, 6)}{first}{line}{second}{words(20, 7)}{third}{line}{words(10, 8)}"
    code = "rows = context.splitlines()\nprint('\\n'.join(f'{n}: {row}' for n, row in enumerate(rows) if 43 <= n <= 44))"
    graph_seen = pieces(text, code, "FINAL('x')")
    at = text.rindex(third)
    assert [at, at + len(third) + len(line)] in graph_seen


def pieces(context: Any, *codes: str) -> list[list[int]]:
    """What of a context was seen, as the trace has it."""
    return records(context, *codes)[0]["seen"]


def records(context: Any, *codes: str, **options: Any) -> list[dict[str, Any]]:
    return _records(context, codes, options)


def _records(context: Any, codes: Iterable[str], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    import asyncio

    sub = options.get("sub_model") or ScriptedModel(answer=lambda _: "ok")
    graph = create_rlm(ScriptedModel(replies=[cell(code) for code in codes]), sub_model=sub, checkpointer=InMemorySaver(), limits=options.get("limits"))
    config: Any = {"configurable": {"thread_id": "1"}}
    out = graph.invoke({"query": "q", "context": context}, config)
    tree = asyncio.run(run_tree(graph, config))
    graph.rlm.sessions.close()
    found: Any = coverage_of(tree, graph.rlm.blobs, output_chars=graph.rlm.output_chars)
    shares = out["coverage"]["contexts"]
    assert {each["name"]: each["seen_share"] for each in found} == {name: each["seen"] for name, each in shares.items()}
    return found
