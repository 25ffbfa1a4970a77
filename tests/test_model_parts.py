"""The models of a graph by their parts: options and fallbacks of each, and who is paid."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.caches import InMemoryCache
from langchain_openai import ChatOpenAI

from langgraph_rlm import ChatRLM, ConfigurationError, Limits, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import Body, OpenAIServer, Reply, environment_upstream

PRICES = {"root": {"input": 1, "output": 1}, "leaf": {"input": 10, "output": 10}}


def answer(body: Body) -> str | Reply:
    if body["model"].startswith("down"):
        return Reply(status=400, content="out of order")
    if body["model"].startswith("root"):
        return cell("FINAL(llm_query('x') + llm_query('y', model='other'))")
    return body["model"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, answer)


def sent(server: OpenAIServer, name: str) -> list[Any]:
    """What each model was asked with, by its name."""
    return [(body["model"], body.get(name)) for body in server.requests]


@pytest.mark.parametrize("by_name", [True, False])
def test_each_part_has_options_of_its_own(server: OpenAIServer, by_name: bool) -> None:
    def made(name: str) -> Any:
        return f"openai:{name}" if by_name else ChatOpenAI(model=name)

    graph = create_rlm(
        made("root"),
        sub_model=made("leaf"),
        models={"other": made("other")},
        model_options={
            "model": {"reasoning_effort": "high"},
            "sub_model": {"reasoning_effort": "low"},
            "other": {"max_tokens": 7},
        },
    )
    assert graph.invoke({"query": "q"})["answer"] == "leafother"
    assert sent(server, "reasoning_effort") == [("root", "high"), ("leaf", "low"), ("other", None)]
    assert sent(server, "max_completion_tokens")[-1] == ("other", 7)


def test_one_model_in_two_parts_has_the_options_of_each(server: OpenAIServer) -> None:
    graph = create_rlm(
        "openai:root",
        models={"other": "openai:other"},
        model_options={"sub_model": {"temperature": 0.5}, "model": {"temperature": 0}},
    )
    server.reply = lambda body: answer(body) if "code" in str(body) else "leaf"
    graph.invoke({"query": "q"})
    assert sent(server, "temperature")[:2] == [("root", 0), ("root", 0.5)]


def test_claude_takes_its_own(server: OpenAIServer) -> None:
    """Whatever a model's class has, also of a model that is given as one."""
    given: Any = {"api_key": "none"}
    claude = ChatAnthropic(model_name="claude-sonnet-4-6", **given)
    graph = create_rlm(claude, model_options={"model": {"max_tokens": 99}})
    assert graph.rlm.model.max_tokens == 99 and claude.max_tokens != 99  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"modle": {}}, "model_options has 'modle', which is none of this graph's models"),
        ({"model": {"reasoning_efort": "low"}}, "ChatOpenAI has no option 'reasoning_efort'. Did"),
        ({"sub_model": {"zzz": 1}}, "model_options\\['sub_model'\\]: ChatOpenAI has no option"),
        ({"model": {"model": "x"}}, "names a model. Give it as the model itself"),
        ({"model": "high"}, "must be a dict of dicts by part"),
        ({"model": {"temperature": "hot"}}, "cannot be used"),
    ],
)
@pytest.mark.filterwarnings("ignore:WARNING!")
def test_what_no_model_takes_is_refused(server: OpenAIServer, options: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        create_rlm("openai:root", model_options=options)
    with pytest.raises(ConfigurationError, match=told):
        ChatRLM(model="openai:root", model_options=options)


def test_of_a_model_that_is_made_its_client_stays(server: OpenAIServer) -> None:
    with pytest.raises(ConfigurationError, match="'timeout'=5, which a model takes only when"):
        create_rlm(ChatOpenAI(model="root"), model_options={"model": {"timeout": 5}})
    create_rlm("openai:root", model_options={"model": {"timeout": 5}})


def test_a_fallback_answers_and_is_the_one_that_is_paid(server: OpenAIServer) -> None:
    graph = create_rlm(
        "openai:down-root",
        sub_model="openai:down-leaf",
        models={"other": "openai:other"},
        fallbacks={"model": ["openai:root"], "sub_model": ["openai:down-too", "openai:leaf"]},
        prices=PRICES,
    )
    out = graph.invoke({"query": "q"})
    assert out["answer"] == "leafother"
    spent = out["usage"]["breakdown"]
    assert list(spent) == ["0/root", "1/leaf", "1/other"]
    for key, price in (("0/root", 1), ("1/leaf", 10)):
        tokens = spent[key]["input_tokens"] + spent[key]["output_tokens"]
        assert spent[key]["cost"] == pytest.approx(tokens * price / 1e6)
    assert spent["1/other"]["unpriced_calls"] == 1


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_chat_model_has_them_too(server: OpenAIServer, is_streamed: bool) -> None:
    model = ChatRLM(model="openai:down", fallbacks={"model": "openai:leaf"}, temperature=0.25)
    parts = model.stream("hello") if is_streamed else [model.invoke("hello")]
    assert "".join(str(part.text) for part in parts) == "leaf"
    assert sent(server, "temperature") == [("down", 0.25), ("leaf", 0.25)]


def test_a_key_stays_with_its_provider(server: OpenAIServer, monkeypatch: Any) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "claudes")
    others: Any = ["openai:leaf", "anthropic:claude-sonnet-4-6"]
    model = ChatRLM(model="openai:root", api_key="mine", fallbacks={"model": others})  # type: ignore[arg-type]
    same, other = model.root_model.fallbacks  # type: ignore[attr-defined]
    assert same.openai_api_key.get_secret_value() == "mine"
    assert other.anthropic_api_key.get_secret_value() == "claudes"


def test_a_limit_on_cost_needs_the_price_of_each_fallback(server: OpenAIServer) -> None:
    with pytest.raises(ConfigurationError, match="needs the price of mystery"):
        create_rlm(
            "openai:root",
            fallbacks={"model": ["openai:mystery"]},
            prices=PRICES,
            limits=Limits(max_cost=1),
        )


@pytest.mark.parametrize("streams", [True, False])
def test_what_comes_out_of_langchains_cache_costs_nothing(
    server: OpenAIServer, streams: bool
) -> None:
    """A cache across runs is LangChain's: `cache=` of a model, or `set_llm_cache`."""
    cache = InMemoryCache()
    leaf = ChatOpenAI(model="leaf", cache=cache)

    def asked() -> Any:
        root = ScriptedModel(replies=[cell("FINAL(llm_query('x'))")])
        graph = create_rlm(root, sub_model=leaf, prices=PRICES)
        if streams:
            *_, last = graph.stream({"query": "q"}, stream_mode=["messages", "values"])
            return last[1]
        return graph.invoke({"query": "q"})

    first, second = asked(), asked()
    assert (first["answer"], second["answer"], len(server.requests)) == ("leaf", "leaf", 1)
    paid, free = (out["usage"]["breakdown"]["1/leaf"] for out in (first, second))
    assert paid["cost"] > 0 and paid["model_calls"] == 1
    assert (free["model_calls"], free["input_tokens"], free["cost"]) == (0, 0, 0)
    assert second["usage"]["sub_calls"] == 1


def test_the_command_keeps_them_with_the_thread(server: OpenAIServer, tmp_path: Any) -> None:
    """A second question has them too; what says where a request goes is no such option."""
    from click.testing import CliRunner

    from langgraph_rlm.cli.main import main

    def run(*more: str) -> Any:
        db = ["--db", str(tmp_path / "t.db"), "--thread", "t", "--sandbox", "monty"]
        return CliRunner().invoke(main, ["ask", "What?", *db, *more])

    server.reply = lambda body: answer(body) if "down" in body["model"] else cell("FINAL('ok')")
    options = ["--model-option", "reasoning_effort=low", "--fallback", "openai:root"]
    first = run("-m", "openai:down", *options)
    assert first.exit_code == 0 and "ok" in first.output, first.output
    assert run().exit_code == 0
    efforts = sent(server, "reasoning_effort")
    assert efforts == [("down", "low"), ("root", None)] * 2
    for wrong in ("base_url=http://evil", "api_key=x", "nothing"):
        refused = run("--model-option", wrong)
        assert refused.exit_code == 2 and "is no option of a model" in refused.output
