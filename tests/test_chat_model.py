"""`ChatRLM` as a chat model: what becomes of its input, what comes back, and what it passes on."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel, Field, field_validator

from langgraph_rlm import ChatRLM, ConfigurationError, InputError, Limits
from langgraph_rlm.testing import ScriptedModel, cell

from .models import echo, root, shown
from .openai_server import OpenAIServer
from .standard_replies import USAGE

LONG = "long text " * 1000
"""10,000 characters: about 2,500 tokens."""


def loop(*codes: str, model: ScriptedModel | None = None, **options: Any) -> ChatRLM:
    """The model without the direct path."""
    return ChatRLM(
        model=model or root(*codes),
        sub_model=ScriptedModel(answer=echo),
        direct_below_tokens=0,
        **options,
    )


class TestIntake:
    def test_system_and_developer_messages_are_instructions_and_never_data(self) -> None:
        model = root(
            "FINAL(context_info()['length'] if 'context' in str(SHOW_VARS()) else 'no context')"
        )
        developer = SystemMessage(
            "Only haikus.", additional_kwargs={"__openai_role__": "developer"}
        )
        loop(model=model, prompt="House rules.").invoke(
            [SystemMessage("Be brief."), HumanMessage("Hello"), developer]
        )
        system = model.prompts[0][0].text
        assert (
            system.index("House rules.") < system.index("Be brief.") < system.index("Only haikus.")
        )
        assert "There is no context" in shown(model, 0) and shown(model, 0).endswith("Hello")

    def test_a_long_instruction_stays_one(self) -> None:
        model = root("FINAL(1)")
        loop(model=model).invoke([SystemMessage(LONG), HumanMessage("Hello")])
        assert LONG.strip() in model.prompts[0][0].text

    def test_one_long_text_is_context_and_the_question_shows_its_ends(self) -> None:
        model = root("FINAL(len(context))")
        text = f"Count the words. {LONG} That is all."
        assert loop(model=model).invoke(text).text == str(len(text))
        assert "Count the words." in shown(model, 0) and "That is all." in shown(model, 0)
        assert len(shown(model, 0)) < 5_000

    def test_long_parts_of_a_message_are_contexts_and_the_short_ones_the_question(self) -> None:
        parts: list[Any] = [
            {"type": "text", "text": text}
            for text in ("Compare these.", LONG + "A", LONG + "B", "Be exact.")
        ]
        model = root("FINAL(context[-1] + context_1[-1])")
        assert loop(model=model).invoke([HumanMessage(parts)]).text == "AB"
        assert shown(model, 0).endswith(
            "Compare these.\n\nBe exact.\n\n(Longer parts of this message are in `context`, `context_1`.)"
        )

    def test_a_conversation_is_context_and_shown_when_it_is_short(self) -> None:
        said = [
            HumanMessage("My name is Ada."),
            AIMessage("Hello Ada."),
            HumanMessage("What is my name?"),
        ]
        model = root("FINAL(context[0]['content'])")
        assert loop(model=model).invoke(said).text == "My name is Ada."
        assert "User: My name is Ada.\n\nAssistant: Hello Ada." in shown(model, 0)
        model = root("FINAL(len(context))")
        assert loop(model=model).invoke([HumanMessage(LONG), *said]).text == "3"
        assert (
            "a list of 3 messages" in shown(model, 0)
            and "Ada." not in shown(model, 0).split("Question:")[1]
        )

    def test_results_after_the_question_are_there(self) -> None:
        call = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "x1"}])
        model = root("FINAL(context[-1]['content'])")
        assert (
            loop(model=model)
            .invoke([HumanMessage("Add."), call, ToolMessage("three", tool_call_id="x1")])
            .text
            == "three"
        )
        assert "[called add with {'a': 1}]" in shown(model, 0) and "Tool result: three" in shown(
            model, 0
        )

    def test_the_rule_can_be_set(self) -> None:
        model = root("FINAL(len(context) if context_info()['length'] else 0)")
        assert loop(model=model, context_rule=5).invoke("Hello World").text == "11"

        def rule(messages: list[BaseMessage]) -> dict[str, Any]:
            return {"query": "Sum up.", "context": [message.text for message in messages]}

        assert (
            loop(model=model, context_rule=rule)
            .invoke([SystemMessage("a"), HumanMessage("b")])
            .text
            == "2"
        )

    @pytest.mark.parametrize(
        "messages",
        [[], [SystemMessage("x")], [AIMessage("x")], [HumanMessage("")], [HumanMessage(" ")]],
    )
    def test_without_a_question_there_is_a_typed_error(self, messages: list[BaseMessage]) -> None:
        with pytest.raises(InputError, match="question"):
            loop("FINAL(1)").invoke(messages)

    def test_a_broken_image_is_refused_in_the_loop_and_passed_on_directly(self) -> None:
        image: list[Any] = [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        ]
        with pytest.raises(InputError, match="no image by its first bytes"):
            loop("FINAL(1)").invoke([HumanMessage(image)])
        model = ScriptedModel(replies=["a cat"])
        assert ChatRLM(model=model).invoke([HumanMessage(image)]).text == "a cat"
        assert model.prompts[0][0].content == image
        assert (
            loop("FINAL(len(context))")
            .invoke([HumanMessage(image), AIMessage("A cat."), HumanMessage("Thanks.")])
            .text
            == "2"
        )


class TestDirect:
    def test_below_the_threshold_the_root_model_is_asked_as_it_is(self) -> None:
        model = ScriptedModel(replies=["Hello yourself"])
        said = [SystemMessage("Be kind."), HumanMessage("Hello")]
        reply = ChatRLM(model=model).invoke(said)
        assert (reply.text, model.prompts) == ("Hello yourself", [said])
        about = reply.response_metadata
        assert (
            about["turns"],
            about["sub_calls"],
            about["stop_reason"],
            about["finish_reason"],
            about["thread_id"],
        ) == (
            0,
            0,
            "answered",
            "stop",
            None,
        )

    @pytest.mark.parametrize(("tokens", "direct"), [(2_000, False), (3_000, True), (0, False)])
    def test_the_threshold(self, tokens: int, direct: bool) -> None:
        model = root("FINAL(1)")
        ChatRLM(model=model, direct_below_tokens=tokens).invoke(LONG)
        assert (len(model.prompts[0]) == 1) is direct

    def test_tools_of_its_own_need_the_loop(self) -> None:
        def now() -> str:
            """The time."""
            return "noon"

        assert (
            ChatRLM(model=root("FINAL(now())"), tools=[now]).invoke("What time is it?").text
            == "noon"
        )

    def test_tokens_come_as_they_are_written(self) -> None:
        chunks = [
            chunk.text
            for chunk in ChatRLM(model=ScriptedModel(replies=["one two three"])).stream("Hello")
        ]
        assert chunks == ["one ", "two ", "three", ""]

    def test_a_model_without_tools_of_its_own_calls_the_bound_ones_from_code(self) -> None:
        class Plain(BaseChatModel):
            @property
            def _llm_type(self) -> str:
                return "plain"

            def _generate(
                self, messages: list[BaseMessage], *args: Any, **kwargs: Any
            ) -> ChatResult:
                return ChatResult(
                    generations=[ChatGeneration(message=AIMessage(cell("FINAL(weather('Rome'))")))]
                )

        tool = {
            "name": "weather",
            "description": "",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
        (call,) = ChatRLM(model=Plain()).bind_tools([tool]).invoke("?").tool_calls
        assert call["args"] == {"city": "Rome"}


class TestStreaming:
    def test_progress_is_reasoning_the_answer_text_and_the_last_chunk_says_the_rest(self) -> None:
        chunks = list(loop("a = llm_query('x')\nprint('seen')", "FINAL('The answer.')").stream("?"))
        kinds = [[block["type"] for block in chunk.content_blocks] for chunk in chunks]
        answered = kinds.index(["text"])
        assert answered > 3 and all(kind == ["reasoning"] for kind in kinds[:answered])
        assert all(isinstance(chunk.content, str) for chunk in chunks)
        assert "".join(chunk.text for chunk in chunks) == "The answer."
        reasoning = "".join(
            block["reasoning"]
            for chunk in chunks
            for block in chunk.content_blocks
            if block["type"] == "reasoning"
        )
        assert all(
            part in reasoning
            for part in (
                "Turn 1 of 30",
                "a = llm_query('x')",
                "llm_query: 1 of 1 answered",
                "ok: seen",
                "Turn 2",
            )
        )
        last = chunks[-1]
        assert last.chunk_position == "last" and last.usage_metadata is not None
        assert {
            "model_name",
            "finish_reason",
            "thread_id",
            "turns",
            "sub_calls",
            "stop_reason",
        } <= set(last.response_metadata)
        assert all(chunk.usage_metadata is None for chunk in chunks[:-1])

    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_leaving_a_stream_cancels_the_run(self, way: str) -> None:
        """The model would take a minute to reply; nothing of the run is left behind."""
        model = loop(model=ScriptedModel(replies=[cell("FINAL(1)")], seconds=60))

        async def left() -> None:
            stream = model.astream("?")
            await anext(stream)
            await stream.aclose()
            for _ in range(500):
                if not (others := asyncio.all_tasks() - {asyncio.current_task()}):
                    break
                await asyncio.sleep(0.01)
            assert not others

        if way == "async":
            asyncio.run(left())
        else:
            stream = model.stream("?")
            next(stream)
            stream.close()

    def test_batches_and_many_callers(self) -> None:
        model = loop("FINAL(context[:3])", context_rule=1)
        asked = [f"{n:03d} numbers" for n in range(12)]
        assert [reply.text for reply in model.batch(asked)] == [text[:3] for text in asked]
        assert [reply.text for reply in asyncio.run(model.abatch(asked))] == [
            text[:3] for text in asked
        ]


class TestReplies:
    def test_usage_is_summed_over_the_tree_with_its_details(self) -> None:
        details: Any = {
            "input_token_details": {"cache_read": 30},
            "output_token_details": {"reasoning": 7},
        }

        def reply(text: str) -> AIMessage:
            return AIMessage(
                text,
                usage_metadata={
                    "input_tokens": 100,
                    "output_tokens": 10,
                    "total_tokens": 110,
                    **details,
                },
            )

        model = ScriptedModel(
            replies=[reply(cell("a = llm_query_batched(['x', 'y'])")), reply(cell("FINAL(a[0])"))]
        )
        answer = ChatRLM(
            model=model,
            sub_model=ScriptedModel(answer=lambda _: reply("sub")),
            direct_below_tokens=0,
        ).invoke("?")
        assert answer.usage_metadata == {
            "input_tokens": 400,
            "output_tokens": 40,
            "total_tokens": 440,
            "input_token_details": {"cache_read": 120},
            "output_token_details": {"reasoning": 28},
        }
        assert (answer.response_metadata["turns"], answer.response_metadata["sub_calls"]) == (2, 2)

    def test_a_counter_of_tokens_counts_once(self) -> None:
        counter = UsageMetadataCallbackHandler()
        answer = loop("a = llm_query('x')", "FINAL(a)").invoke("?", {"callbacks": [counter]})
        assert counter.usage_metadata == {"rlm:scripted": answer.usage_metadata}

    def test_a_limit_ends_in_its_best_answer_and_says_so(self) -> None:
        model = ScriptedModel(replies=[cell("x = 1"), "The best I have."])
        reply = loop(model=model, limits=Limits(max_iterations=1)).invoke("?")
        assert (reply.text, reply.response_metadata["finish_reason"]) == (
            "The best I have.",
            "length",
        )
        assert reply.response_metadata["stop_reason"] == "max_iterations"

    @pytest.mark.parametrize("given", ["call", "constructor"])
    def test_stop_sequences_cut_the_answer_and_not_the_code(self, given: str) -> None:
        model = loop(
            "x = 'one END two'\nFINAL(x)", stop=["END"] if given == "constructor" else None
        )
        assert model.invoke("?", stop=["END", "two"] if given == "call" else None).text == "one "

    def test_what_it_says_of_itself(self) -> None:
        model = loop("FINAL(1)", owner="alice")
        assert model._llm_type == "rlm"
        params = model._get_ls_params()
        assert (params["ls_provider"], params["ls_model_name"], params["ls_model_type"]) == (
            "langgraph_rlm",
            "rlm:scripted",
            "chat",
        )
        assert model._identifying_params["sub_model"] == "scripted"
        with pytest.raises(ConfigurationError, match="names no provider"):
            ChatRLM(model="gpt-5")


class Person(BaseModel):
    """A person."""

    name: str
    age: int = Field(ge=0)

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name == "Eve":
            raise ValueError("nobody knows her")
        return name


ADA = {"name": "Ada", "age": 36}


class TestStructured:
    @pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
    @pytest.mark.parametrize("direct", [True, False])
    def test_every_method_on_both_paths(self, method: Any, direct: bool) -> None:
        native = (
            AIMessage("", tool_calls=[{"name": "Person", "args": ADA, "id": "x"}])
            if method == "function_calling"
            else json.dumps(ADA)
        )
        model = ScriptedModel(replies=[native]) if direct else root(f"FINAL({ADA})")
        chat = ChatRLM(model=model, direct_below_tokens=8_000 if direct else 0)
        assert chat.with_structured_output(Person, method=method).invoke("Who?") == Person(**ADA)
        raw = chat.with_structured_output(
            Person.model_json_schema(), method=method, include_raw=True
        ).invoke("Who?")
        assert (raw["parsed"], raw["parsing_error"], raw["raw"].type) == (ADA, None, "ai")
        if not direct and method != "json_mode":
            assert raw["raw"].response_metadata["thread_id"]

    def test_a_wrong_answer_goes_back_to_the_model_with_the_reason(self) -> None:
        """The class's own validators included."""
        model = root(
            "FINAL({'name': 'Eve', 'age': 1})", "FINAL({'name': 'Ada', 'age': -1})", f"FINAL({ADA})"
        )
        assert loop(model=model).with_structured_output(Person).invoke("Who?") == Person(**ADA)
        assert "nobody knows her" in shown(model, 1) and "greater than or equal to 0" in shown(
            model, 2
        )
        direct = ScriptedModel(replies=['{"name": "Eve", "age": 1}', json.dumps(ADA)])
        assert ChatRLM(model=direct).with_structured_output(Person).invoke("Who?") == Person(**ADA)
        assert direct.calls == 2

    def test_what_cannot_be_parsed_is_told_with_include_raw(self) -> None:
        model = ScriptedModel(replies=[cell("x = 1"), "no JSON at all"])
        out = (
            loop(model=model, limits=Limits(max_iterations=1))
            .with_structured_output(Person, include_raw=True)
            .invoke("Who?")
        )
        assert (out["parsed"], out["raw"].text) == (None, "no JSON at all")
        assert out["parsing_error"] is not None

    @pytest.mark.parametrize(
        "response_format",
        [
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "person",
                    "strict": True,
                    "schema": Person.model_json_schema(),
                },
            },
            Person.model_json_schema(),
            Person,
            {"type": "json_object"},
        ],
        ids=["openai", "schema", "pydantic", "object"],
    )
    def test_the_forms_of_response_format(self, response_format: Any) -> None:
        assert (
            json.loads(loop(f"FINAL({ADA})").invoke("Who?", response_format=response_format).text)
            == ADA
        )
        with pytest.raises(InputError, match="needs 'json_schema'"):
            loop("FINAL(1)").invoke("Who?", response_format={"type": "json_schema"})

    def test_an_unknown_method(self) -> None:
        with pytest.raises(ValueError, match="is none of"):
            loop("FINAL(1)").with_structured_output(Person, method="telepathy")  # type: ignore[arg-type]


class TestOverHttp:
    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
        with OpenAIServer(
            reply=lambda body: {
                "content": cell("FINAL(llm_query('x'))") if body["model"] == "root" else "hello",
                "usage": USAGE,
            }
        ) as running:
            monkeypatch.setenv("OPENAI_API_KEY", "from the environment")
            yield running

    def test_what_is_given_goes_to_the_models_given_by_name(self, server: OpenAIServer) -> None:
        model = ChatRLM(
            model="openai:root",
            sub_model="openai:sub",
            temperature=0.5,
            max_tokens=77,
            timeout=9,
            max_retries=1,
            api_key="given",
            base_url=server.url,
            direct_below_tokens=0,
        )
        assert model.invoke("?", top_p=0.1, seed=3, temperature=0.25).text == "hello"
        first, second = server.requests
        assert (
            first["model"],
            first["temperature"],
            first["top_p"],
            first["seed"],
        ) == (
            "root",
            0.25,
            0.1,
            3,
        )
        assert (second["model"], second["temperature"]) == ("sub", 0.5)
        assert "top_p" not in second
        # it bounds the answer, and not the turns that write code
        assert not [body for body in (first, second) if "max_completion_tokens" in body]
        assert {headers["Authorization"] for headers in server.headers} == {"Bearer given"}

    @pytest.mark.parametrize("way", ["sync", "async"])
    def test_a_direct_stream_has_usage_with_details(self, server: OpenAIServer, way: str) -> None:
        model = ChatRLM(model="openai:sub", base_url=server.url)

        async def parts() -> list[AIMessageChunk]:
            return [chunk async for chunk in model.astream("?")]

        chunks = list(model.stream("?")) if way == "sync" else asyncio.run(parts())
        assert [chunk.usage_metadata for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
        assert chunks[-1].usage_metadata is not None
        assert chunks[-1].usage_metadata["input_token_details"] == {"cache_read": 10}

    def test_one_model_over_several_event_loops(self, server: OpenAIServer) -> None:
        model = ChatRLM(
            model="openai:root", sub_model="openai:sub", base_url=server.url, direct_below_tokens=0
        )
        for _ in range(3):
            assert asyncio.run(model.ainvoke("?")).text == "hello"
        assert model.invoke("?").text == "hello"


def test_owners_share_models_and_nothing_else() -> None:
    saver = InMemorySaver()
    one = loop("FINAL(1)", checkpointer=saver, owner="one")
    threads = {
        model.invoke("?").response_metadata["thread_id"] for model in (one, one.for_owner("two"))
    }
    assert len(threads) == 2
    assert one.for_owner("two").model is one.model
