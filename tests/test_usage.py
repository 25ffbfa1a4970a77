"""Usage is counted always: from streams, from providers that say nothing, and from halves."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root
from .openai_server import OpenAIServer, Reply


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    with OpenAIServer(reply=lambda body: "leaf") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        yield server


def answer(body: dict[str, Any], usage: Any) -> Reply:
    text = cell("FINAL(llm_query('x' * 4000))") if body["model"] == "root" else "y" * 400
    return Reply(content=text, usage=usage)


class Silent(ScriptedModel):
    """A model whose provider says of usage what `says` is."""

    says: Any = None

    def _reply(self, messages: list[Any]) -> AIMessage:
        return super()._reply(messages).model_copy(update={"usage_metadata": self.says})


@pytest.mark.parametrize("streams", [True, False])
def test_of_models_by_name_it_comes_with_streams_too(server: OpenAIServer, streams: bool) -> None:
    usage = {"prompt_tokens": 1_000, "completion_tokens": 10}
    server.reply = lambda body: answer(body, usage)
    graph = create_rlm("openai:root", sub_model="openai:leaf")
    given: Any = {"query": "q"}
    if streams:
        *_, last = graph.stream(given, stream_mode=["messages", "values"])
        out = last[1]
    else:
        out = graph.invoke(given)
    assert (out["usage"]["input_tokens"], out["usage"]["output_tokens"]) == (2_000, 20)
    assert "estimated_calls" not in out["usage"]


@pytest.mark.parametrize(
    ("says", "estimated"),
    [
        (None, True),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, True),
        ({"input_tokens": 1000, "output_tokens": 0, "total_tokens": 1000}, True),
        ({"input_tokens": 0, "output_tokens": 100, "total_tokens": 100}, True),
        ({"input_tokens": None, "output_tokens": None, "total_tokens": None}, True),
        ({"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}, False),
    ],
)
def test_what_a_provider_does_not_say_is_estimated_and_marked(says: Any, estimated: bool) -> None:
    sub = Silent(answer=lambda _: "y" * 400, says=says)
    out = rlm(root("FINAL(llm_query('x' * 4000))"), sub=sub).invoke({"query": "q"})
    spent = out["usage"]["breakdown"]["1/scripted"]
    assert (spent["input_tokens"], spent["output_tokens"]) == (1_000, 100)
    assert spent.get("estimated_calls", 0) == int(estimated)
    assert out["usage"].get("estimated_calls", 0) == int(estimated)


@pytest.mark.parametrize("limit", ["max_tokens", "max_cost"])
def test_limits_hold_by_the_estimate(limit: str) -> None:
    """Two thousand characters a turn, and nothing said: the limit comes all the same."""
    model = Silent(answer=lambda _: cell("print('x' * 3000)"), says=None, model_name="m")
    limits = {"max_tokens": 20_000} if limit == "max_tokens" else {"max_cost": 0.02}
    out = rlm(
        model,
        limits={**limits, "max_iterations": 30},
        prices={"m": {"input": 1, "output": 1}, "scripted": {"input": 1, "output": 1}},
    ).invoke({"query": "q"})
    assert out["stop_reason"] == limit
    sent = sum(len(message.text) for prompt in model.prompts for message in prompt) // 4
    assert sent <= 21_000


def test_thoughts_and_calls_count_where_nothing_is_said() -> None:
    thinking = AIMessage(
        [{"type": "thinking", "thinking": "z" * 4_000}, {"type": "text", "text": "y" * 400}]
    )

    sub = Silent(replies=[thinking])
    out = rlm(root("FINAL(llm_query('x'))"), sub=sub).invoke({"query": "q"})
    assert out["usage"]["breakdown"]["1/scripted"]["output_tokens"] >= 1_000
