"""External tools: given as schemas, run by the caller, called from code or by the root model itself."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from langgraph_rlm import ResumeError, create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, shown, thread

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS},
}


class weather(BaseModel):
    """The weather."""

    city: str
    days: int = Field(default=1, ge=1)


class Weather(TypedDict):
    """The weather."""

    city: str
    days: int


@tool("weather")
def weather_tool(city: str, days: int = 1) -> str:
    """The weather."""
    raise AssertionError("the body of an external tool is never run")


@pytest.fixture(params=["live", "cold"])
def idle(request: pytest.FixtureRequest) -> int:
    return 32 if request.param == "live" else 0


def graph_of(model: ScriptedModel, idle: int = 32, **options: Any) -> Any:
    graph = rlm(
        model,
        external_tools=options.pop("external_tools", [WEATHER]),
        checkpointer=options.pop("checkpointer", InMemorySaver()),
        **options,
    )
    graph.rlm.sessions.max_idle = idle
    return graph


def pauses(out: dict[str, Any]) -> list[Any]:
    return [pause.value for pause in out["__interrupt__"]]


def native(*calls: tuple[str, dict[str, Any]], text: str = "") -> AIMessage:
    """A reply with tool calls of the model's own."""
    return AIMessage(
        text,
        tool_calls=[
            {"name": name, "args": args, "id": f"id{index}"}
            for index, (name, args) in enumerate(calls)
        ],
    )


class TestFromCode:
    @pytest.mark.parametrize(
        "given",
        [
            WEATHER,
            {
                "type": "function",
                "name": "weather",
                "description": "The weather.",
                "parameters": PARAMETERS,
            },
            WEATHER["function"],
            {"name": "weather", "description": "The weather.", "input_schema": PARAMETERS},
            {"title": "weather", "description": "The weather.", **PARAMETERS},
            weather,
            weather_tool,
        ],
        ids=["openai", "responses", "function", "anthropic", "json schema", "pydantic", "tool"],
    )
    def test_every_kind_of_schema(self, given: Any, idle: int) -> None:
        model = root("FINAL(weather('Rome', days=3)['sky'])")
        graph = graph_of(model, idle, external_tools=[given])
        (pause,) = pauses(graph.invoke({"query": "q"}, thread()))
        assert (pause["type"], pause["name"], pause["args"]) == (
            "external_tool_call",
            "weather",
            {"city": "Rome", "days": 3},
        )
        assert graph.invoke(Command(resume={"sky": "blue"}), thread())["answer"] == "blue"
        assert "weather(city: str, days: int = " in model.prompts[0][0].text
        assert "The weather." in model.prompts[0][0].text

    def test_a_typed_dict_and_a_function(self) -> None:
        def rain(city: str) -> bool:
            """Does it rain?"""
            raise AssertionError

        graph = graph_of(
            root("FINAL([Weather('Rome', 1), rain('Rome')])"), external_tools=[Weather, rain]
        )
        graph.invoke({"query": "q"}, thread())
        graph.invoke(Command(resume="dry"), thread())
        assert json.loads(graph.invoke(Command(resume=False), thread())["answer"]) == ["dry", False]

    @pytest.mark.parametrize(
        ("answer", "got"),
        [
            ("text", "text"),
            ({}, {}),
            ([1, None], [1, None]),
            (0, 0),
            ({"error": "no such city"}, "weather failed: no such city"),
            ({"error": None, "sky": "blue"}, {"error": None, "sky": "blue"}),
            (ToolMessage("from a message", tool_call_id="x"), "from a message"),
            (ToolMessage("broken", tool_call_id="x", status="error"), "weather failed: broken"),
            (weather(city="Rome"), {"city": "Rome", "days": 1}),
        ],
    )
    @pytest.mark.parametrize("by_id", [True, False])
    def test_results_and_errors(self, answer: Any, got: Any, by_id: bool) -> None:
        graph = graph_of(
            root(
                "try:\n    got = weather('Rome')\nexcept RuntimeError as error:\n    got = str(error)\nFINAL([got])"
            )
        )
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        out = graph.invoke(Command(resume={pause.id: answer} if by_id else answer), thread())
        assert json.loads(out["answer"]) == [got]

    def test_none_is_a_result_when_it_has_an_id(self) -> None:
        graph = graph_of(root("FINAL([weather('Rome')])"))
        (pause,) = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        assert json.loads(graph.invoke(Command(resume={pause.id: None}), thread())["answer"]) == [
            None
        ]

    def test_what_is_no_json_is_refused_and_the_call_waits(self) -> None:
        graph = graph_of(root("FINAL(weather('Rome'))"))
        graph.invoke({"query": "q"}, thread())
        with pytest.raises(ResumeError, match=r"result of weather .* must be a JSON value"):
            graph.invoke(Command(resume=object()), thread())
        assert graph.invoke(Command(resume="dry"), thread())["answer"] == "dry"

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            ("weather(5)", "city: 5 is not of type 'string'"),
            ("weather('Rome', days=0)", "days: 0 is less than the minimum of 1"),
            ("weather()", "'city' is a required property"),
            ("weather('Rome', wind=1)", "unknown wind"),
        ],
    )
    def test_the_schema_is_checked_before_anybody_is_asked(self, call: str, said: str) -> None:
        graph = graph_of(
            root(f"try:\n    {call}\nexcept TypeError as error:\n    FINAL(str(error))")
        )
        assert said in graph.invoke({"query": "q"}, thread())["answer"]

    @pytest.mark.parametrize("pattern", ["^(a+)+$", r"^(?=b)(a+)+$"], ids=["RE2", "re"])
    def test_a_pattern_that_backtracks_holds_nobody_up(self, pattern: str) -> None:
        """Code picks the text: with Python's `re`, this one would take longer than the universe has; lookarounds still work."""
        schema = {
            "name": "buy",
            "parameters": {
                "type": "object",
                "properties": {"code": {"type": "string", "pattern": pattern}},
            },
        }
        graph = rlm(
            [
                cell(
                    "try:\n    buy('a' * 60 + '!')\nexcept Exception as error:\n    FINAL(str(error))"
                )
            ],
            external_tools=[schema],
            checkpointer=InMemorySaver(),
        )
        assert "does not match" in graph.invoke({"query": "q"}, thread())["answer"]

    def test_a_name_that_is_no_identifier_is_one_in_code(self) -> None:
        graph = graph_of(
            root("FINAL(get_weather())"),
            external_tools=[{"name": "get-weather", "description": "", "parameters": {}}],
        )
        assert pauses(graph.invoke({"query": "q"}, thread()))[0]["name"] == "get-weather"

    def test_children_call_them_too_and_each_result_reaches_its_own_call(self, idle: int) -> None:
        sub = ScriptedModel(replies=[cell("FINAL(weather(context))")])
        code = "FINAL(rlm_query_batched(['w'] * 3, contexts=['Rome', 'Oslo', 'Bonn']))"
        graph = graph_of(root(code), idle, sub=sub, limits={"max_depth": 2})
        out = graph.invoke({"query": "q"}, thread())
        assert len({pause["id"] for pause in pauses(out)}) == 3
        for pause in reversed(out["__interrupt__"]):
            out = graph.invoke(
                Command(resume={pause.id: f"in {pause.value['args']['city']}"}), thread()
            )
        assert json.loads(out["answer"]) == ["in Rome", "in Oslo", "in Bonn"]


class TestNative:
    def test_a_call_of_the_models_own_pauses_and_its_result_comes_back_as_a_message(
        self, idle: int
    ) -> None:
        model = ScriptedModel(
            replies=[
                native(("weather", {"city": "Rome"}), text="Let me ask."),
                cell("FINAL('dry')"),
            ]
        )
        graph = graph_of(model, idle)
        (pause,) = pauses(graph.invoke({"query": "q"}, thread()))
        assert pause == {
            "type": "external_tool_call",
            "name": "weather",
            "args": {"city": "Rome"},
            "id": "id0",
        }
        assert model.bound_tools == [WEATHER]
        assert graph.invoke(Command(resume={"sky": "blue"}), thread())["answer"] == "dry"
        reply, result = model.prompts[1][-2:]
        assert (
            reply.text,
            [(call["name"], call["args"], call["id"]) for call in reply.tool_calls],
        ) == (
            "Let me ask.",
            [("weather", {"city": "Rome"}, "id0")],
        )
        assert (result.type, result.text, result.tool_call_id, result.status) == (
            "tool",
            '{"sky": "blue"}',
            "id0",
            "success",
        )
        assert graph.rlm.sessions.idle == (1 if idle else 0)

    @pytest.mark.parametrize("together", [True, False])
    def test_several_at_once_in_any_order_over_several_graphs(
        self, together: bool, tmp_path: Path
    ) -> None:
        """Each answer is given to a graph made anew over the same file, as another process would."""
        calls = [("weather", {"city": city}) for city in ("Rome", "Oslo", "Bonn")]
        replies = [native(*calls), cell("FINAL('done')")]
        models: list[ScriptedModel] = []

        async def step(given: Any) -> dict[str, Any]:
            async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as saver:
                models.append(ScriptedModel(replies=replies))
                return await graph_of(models[-1], checkpointer=saver).ainvoke(given, thread())

        out = asyncio.run(step({"query": "q"}))
        answers = {
            pause.id: f"in {pause.value['args']['city']}"
            for pause in reversed(out["__interrupt__"])
        }
        for part in [answers] if together else [{id: answer} for id, answer in answers.items()]:
            out = asyncio.run(step(Command(resume=part)))
        assert out["answer"] == "done"
        assert sum(model.calls for model in models) == 2
        assert [(message.tool_call_id, message.text) for message in models[-1].prompts[0][-3:]] == [
            ("id0", "in Rome"),
            ("id1", "in Oslo"),
            ("id2", "in Bonn"),
        ]

    def test_code_beside_a_call_runs_after_it_and_an_answer_beside_it_does_not_count(
        self, idle: int
    ) -> None:
        text = (
            cell("x = llm_query('one')") + cell("print(x, weather('Oslo'))") + "\nFINAL(too early)"
        )
        model = ScriptedModel(
            replies=[native(("weather", {"city": "Rome"}), text=text), cell("FINAL(x)")]
        )
        graph = graph_of(model, idle, limits={"max_sub_calls": 5})
        assert pauses(graph.invoke({"query": "q"}, thread()))[0]["args"] == {"city": "Rome"}
        assert model.calls == 1
        assert pauses(graph.invoke(Command(resume="dry"), thread()))[0]["args"] == {"city": "Oslo"}
        assert graph.invoke(Command(resume="wet"), thread())["answer"] == "len=3"
        assert [message.type for message in model.prompts[1][-3:]] == ["ai", "tool", "human"]
        assert "len=3 wet" in shown(model, 1)

    @pytest.mark.parametrize("text", ["FINAL(too early)", "FINAL_VAR(x)", ""])
    def test_an_answer_in_prose_beside_a_call_is_only_prose(self, text: str) -> None:
        model = ScriptedModel(
            replies=[native(("weather", {"city": "Rome"}), text=text), cell("FINAL('late')")]
        )
        graph = graph_of(model)
        graph.invoke({"query": "q"}, thread())
        assert graph.invoke(Command(resume="dry"), thread())["answer"] == "late"
        assert model.prompts[1][-1].type == "tool"

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            (("weather", {}), "'city' is a required property"),
            (("weather", {"city": 5}), "5 is not of type 'string'"),
            (("nothing", {}), "There is no tool 'nothing'"),
            (("llm_query", {"prompt": "x"}), "Functions of the REPL are called in code"),
        ],
    )
    def test_a_wrong_call_is_an_answer_not_a_crash(self, call: Any, said: str) -> None:
        model = ScriptedModel(replies=[native(call), cell("FINAL('recovered')")])
        assert graph_of(model).invoke({"query": "q"}, thread())["answer"] == "recovered"
        assert (model.prompts[1][-1].type, model.prompts[1][-1].status) == ("tool", "error")
        assert said in shown(model, 1)

    def test_arguments_that_are_no_json_and_a_call_without_an_id(self) -> None:
        broken = AIMessage(
            "",
            tool_calls=[{"name": "weather", "args": {"city": "Rome"}, "id": None}],
            invalid_tool_calls=[
                {"name": "weather", "args": '{"city": ', "id": "bad", "error": "cut"}
            ],
        )
        model = ScriptedModel(replies=[broken, cell("FINAL('ok')")])
        graph = graph_of(model)
        (pause,) = pauses(graph.invoke({"query": "q"}, thread()))
        assert pause["id"]
        assert graph.invoke(Command(resume="dry"), thread())["answer"] == "ok"
        first, second = model.prompts[1][-2:]
        assert (first.tool_call_id, first.text) == (pause["id"], "dry")
        assert (second.tool_call_id, second.status) == ("bad", "error")
        assert "not valid JSON" in second.text

    def test_an_error_of_the_caller_and_a_result_that_is_too_long(self) -> None:
        model = ScriptedModel(
            replies=[
                native(("weather", {"city": "Rome"}), ("weather", {"city": "Oslo"})),
                cell("FINAL('ok')"),
            ]
        )
        graph = graph_of(model, limits={"max_output_chars": 1000})
        first, second = graph.invoke({"query": "q"}, thread())["__interrupt__"]
        graph.invoke(
            Command(
                resume={first.id: {"error": "no such city"}, second.id: "a" * 5000 + "z" * 5000}
            ),
            thread(),
        )
        assert [message.text for message in model.prompts[1][-2:-1]] == ["Error: no such city"]
        assert len(shown(model, 1)) < 1100
        assert shown(model, 1).endswith("zzz")

    def test_turns_with_calls_count_and_the_best_answer_sees_them(self) -> None:
        model = ScriptedModel(
            replies=[
                native(("weather", {"city": "Rome"})),
                native(("weather", {"city": "Oslo"})),
                "best so far",
            ]
        )
        graph = graph_of(model, limits={"max_iterations": 2})
        graph.invoke({"query": "q"}, thread())
        graph.invoke(Command(resume="dry"), thread())
        out = graph.invoke(Command(resume="wet"), thread())
        assert (out["answer"], out["stop_reason"]) == ("best so far", "max_iterations")
        assert [message.text for message in model.prompts[2] if message.type == "tool"] == [
            "dry",
            "wet",
        ]

    def test_each_continuation_sends_each_result_once(self) -> None:
        turns = [native(("weather", {"city": city})) for city in ("Rome", "Oslo", "Bonn")]
        for index, reply in enumerate(turns):
            reply.tool_calls[0]["id"] = f"id{index}"
        model, saver = ScriptedModel(replies=[*turns, "FINAL(it is done)"]), InMemorySaver()
        graph_of(model, checkpointer=saver).invoke({"query": "q"}, thread())
        for _ in turns:
            out = graph_of(model, checkpointer=saver).invoke(Command(resume="dry"), thread())
        assert out["answer"] == "it is done"
        sent = [
            [message.tool_call_id for message in prompt if isinstance(message, ToolMessage)]
            for prompt in model.prompts
        ]
        assert sent == [[], ["id0"], ["id0", "id1"], ["id0", "id1", "id2"]]

    @pytest.mark.parametrize("late", ["best so far", native(("weather", {"city": "Rome"}))])
    def test_a_call_at_a_limit_is_refused_and_the_answer_asked_for_again(self, late: Any) -> None:
        """A model that goes on calling gets the last word from what its code has shown, never an empty answer."""
        model = ScriptedModel(
            replies=[cell("print('seen so far')"), native(("weather", {"city": "Rome"})), late]
        )
        out = rlm(
            model,
            external_tools=[WEATHER],
            limits={"max_iterations": 1},
            checkpointer=InMemorySaver(),
        ).invoke({"query": "q"}, thread())
        assert (out["answer"], out["stop_reason"]) == (
            late if isinstance(late, str) else "seen so far",
            "max_iterations",
        )
        assert model.calls == 3
        assert [message.type for message in model.prompts[-1][-2:]] == ["ai", "tool"]
        assert "limit max_iterations is reached" in model.prompts[-1][-1].text

    def test_a_question_in_place_of_a_result_leaves_no_call_without_its_message(self) -> None:
        """Providers refuse a conversation in which a tool call has no result."""
        model = ScriptedModel(
            replies=[
                native(("weather", {"city": "Rome"}), text=cell("x = 1")),
                cell("FINAL('went on')"),
            ]
        )
        graph = graph_of(model)
        graph.invoke({"query": "q"}, thread())
        assert graph.invoke({"query": "never mind"}, thread())["answer"] == "went on"
        (result,) = [message for message in model.prompts[1] if message.type == "tool"]
        assert (result.tool_call_id, result.status) == ("id0", "error")

    def test_streamed_replies_carry_their_calls(self) -> None:
        model = ScriptedModel(
            replies=[native(("weather", {"city": "Rome"}), text="two words"), cell("FINAL('dry')")]
        )
        graph = graph_of(model)
        tokens = [
            message
            for message, _ in graph.stream({"query": "q"}, thread(), stream_mode="messages")
            if isinstance(message, AIMessageChunk)
        ]
        assert "".join(token.text for token in tokens) == "two words"
        assert graph.invoke(Command(resume="blue"), thread())["answer"] == "dry"

    def test_children_call_them_in_code_alone(self) -> None:
        model = ScriptedModel(replies=[cell("FINAL(rlm_query('w'))")])
        sub = ScriptedModel(replies=[cell("FINAL(weather('Rome'))")])
        graph = graph_of(model, sub=sub, limits={"max_depth": 2})
        graph.invoke({"query": "q"}, thread())
        assert (len(model.bound_tools), sub.bound_tools) == (1, [])

    def test_a_model_that_takes_no_tools_calls_them_in_code(self) -> None:
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

        graph = create_rlm(Plain(), external_tools=[WEATHER], checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        assert graph.invoke(Command(resume="dry"), thread())["answer"] == "dry"

    def test_a_run_rebuilt_from_its_log_knows_the_calls(self) -> None:
        """A follow-up on a new graph replays the cells and shows the earlier calls."""
        saver = InMemorySaver()
        replies = [
            native(("weather", {"city": "Rome"}), text=cell("x = 41")),
            cell("x += 1\nFINAL(x)"),
            cell("FINAL(x)"),
        ]
        graph_of(ScriptedModel(replies=replies), checkpointer=saver).invoke(
            {"query": "q"}, thread()
        )
        assert (
            graph_of(ScriptedModel(replies=replies), checkpointer=saver).invoke(
                Command(resume="dry"), thread()
            )["answer"]
            == "42"
        )
        model = ScriptedModel(replies=replies)
        assert (
            graph_of(model, checkpointer=saver).invoke({"query": "again"}, thread())["answer"]
            == "42"
        )
        assert [message.text for message in model.prompts[0] if message.type == "tool"] == ["dry"]


def test_without_a_checkpointer_the_pause_is_shown_and_cannot_be_answered() -> None:
    graph = rlm([cell("FINAL(weather('Rome'))")], external_tools=[WEATHER])
    assert pauses(graph.invoke({"query": "q"}))[0]["name"] == "weather"
    with pytest.raises(RuntimeError, match="without checkpointer"):
        graph.invoke(Command(resume="dry"))
