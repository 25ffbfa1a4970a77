"""Models in every form that LangChain has: with fallbacks, with retries, with options bound, and those that do not stream."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import ChatRLM, ConfigurationError, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .openai_server import OpenAIServer, environment_upstream

PRICE: dict[str, Any] = {"name": "price", "description": "", "parameters": {"type": "object"}}


class Fails(ScriptedModel):
    """Fails a number of times, then answers."""

    times: int = 10**9

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        reply = super()._reply(messages)
        if self.calls <= self.times:
            raise RuntimeError("it failed")
        return reply


class OnlyGenerates(BaseChatModel):
    """A class of the user's own with the one method that it must have."""

    reply: Any = "good day"
    profile: Any = None

    @property
    def _llm_type(self) -> str:
        return "only-generates"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=tools, **kwargs)

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        message = AIMessage(self.reply) if isinstance(self.reply, str) else self.reply
        return ChatResult(generations=[ChatGeneration(message=message)])


class StreamsWhole(OnlyGenerates):
    """Streams, and its only part is the whole message."""

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        result = self._generate(messages)
        chunk = ChatGenerationChunk.model_construct(
            message=result.generations[0].message,
            text="",
            generation_info=None,
            type="ChatGenerationChunk",
        )
        yield chunk


def wrapped(model: Any) -> dict[str, Callable[[], Any]]:
    """Every wrapper that LangChain has, around a model."""
    return {
        "bind": lambda: model.bind(temperature=0),
        "with_config": lambda: model.with_config(tags=["mine"]),
        "with_retry": lambda: model.with_retry(wait_exponential_jitter=False),
        "with_fallbacks": lambda: Fails(answer=str).with_fallbacks([model]),
        "all of them": lambda: (
            Fails(answer=str)
            .bind(top_p=1)
            .with_fallbacks([model.with_retry()])
            .with_config(tags=["x"])
        ),
    }


NAMES = list(wrapped(None))


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapped_model_is_taken_wherever_a_model_is(name: str) -> None:
    root = ScriptedModel(
        replies=[cell("a, b = llm_query('x'), llm_query('y', model='other')\nFINAL(a + b)")]
    )
    sub = ScriptedModel(answer=lambda text: f"sub {text};")
    model, sub_model, other = (wrapped(each)[name]() for each in (root, sub, sub))
    out = create_rlm(model, sub_model=sub_model, models={"other": other}).invoke({"query": "q"})
    assert out["answer"] == "sub x;sub y;"
    chat = ChatRLM(model=model, sub_model=sub_model, models={"other": other}, direct_below_tokens=0)
    assert chat.invoke("?").text == "sub x;sub y;"


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapped_model_is_asked_directly(name: str) -> None:
    model = ChatRLM(model=wrapped(ScriptedModel(replies=["one two"]))[name]())
    assert model.invoke("?").text == "one two"
    assert "".join(chunk.text for chunk in model.stream("?")) == "one two"
    assert asyncio.run(model.ainvoke("?")).text == "one two"
    assert model._identifying_params["model_name"] == "rlm:scripted"


@pytest.mark.parametrize("name", NAMES)
def test_tools_are_bound_within_the_wrappers(name: str) -> None:
    """Every model in there has them: whichever answers may call them."""
    call = AIMessage("", tool_calls=[{"name": "price", "args": {}, "id": "a"}])
    for below in (0, 8_000):
        model = ScriptedModel(replies=[call, cell("FINAL('done')") if not below else "done"])
        bound = ChatRLM(
            model=wrapped(model)[name](), direct_below_tokens=below, checkpointer=InMemorySaver()
        ).bind_tools([PRICE])
        said: list[Any] = [HumanMessage("?")]
        reply = bound.invoke(said)
        assert [each["name"] for each in reply.tool_calls] == ["price"] and model.bound_tools
        said += [reply, ToolMessage("3", tool_call_id=reply.tool_calls[0]["id"])]
        assert bound.invoke(said).text == "done"


def test_retries_and_fallbacks_do_what_they_are_for() -> None:
    root = Fails(replies=[cell("FINAL('late')")], times=2)
    model = root.with_retry(stop_after_attempt=3, wait_exponential_jitter=False)
    assert create_rlm(model).invoke({"query": "q"})["answer"] == "late"
    assert root.calls == 3
    first, second = Fails(answer=str), ScriptedModel(answer=lambda _: "from the second")
    chat = ChatRLM(model=first.with_fallbacks([second]))
    assert chat.invoke("?").text == "from the second" and first.calls == 1
    with pytest.raises(RuntimeError, match="it failed"):
        ChatRLM(model=first.with_fallbacks([Fails(answer=str)])).invoke("?")


def test_what_is_bound_goes_with_every_call() -> None:
    asked: list[dict[str, Any]] = []

    class Listens(ScriptedModel):
        def _stream(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any
        ) -> Any:
            asked.append(given)
            yield from super()._stream(messages)

        async def _agenerate(
            self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any
        ) -> Any:
            asked.append(given)
            return await super()._agenerate(messages)

        _astream = BaseChatModel._astream

    model = Listens(replies=[cell("FINAL(1)")]).bind(thinking="hard")
    create_rlm(model).invoke({"query": "q"})
    ChatRLM(model=model).invoke("?", top_k=4)
    assert [given.get("thinking") for given in asked] == ["hard", "hard"]
    assert asked[1]["top_k"] == 4


def test_the_first_model_of_several_gives_name_profile_and_price() -> None:
    first = ScriptedModel(
        model_name="big", replies=[cell("FINAL(1)")], profile={"max_input_tokens": 7}
    )
    model = first.with_retry().with_fallbacks([ScriptedModel(model_name="small", replies=["x"])])
    out = create_rlm(model, prices={"big": {"input": 1, "output": 1}}).invoke({"query": "q"})
    assert set(out["usage"]["breakdown"]) == {"0/big"} and out["usage"]["cost"] > 0
    assert ChatRLM(model=first.bind(model="bound")).model_name == "rlm:bound"


@pytest.mark.parametrize(
    "wrong",
    [
        5,
        object(),
        lambda text: text,
        ChatPromptTemplate.from_template("{x}"),
        ChatPromptTemplate.from_template("{x}") | ScriptedModel(replies=["x"]),
        ScriptedModel(replies=["x"]).with_fallbacks([ChatPromptTemplate.from_template("{x}")]),
    ],
)
def test_what_is_no_model_is_refused(wrong: Any) -> None:
    for make in (
        lambda: create_rlm(wrong),
        lambda: create_rlm(ScriptedModel(replies=["x"]), sub_model=wrong),
        lambda: ChatRLM(model=wrong),
        lambda: ChatRLM(model=ScriptedModel(replies=["x"]), models={"a": wrong}),
    ):
        with pytest.raises(ConfigurationError, match="is not a chat model"):
            make()


# Models that do not stream


@pytest.mark.parametrize("kind", [OnlyGenerates, StreamsWhole])
def test_a_model_that_does_not_stream_answers_on_every_path(kind: Any) -> None:
    model = ChatRLM(model=kind())
    assert model.invoke("hi").text == "good day"
    assert "".join(part.text for part in model.stream("hi")) == "good day"
    assert asyncio.run(model.ainvoke("hi")).text == "good day"
    assert model.batch(["hi", "hi"])[1].text == "good day"
    loop = ChatRLM(
        model=kind(reply=cell("FINAL(llm_query('x'))")), sub_model=kind(), direct_below_tokens=0
    )
    assert loop.invoke("hi").text == "good day"
    assert "".join(part.text for part in loop.stream("hi")) == "good day"


@pytest.mark.parametrize("kind", [OnlyGenerates, StreamsWhole])
def test_its_tool_calls_usage_and_reason_come_too(kind: Any) -> None:
    reply = AIMessage(
        "I look.",
        tool_calls=[{"name": "price", "args": {"item": "tea"}, "id": "a"}],
        usage_metadata={"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
        response_metadata={"stop_reason": "tool_use"},
    )
    model = ChatRLM(model=kind(reply=reply)).bind_tools([PRICE])
    first, *rest = model.stream("hi")
    for got in (model.invoke("hi"), sum(rest, start=first)):
        assert (got.text, got.tool_calls[0]["args"]) == ("I look.", {"item": "tea"})
        assert got.usage_metadata == reply.usage_metadata
        assert got.response_metadata["finish_reason"] == "tool_calls"


def test_langchains_own_fake_model() -> None:
    model = ChatRLM(model=FakeMessagesListChatModel(responses=[AIMessage("good day")]))
    assert [model.invoke("hi").text, "".join(part.text for part in model.stream("hi"))] == [
        "good day"
    ] * 2


def test_a_message_with_a_role_of_its_own_is_a_reply() -> None:
    reply = ChatMessage(content="good day", role="model")
    assert ChatRLM(model=OnlyGenerates(reply=reply)).invoke("hi").text == "good day"


# OpenAI's, whose clients belong to an event loop


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    def reply(body: Any) -> Any:
        if body["model"] == "down":
            return {"status": 503}
        return cell("FINAL(llm_query('x'))") if body["model"] == "root" else "hello"

    yield from environment_upstream(monkeypatch, reply)


def test_wrapped_openai_models_over_several_event_loops(server: OpenAIServer) -> None:
    down: Any = ChatOpenAI(model="down", max_retries=0)
    root: Any = down.with_fallbacks([ChatOpenAI(model="root", max_retries=0).with_retry()])
    sub: Any = down.bind(seed=3).with_fallbacks([ChatOpenAI(model="sub").with_config(tags=["x"])])
    graph = create_rlm(root, sub_model=sub)
    for _ in range(3):
        assert asyncio.run(graph.ainvoke({"query": "q"}))["answer"] == "hello"
    assert graph.invoke({"query": "q"})["answer"] == "hello"
    chat = ChatRLM(model=sub)
    for _ in range(2):
        assert asyncio.run(chat.ainvoke("hi")).text == "hello"
    assert {body.get("seed") for body in server.requests if body["model"] == "down"} == {3, None}
