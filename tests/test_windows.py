"""Small windows: what a model refuses as too long is summed up or said, and its window is learned."""

from typing import Any

import pytest
from langchain_core.messages import SystemMessage

from langgraph_rlm.models.overflow import overflow_of
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root

SAID: list[tuple[str, int | None]] = [
    (
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens",
        8192,
    ),
    (
        "Error code: 400 - {'error': {'code': 'context_length_exceeded', 'message': 'Too long'}}",
        None,
    ),
    ("prompt is too long: 213462 tokens > 200000 maximum", 200_000),
    ("the request exceeds the available context size (4096 tokens), try increasing it", 4096),
    (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1048576,
    ),
    ("Input is too long for requested model.", None),
    ("This endpoint's maximum context length is 32,768 tokens.", 32_768),
    ("The prompt (total length 9000) is longer than the maximum model length of 8192", 8192),
]


@pytest.mark.parametrize(("said", "window"), SAID)
def test_the_window_is_read_from_a_providers_words(said: str, window: int | None) -> None:
    overflow = overflow_of(ValueError(said))
    assert overflow is not None
    assert overflow.window == window


@pytest.mark.parametrize(
    "said",
    [
        "Rate limit reached for gpt-5: 30000 tokens per min",
        "You exceeded your current quota",
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens",
        "Connection error.",
        "invalid model ID",
    ],
)
def test_other_failures_are_none(said: str) -> None:
    assert overflow_of(ValueError(said)) is None


class Small(ScriptedModel):
    """A model that refuses what is longer than its window, and says so."""

    window: int = 8192
    says_number: bool = True
    refused: int = 0

    def _scripted(self, messages: list[Any]) -> Any:
        tokens = sum(len(message.text) for message in messages) // 4
        if tokens > self.window:
            self.refused += 1
            number = f"{self.window} tokens" if self.says_number else "reached"
            raise ValueError(f"context_length_exceeded: maximum context length is {number}")
        if "about to be shortened" in messages[-1].text:
            return "So far: nothing found yet."
        if self.replies:
            return super()._scripted(messages)
        if any("summed them up" in message.text for message in messages):
            return cell("FINAL('found')")
        return cell("print(context[:6000])")


@pytest.mark.parametrize("says_number", [True, False])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_root_that_overflows_is_summed_up_and_asked_again(says_number: bool, depth: int) -> None:
    small = Small(says_number=says_number)
    context = "".join(f"line {number} of the log\n" for number in range(20_000))
    if depth == 0:
        graph = rlm(small, limits={"max_iterations": 12})
        out = graph.invoke({"query": "q", "context": context})
    else:
        graph = rlm(
            root("FINAL(rlm_query('q', context=context))"),
            sub=small,
            limits={"max_iterations": 12, "max_depth": 2},
        )
        out = graph.invoke({"query": "q", "context": context})
    assert (out["answer"], small.refused) == ("found", 1)


def test_what_an_error_said_is_known_from_then_on() -> None:
    small = Small()
    graph = rlm(small, limits={"max_iterations": 12})
    context = "".join(f"line {number} of the log\n" for number in range(20_000))
    for _ in range(2):
        assert graph.invoke({"query": "q", "context": context})["answer"] == "found"
    assert small.refused == 1
    assert graph.rlm.windows.of(small) == 8192


def test_a_first_message_that_does_not_fit_is_raised_once_and_not_for_ever() -> None:
    """There is nothing to sum up yet."""
    small = Small(window=300)
    with pytest.raises(ValueError, match="context_length_exceeded"):
        rlm(small).invoke({"query": "q"})
    assert small.refused == 1


def test_the_call_that_sums_up_fits_as_well() -> None:
    """Eight outputs that fill the window come in at once, from one reply."""
    first = "\n".join(cell(f"print('{number} ' * 4000)") for number in range(8))
    small = Small(replies=[first, cell("FINAL('found')")])
    out = rlm(small, limits={"max_iterations": 6}).invoke({"query": "q"})
    assert out["answer"] == "found"


def test_the_best_answer_at_a_limit_is_asked_for_within_the_window() -> None:
    class Long(Small):
        def _scripted(self, messages: list[Any]) -> Any:
            said = super()._scripted(messages)
            return "the best" if "Limit max_iterations" in messages[-1].text else said

    long = Long(window=6_000, replies=[cell("print('word ' * 1500)")])
    out = rlm(long, limits={"max_iterations": 3}).invoke({"query": "q"})
    assert (out["stop_reason"], out["answer"]) == ("max_iterations", "the best")


def test_a_window_that_is_given_keeps_conversation_and_outputs_below_it() -> None:
    small = Small(window=4_000)
    graph = rlm(small, window_tokens=4_000, limits={"max_iterations": 12})
    context = "word " * 20_000
    assert graph.invoke({"query": "q", "context": context})["answer"] == "found"
    assert small.refused == 0


@pytest.mark.parametrize("says_number", [True, False])
def test_a_sub_call_that_overflows_says_how_much_fits(says_number: bool) -> None:
    small = Small(window=1_000, says_number=says_number, replies=["short enough"])
    code = "FINAL([llm_query_batched(['x' * 10_000, 'y' * 100])[i][:200] for i in (0, 1)])"
    out = rlm(root(code), sub=small).invoke({"query": "q"})
    assert "the prompt has 10,000 characters, more than the model takes" in out["answer"]
    fits = "3,000" if says_number else "5,000"
    assert f"about {fits} fit" in out["answer"]
    assert "short enough" in out["answer"]
    assert not any(isinstance(messages[0], SystemMessage) for messages in small.prompts)
