"""Answers of `ChatRLM`: what bounds them, what form they have, and what is not an answer: cut off, filtered, refused."""

import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

from langgraph_rlm import ChatRLM, InputError, ModelReplyError, RLMError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import root
from .openai_server import OpenAIServer, environment_upstream, last_message

LONG = "long text " * 4_000
ANY = {"type": "json_object"}


class Answer(BaseModel):
    """An answer."""

    x: int = Field(ge=0)


SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "Answer", "schema": Answer.model_json_schema()},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAIServer]:
    yield from environment_upstream(monkeypatch, lambda body: "42")


class TestMaxTokens:
    """`max_tokens` is about the answer: four bytes of UTF-8 are a token."""

    @pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens", "constructor"])
    def test_it_cuts_the_answer_of_a_run_and_says_so(self, given: str) -> None:
        more = {"max_tokens": 3} if given == "constructor" else {}
        model = ChatRLM(model=root("FINAL('a' * 100)"), direct_below_tokens=0, **more)
        options = {} if given == "constructor" else {given: 3}
        reply = model.invoke("?", **options)
        assert (reply.text, reply.response_metadata["finish_reason"]) == ("a" * 12, "length")
        assert reply.response_metadata["stop_reason"] == "answered"
        streamed = list(model.stream("?", **options))
        assert "".join(chunk.text for chunk in streamed) == "a" * 12

    def test_a_calls_own_goes_before_the_models(self) -> None:
        model = ChatRLM(model=root("FINAL('a' * 100)"), direct_below_tokens=0, max_tokens=3)
        assert model.invoke("?", max_tokens=5).text == "a" * 20

    @pytest.mark.parametrize(
        ("answer", "tokens", "kept", "reason"),
        [
            ("abcd", 1, "abcd", "stop"),
            ("abcde", 1, "abcd", "length"),
            ("äöüß", 2, "äöüß", "stop"),
            ("äöüßx", 2, "äöüß", "length"),
            ("日本語", 1, "日", "length"),
            ("", 1, "", "stop"),
        ],
    )
    def test_no_character_is_cut_in_half(
        self, answer: str, tokens: int, kept: str, reason: str
    ) -> None:
        model = ChatRLM(model=root(f"FINAL({answer!r})"), direct_below_tokens=0)
        reply = model.invoke("?", max_tokens=tokens)
        assert (reply.text, reply.response_metadata["finish_reason"]) == (kept, reason)

    def test_turns_that_write_code_do_not_get_it(self, server: OpenAIServer) -> None:
        """Nor sub-calls, nor a run that asks for its best answer."""
        server.reply = lambda body: (
            cell("FINAL(llm_query('x'))") if body["model"] == "root" else "from the sub-model"
        )
        model = ChatRLM(
            model="openai:root", sub_model="openai:sub", max_tokens=2, direct_below_tokens=0
        )
        assert model.invoke("?").text == "from the"
        assert model.invoke("?", max_completion_tokens=1).text == "from"
        assert len(server.requests) == 4
        assert not [b for b in server.requests if {"max_tokens", "max_completion_tokens"} & set(b)]

    @pytest.mark.parametrize("given", ["max_tokens", "max_completion_tokens", "constructor"])
    def test_a_model_that_is_asked_directly_gets_it(self, server: OpenAIServer, given: str) -> None:
        more = {"max_tokens": 7} if given == "constructor" else {}
        model = ChatRLM(model="openai:m", **more)
        model.invoke("?", **({} if more else {given: 7}))
        assert server.requests[0]["max_completion_tokens"] == 7

    @pytest.mark.parametrize("field", ["max_tokens", "max_output_tokens", "num_predict", None])
    def test_other_makes_get_it_as_they_call_it(self, field: str | None) -> None:
        asked: list[Any] = []

        class Other(ScriptedModel):
            max_tokens: int = 0
            max_output_tokens: int = 0
            num_predict: int = 0

            async def _astream(
                self, messages: Any, stop: Any = None, run_manager: Any = None, **given: Any
            ) -> Any:
                asked.append({**self.__dict__, **given})
                async for chunk in super()._astream(messages):
                    yield chunk

        for name in ("max_tokens", "max_output_tokens", "num_predict"):
            if name != field:
                del Other.model_fields[name]
        ChatRLM(model=Other(answer=lambda _: "x")).invoke("?", max_tokens=7)
        assert asked[0][field or "max_tokens"] == 7

    @pytest.mark.parametrize("wrong", [0, -1, 1.5, "7", True])
    def test_a_wrong_one_is_refused(self, wrong: Any) -> None:
        with pytest.raises(InputError, match=r"max_tokens=.* must be a whole number"):
            ChatRLM(model=root("FINAL(1)")).invoke("?", max_tokens=wrong)

    def test_tool_calls_are_never_cut(self) -> None:
        model = ChatRLM(
            model=root("FINAL({'city': 'a' * 100})"), direct_below_tokens=0, max_tokens=2
        )
        tool = {
            "name": "go",
            "description": "",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        }
        reply = model.bind_tools([tool], tool_choice="go").invoke("?")
        assert reply.tool_calls[0]["args"] == {"city": "a" * 100}

    def test_json_that_it_cut_off_is_text(self) -> None:
        model = ChatRLM(model=root("FINAL({'x': 12345678})"), direct_below_tokens=0)
        reply = model.invoke("?", response_format=SCHEMA, max_tokens=2)
        assert (reply.text, reply.response_metadata["finish_reason"]) == ('{"x": 12', "length")


class TestShortInputs:
    """A short input's answer is held to its form as a long one's is."""

    REPLIES: ClassVar = {
        "right": '{"x": 1}',
        "in thoughts": '<think>An object, say {"x": 2}?</think>\n{"x": 1}',
        "in prose": 'Sure! Here it is: {"x": 1}',
        "in a fence": 'Here:\n```json\n{"x": 1}\n```',
    }
    WRONG: ClassVar = {
        "a wrong field": '{"y": 1}',
        "a wrong value": '{"x": -1}',
        "prose": "I do not know.",
        "nothing": "",
    }

    def scripted(self, text: str) -> tuple[Any, Any]:
        model = ScriptedModel(replies=[text, '{"x": 1}'])
        return model, model

    @pytest.mark.parametrize("name", REPLIES)
    @pytest.mark.parametrize("kind", ["openai", "other"])
    def test_the_value_is_found_at_once(self, server: OpenAIServer, name: str, kind: str) -> None:
        text = self.REPLIES[name]
        server.reply = lambda body: text
        model = ChatRLM(model="openai:m" if kind == "openai" else ScriptedModel(replies=[text]))
        assert model.with_structured_output(Answer).invoke("Give x.") == Answer(x=1)
        assert json.loads(model.invoke("Give x.", response_format=SCHEMA).text) == {"x": 1}
        assert len(server.requests) == (2 if kind == "openai" else 0)

    @pytest.mark.parametrize("name", WRONG)
    @pytest.mark.parametrize("kind", ["openai", "other"])
    def test_a_wrong_one_is_asked_for_again_with_the_reason(
        self, server: OpenAIServer, name: str, kind: str
    ) -> None:
        text = self.WRONG[name]
        server.reply = lambda body: text if len(body["messages"]) == 1 else '{"x": 1}'
        other = ScriptedModel(replies=[text, '{"x": 1}'])
        model = ChatRLM(model="openai:m" if kind == "openai" else other)
        assert model.with_structured_output(Answer).invoke("Give x.") == Answer(x=1)
        if kind == "openai":
            assert [body["response_format"]["type"] for body in server.requests] == [
                "json_schema"
            ] * 2
            assert "does not match" in last_message(server.requests[1])
        else:
            assert "does not match" in other.prompts[1][-1].text

    @pytest.mark.parametrize("kind", ["openai", "other"])
    @pytest.mark.parametrize("response_format", [ANY, SCHEMA])
    def test_one_that_never_comes_is_an_error_that_says_what_was_said(
        self, server: OpenAIServer, kind: str, response_format: Any
    ) -> None:
        server.reply = lambda body: "I would rather talk about it."
        other = ScriptedModel(answer=lambda _: "I would rather talk about it.")
        model = ChatRLM(model="openai:m" if kind == "openai" else other)
        with pytest.raises(ModelReplyError, match="rather talk") as raised:
            model.invoke("Give x.", response_format=response_format)
        assert "in 3 tries" in str(raised.value) and "another model" in str(raised.value)
        assert isinstance(raised.value, RLMError)
        assert max(len(server.requests), other.calls) == 3

    def test_a_schema_that_nothing_can_match_blames_the_schema(self) -> None:
        endless = {"type": "object", "properties": {"x": {"$ref": "https://example.com/x.json"}}}
        model = ChatRLM(model=ScriptedModel(answer=lambda _: '{"x": 1}'))
        with pytest.raises(InputError, match="response_format"):
            model.invoke("Give x.", response_format=endless)

    def test_every_try_is_in_the_usage(self) -> None:
        def reply(text: str) -> AIMessage:
            usage: Any = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
            return AIMessage(text, usage_metadata=usage)

        model = ChatRLM(model=ScriptedModel(replies=[reply("no"), reply("no"), reply('{"x": 1}')]))
        got = model.invoke("Give x.", response_format=SCHEMA)
        assert got.usage_metadata is not None and got.usage_metadata["total_tokens"] == 33

    @pytest.mark.parametrize("kind", ["openai", "other"])
    def test_tools_beside_a_form_may_be_called(self, server: OpenAIServer, kind: str) -> None:
        """OpenAI's own client refuses tools that are not strict beside a format."""
        calls = [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
        server.reply = lambda body: {"message": {"tool_calls": calls}}
        message = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "a"}])
        model = ChatRLM(model="openai:m" if kind == "openai" else ScriptedModel(replies=[message]))
        bound = model.bind_tools(
            [{"name": "look", "description": "", "parameters": {"type": "object"}}]
        )
        reply = bound.invoke("Give x.", response_format=SCHEMA)
        assert [call["name"] for call in reply.tool_calls] == ["look"]
        if kind == "openai":
            assert server.requests[0]["tools"] and server.requests[0]["response_format"]

    def test_a_model_that_calls_responses_gets_the_form_there(self) -> None:
        from langgraph_rlm.models.ask import takes_formats
        from langgraph_rlm.pregel.keys import uses_responses_api

        new: Any = ChatOpenAI(model="m", api_key="x", use_responses_api=True)  # pyright: ignore[reportArgumentType]
        old: Any = ChatOpenAI(model="m", api_key="x")  # pyright: ignore[reportArgumentType]
        assert (uses_responses_api(new, []), uses_responses_api(old, [])) == (True, False)
        assert takes_formats(new) and not takes_formats(
            old.with_fallbacks([ScriptedModel(answer=str)])
        )

    def test_a_body_of_the_models_own_stays(self, server: OpenAIServer) -> None:
        server.reply = lambda body: '{"x": 1}'
        own: Any = ChatOpenAI(model="m", extra_body={"top_k": 4})
        ChatRLM(model=own).invoke("Give x.", response_format=SCHEMA)
        assert server.requests[0]["top_k"] == 4 and server.requests[0]["response_format"]


class TestNotWhole:
    """Cut off, filtered, refused: no further try, OpenAI's reason, and the text that there is."""

    @pytest.mark.parametrize(
        ("finish", "reason"), [("length", "length"), ("content_filter", "content_filter")]
    )
    @pytest.mark.parametrize("form", [None, SCHEMA, ANY])
    def test_json_that_was_cut_off_is_given_as_it_is(
        self, server: OpenAIServer, finish: str, reason: str, form: Any
    ) -> None:
        server.reply = lambda body: {"content": '{"x": ', "finish": finish}
        options = {"response_format": form} if form else {}
        reply = ChatRLM(model="openai:m").invoke("Give x.", **options)
        assert (reply.text.strip(), reply.response_metadata["finish_reason"]) == ('{"x":', reason)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("form", [None, SCHEMA])
    def test_a_refusal_is_shown_as_one(self, server: OpenAIServer, form: Any) -> None:
        server.reply = lambda body: {
            "message": {"refusal": "I cannot."},
            "deltas": [{"refusal": " Not"}, {"refusal": " that."}],
        }
        options = {"response_format": form} if form else {}
        model = ChatRLM(model="openai:m")
        reply = model.invoke("Give x.", **options)
        said = "I cannot." if form else "I cannot. Not that."
        assert (reply.text, reply.additional_kwargs["refusal"]) == ("", said)
        assert reply.response_metadata["finish_reason"] == "stop"
        first, *rest = model.stream("Give x.", **options)
        assert sum(rest, start=first).additional_kwargs["refusal"] == said
        assert len(server.requests) == 2

    def test_a_refusal_is_a_parsing_error_that_says_so(self, server: OpenAIServer) -> None:
        server.reply = lambda body: {"message": {"content": None, "refusal": "I cannot."}}
        model = ChatRLM(model="openai:m")
        with pytest.raises(ModelReplyError, match="refused: 'I cannot"):
            model.with_structured_output(Answer).invoke("Give x.")
        out = model.with_structured_output(Answer, include_raw=True).invoke("Give x.")
        assert out["parsed"] is None and "I cannot." in str(out["parsing_error"])

    def test_an_answer_that_was_cut_off_is_one_too(self, server: OpenAIServer) -> None:
        server.reply = lambda body: {"content": '{"x": ', "finish": "length"}
        with pytest.raises(ModelReplyError, match="cut off"):
            ChatRLM(model="openai:m").with_structured_output(Answer).invoke("Give x.")

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ({"stop_reason": "max_tokens"}, "length"),
            ({"finish_reason": "MAX_TOKENS"}, "length"),
            ({"stop_reason": "end_turn"}, "stop"),
            ({"stop_reason": "stop_sequence"}, "stop"),
            ({"finish_reason": "SAFETY"}, "content_filter"),
            ({"stop_reason": "refusal"}, "content_filter"),
            ({"finish_reason": "tool_calls"}, "stop"),
            ({"finish_reason": "something_new"}, "stop"),
            ({}, "stop"),
        ],
    )
    def test_other_providers_reasons_in_openais_words(self, said: Any, reason: str) -> None:
        from .test_wrapped_models import OnlyGenerates

        model = ChatRLM(model=OnlyGenerates(reply=AIMessage("x", response_metadata=said)))
        assert model.invoke("?").response_metadata["finish_reason"] == reason


class TestThoughts:
    """Asked directly, a model's thoughts are no reply."""

    def texts(self, model: ChatRLM) -> list[str]:
        return [model.invoke("?").text, "".join(part.text for part in model.stream("?"))]

    @pytest.mark.parametrize(
        "text",
        [
            "<think>Well ... hello?</think>hello",
            "[THINK]Well[/THINK]hello",
            "<thinking>\nWell\n</thinking>\n\nhello",
            "<|channel|>analysis<|message|>Well<|end|><|start|>assistant<|channel|>final<|message|>hello",
        ],
    )
    def test_they_are_left_out_whole_and_streamed(self, text: str) -> None:
        assert [
            said.strip() for said in self.texts(ChatRLM(model=ScriptedModel(answer=lambda _: text)))
        ] == ["hello"] * 2

    def test_a_model_whose_template_opens_them_is_known_from_its_second_reply_on(self) -> None:
        """What was shown of the first one cannot be taken back."""
        model = ChatRLM(model=ScriptedModel(answer=lambda _: "Well then.\n</think>\nhello"))
        model.invoke("?")
        assert [said.strip() for said in self.texts(model)] == ["hello"] * 2

    def test_blocks_of_reasoning_stay_reasoning(self) -> None:
        from .test_wrapped_models import OnlyGenerates

        blocks: Any = [
            {"type": "reasoning", "reasoning": "Well."},
            {"type": "text", "text": "hello"},
        ]
        reply = ChatRLM(model=OnlyGenerates(reply=AIMessage(blocks))).invoke("?")
        assert reply.text == "hello"
        assert [block["type"] for block in reply.content_blocks] == ["reasoning", "text"]


@pytest.mark.parametrize("below", [0, 8_000], ids=["loop", "direct"])
def test_structured_answers_keep_the_order_of_their_keys(below: int) -> None:
    """Streamed, whole, as a value and as the arguments of a forced call."""
    given = {"z": 1, "x": 2, "nested": {"b": 1, "a": 2}, "a": 3}
    text = json.dumps(given) if below else cell(f"FINAL({given!r})")
    schema = {"title": "Answer", "type": "object", "properties": {"a": {}, "x": {}, "z": {}}}
    model = ChatRLM(model=ScriptedModel(answer=lambda _: text), direct_below_tokens=below)
    replies = [
        model.invoke("?", response_format=ANY).text,
        model.invoke("?", response_format=schema).text,
        "".join(part.text for part in model.stream("?", response_format=schema)),
        json.dumps(model.with_structured_output(schema).invoke("?")),
    ]
    if not below:
        tool = {"name": "go", "description": "", "parameters": {"type": "object", **schema}}
        tool["parameters"]["additionalProperties"] = True
        (call,) = model.bind_tools([tool], tool_choice="go").invoke("?").tool_calls
        replies.append(json.dumps(call["args"]))
    for reply in replies:
        assert list(json.loads(reply)) == list(given)
        assert list(json.loads(reply)["nested"]) == ["b", "a"]
