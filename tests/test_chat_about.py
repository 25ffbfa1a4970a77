"""What `ChatRLM` says of itself: how much it takes, how many tokens that is, and what it has spent."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.callbacks import UsageMetadataCallbackHandler, get_usage_metadata_callback
from langchain_core.messages import AIMessage, HumanMessage, trim_messages
from langchain_core.tracers.base import BaseTracer
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from langgraph_rlm import ChatRLM, ConfigurationError
from langgraph_rlm.chat.about import WINDOW
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, root, shown
from .openai_server import OpenAIServer, environment_upstream


def loop(*codes: str, **options: Any) -> ChatRLM:
    options = {"sub_model": ScriptedModel(answer=echo), "direct_below_tokens": 0} | options
    return ChatRLM(model=options.pop("model", None) or root(*codes), **options)


class TestProfile:
    def test_it_takes_contexts_of_any_size_whatever_its_root_takes(self) -> None:
        small = ScriptedModel(
            replies=["x"],
            profile={"max_input_tokens": 8_000, "max_output_tokens": 5, "image_inputs": True},
        )
        for model in (small, small.with_retry(), ScriptedModel(replies=["x"])):
            profile = ChatRLM(model=model).profile
            assert profile is not None and profile["max_input_tokens"] == WINDOW
            assert profile["tool_calling"] and profile["structured_output"]
            assert "max_output_tokens" not in profile
        assert (ChatRLM(model=small).profile or {})["image_inputs"]
        assert ChatRLM(model=small, profile={"max_input_tokens": 5}).profile == {
            "max_input_tokens": 5
        }

    def test_a_summarizing_middleware_leaves_the_history_to_the_rlm(self) -> None:
        """A history of twice the root model's window, at which the middleware would sum up."""
        model = root("FINAL(len(context))")
        model.profile = {"max_input_tokens": 8_000}
        chat = ChatRLM(model=model, direct_below_tokens=0)
        middleware = SummarizationMiddleware(chat, trigger=("fraction", 0.5), keep=("messages", 2))
        agent = create_agent(chat, middleware=[middleware])
        said: list[Any] = []
        for number in range(40):
            said += [HumanMessage(f"{number} " + "word " * 300), AIMessage("noted")]
        out = agent.invoke({"messages": [*said, HumanMessage("How many?")]})
        assert out["messages"][-1].text == "80" and model.calls == 1

    def test_usage_of_a_tree_is_not_taken_for_a_long_history(self) -> None:
        """A run spends more than its messages are long; the middleware counts the messages."""
        usage: Any = {"input_tokens": 10**6, "output_tokens": 1, "total_tokens": 10**6 + 1}
        replies = [AIMessage(cell("FINAL('hello')"), usage_metadata=usage)]
        model = ScriptedModel(replies=replies)
        chat = ChatRLM(model=model, direct_below_tokens=0)
        middleware = SummarizationMiddleware(chat, trigger=("tokens", 1_000), keep=("messages", 1))
        agent = create_agent(chat, middleware=[middleware])
        out = agent.invoke({"messages": "hi"})
        out = agent.invoke({"messages": [*out["messages"], HumanMessage("and?")]})
        assert model.calls == 2 and len(out["messages"]) == 4

    @pytest.mark.parametrize("strategy", [ProviderStrategy, ToolStrategy, None])
    def test_agents_get_structured_answers(self, strategy: Any) -> None:
        """By the profile, LangChain asks for OpenAI's format where nothing else is said."""

        class Found(BaseModel):
            city: str

        def look() -> str:
            """Look."""
            return "Rome"

        code = "x = look()\nFINAL({'city': x})"
        if strategy is ToolStrategy:
            code = "x = look()\nFINAL({'name': 'Found', 'arguments': {'city': x}})"
        form: Any = Found if strategy is None else strategy(Found)
        agent: Any = create_agent(loop(code), tools=[look], response_format=form)
        out = agent.invoke({"messages": "Where?"})
        assert out["structured_response"] == Found(city="Rome")


class TestTokens:
    @pytest.fixture
    def offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The files of OpenAI's counter are on the internet."""
        import tiktoken

        def fails(*_: object) -> Any:
            raise ConnectionError("no network")

        for name in ("encoding_for_model", "get_encoding"):
            monkeypatch.setattr(tiktoken, name, fails)

    def test_the_root_model_counts(self) -> None:
        class Counts(ScriptedModel):
            def get_num_tokens(self, text: str) -> int:
                return len(text.split())

            def get_num_tokens_from_messages(self, messages: Any, tools: Any = None) -> int:
                return 1000 * len(messages) + len(tools or [])

            def get_token_ids(self, text: str) -> list[int]:
                return [7]

        for model in (Counts(replies=["x"]), Counts(replies=["x"]).with_retry()):
            chat = ChatRLM(model=model)
            assert chat.get_num_tokens("a b c") == 3
            assert chat.get_num_tokens_from_messages([HumanMessage("x")], tools=[1]) == 1001
            assert chat.get_token_ids("x") == [7]

    def test_a_model_that_only_knows_texts_counts_messages_too(self) -> None:
        class Counts(ScriptedModel):
            def get_num_tokens(self, text: str) -> int:
                return 5

        model = ChatRLM(model=Counts(replies=["x"]))
        assert model.get_num_tokens_from_messages([HumanMessage("x"), AIMessage("y")]) == 10

    def test_one_that_cannot_count_is_estimated_without_more_packages(self, offline: None) -> None:
        openai: Any = ChatOpenAI(model="gpt-4o", api_key="x")  # pyright: ignore[reportArgumentType]
        unknown: Any = ChatOpenAI(model="qwen3", api_key="x", base_url="http://127.0.0.1:9/v1")  # pyright: ignore[reportArgumentType]
        for model in (ScriptedModel(replies=["x"]), openai, unknown):
            chat = ChatRLM(model=model)
            assert chat.get_num_tokens("word " * 400) == 500
            assert 450 < chat.get_num_tokens_from_messages([HumanMessage("word " * 400)]) < 550

    def test_trim_messages_takes_it_as_its_counter(self) -> None:
        said = [HumanMessage("a " * 200), AIMessage("b"), HumanMessage("c")]
        model = ChatRLM(model=ScriptedModel(replies=["x"]))
        kept: Any = trim_messages(said, max_tokens=20, token_counter=model, strategy="last")
        assert kept == said[1:]


class Seen(BaseTracer):
    """Keeps the runs that it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def _persist_run(self, run: Any) -> None:
        pass

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> Any:
        self.names.append(kwargs["invocation_params"].get("model_name") or "inner")
        return super().on_chat_model_start(*args, **kwargs)


class Silent(ScriptedModel):
    """A model whose provider says of usage what `says` is."""

    says: Any = None

    def _reply(self, messages: list[Any]) -> AIMessage:
        return super()._reply(messages).model_copy(update={"usage_metadata": self.says})


class TestUsage:
    """One call of one model, whoever counts, and from wherever."""

    @pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
    @pytest.mark.parametrize("below", [0, 8_000])
    def test_a_context_manager_counts_once(self, way: str, below: int) -> None:
        replies = ["hello"] if below else [cell("a = llm_query('x')\nFINAL(a)")]
        chat = loop(model=ScriptedModel(replies=replies), direct_below_tokens=below)

        async def ask() -> Any:
            if way == "ainvoke":
                return await chat.ainvoke("?")
            parts = [part async for part in chat.astream("?")]
            return sum(parts[1:], start=parts[0])

        with get_usage_metadata_callback() as counter:
            if way.startswith("a"):
                reply = asyncio.run(ask())
            elif way == "invoke":
                reply = chat.invoke("?")
            else:
                first, *rest = chat.stream("?")
                reply = sum(rest, start=first)
        assert counter.usage_metadata == {"rlm:scripted": reply.usage_metadata}

    @pytest.mark.parametrize("way", ["callback", "context"])
    def test_in_an_agent_too(self, way: str) -> None:
        agent = create_agent(loop("a = llm_query('x')\nFINAL(a)"))
        handler = UsageMetadataCallbackHandler()
        if way == "callback":
            out = agent.invoke({"messages": "?"}, {"callbacks": [handler]})
            counted = handler.usage_metadata
        else:
            with get_usage_metadata_callback() as counter:
                out = agent.invoke({"messages": "?"})
            counted = counter.usage_metadata
        assert counted == {"rlm:scripted": out["messages"][-1].usage_metadata}

    @pytest.mark.parametrize("way", ["invoke", "stream"])
    @pytest.mark.parametrize(
        ("said", "counted", "estimated"),
        [
            (None, (1_000, 100), 1),
            ((0, 0), (1_000, 100), 1),
            ((7, 0), (7, 100), 1),
            ((0, 7), (1_000, 7), 1),
            ((5, 3), (5, 3), 0),
        ],
    )
    def test_what_a_provider_does_not_say_is_estimated_and_marked(
        self, way: str, said: Any, counted: tuple[int, int], estimated: int
    ) -> None:
        """Asked directly, as in a run."""
        usage: Any = None
        if said is not None:
            usage = {"input_tokens": said[0], "output_tokens": said[1], "total_tokens": sum(said)}
        model = Silent(answer=lambda _: "y" * 400, says=usage)
        chat = ChatRLM(model=model)
        reply: Any = chat.invoke("x" * 4_000)
        if way == "stream":
            first, *rest = chat.stream("x" * 4_000)
            reply = sum(rest, start=first)
        got = reply.usage_metadata
        assert (got["input_tokens"], got["output_tokens"]) == counted
        assert got["total_tokens"] == sum(counted)
        assert reply.response_metadata["estimated_calls"] == estimated

    def test_each_try_is_estimated(self) -> None:
        model = Silent(replies=["y" * 400, '{"x": 1}'], says=None)
        reply: Any = ChatRLM(model=model).invoke(
            "x" * 4_000, response_format={"type": "json_object"}
        )
        assert reply.usage_metadata["input_tokens"] > 2_000
        assert reply.response_metadata["estimated_calls"] == 2

    def test_a_run_says_so_too(self) -> None:
        sub_model = Silent(answer=lambda _: "y", says=None)
        reply = loop("FINAL(llm_query('x') + llm_query('z'))", sub_model=sub_model).invoke("?")
        assert reply.response_metadata["estimated_calls"] == 2

    def test_tracers_still_see_what_is_inside(self) -> None:
        tracer = Seen()
        with get_usage_metadata_callback():
            loop("a = llm_query('x')\nFINAL(a)").invoke("?", {"callbacks": [tracer]})
        assert tracer.names[0] == "rlm:scripted" and len(tracer.names) == 3


class TestWindow:
    def test_the_window_of_a_root_can_be_set(self) -> None:
        """Its conversation is summed up at a share of it."""
        for options, sums_up in ({}, False), ({"window_tokens": 4_000, "compact_at": 0.5}, True):
            model = root(*[f"print('{number} ' * 700)" for number in range(6)])
            loop(model=model, limits={"max_iterations": 5}, **options).invoke("?")
            asked = [shown(model, number) for number in range(model.calls)]
            assert any("about to be shortened" in text for text in asked) is sums_up

    @pytest.mark.parametrize(
        "wrong", [{"window_tokens": 0}, {"window_tokens": "8k"}, {"compact_at": 2}]
    )
    def test_a_wrong_one_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            loop("FINAL(1)", **wrong)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "hello")


def test_streams_of_openai_models_report_their_usage(server: OpenAIServer) -> None:
    """LangChain asks for it only where there is no base URL. Whoever says no is not asked."""
    ChatRLM(model="openai:m").invoke("?")
    off: Any = ChatOpenAI(model="m", stream_usage=False)
    ChatRLM(model=off).invoke("?")
    assert [body.get("stream_options") for body in server.requests] == [
        {"include_usage": True},
        None,
    ]
