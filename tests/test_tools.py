"""Tools that the graph runs itself: whatever LangChain takes as a tool is a function in code, checked and plain on both sides."""

import asyncio
import dataclasses
import json
import threading
from datetime import date
from enum import Enum
from typing import Annotated, Any

import pytest
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import (
    BaseTool,
    InjectedToolArg,
    InjectedToolCallId,
    StructuredTool,
    Tool,
    ToolException,
    tool,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import InjectedState, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from pydantic import BaseModel, Field, field_validator

from langgraph_rlm import ConfigurationError
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, shown, thread


def run(code: str, *tools: Any, **options: Any) -> Any:
    """The answer of one cell, as JSON where it is."""
    answer = rlm([cell(code)], tools=tools, limits={"max_iterations": 1}, **options).invoke(
        {"query": "q"}
    )["answer"]
    try:
        return json.loads(answer)
    except ValueError:
        return answer


def add(a: int, b: int = 10) -> int:
    """Add two numbers."""
    return a + b


async def slow_add(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0.01)
    return a + b


class Upper(BaseTool):
    name: str = "upper"
    description: str = "Upper case."

    def _run(self, text: str) -> str:
        return text.upper()


class Item(BaseModel):
    name: str
    count: int = 1


@tool
def order(items: list[Item], note: str | None = None) -> str:
    """Order items."""
    return f"{sum(item.count for item in items)} {note}"


SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}


class TestCalls:
    @pytest.mark.parametrize(
        ("call", "answer"),
        [
            ("add(1, 2)", 3),
            ("add(1)", 11),
            ("add(b=1, a=5)", 6),
            ("slow_add(1, b=2)", 3),
            ("upper('x')", "X"),
            ("shout('hey')", "HEY!"),
            ("order([{'name': 'tea', 'count': 2}, {'name': 'jam'}], note='soon')", "3 soon"),
            ("get_weather('Rome', days=2)", "Rome 2"),
            ("[add(n, n) for n in range(3)]", [0, 2, 4]),
        ],
    )
    def test_every_kind_of_tool_by_position_and_by_name(self, call: str, answer: Any) -> None:
        weather = StructuredTool(
            name="get-weather",
            description="w",
            args_schema=SCHEMA,
            func=lambda city, days=1: f"{city} {days}",
        )
        shout = Tool(name="shout", description="Shout.", func=lambda text: text.upper() + "!")
        assert run(f"FINAL({call})", add, slow_add, Upper(), order, shout, weather) == answer

    @pytest.mark.parametrize(
        ("call", "said"),
        [
            ("add()", "add(a: int, b: int = 10) -> int: a: Field required"),
            ("add(1, 2, 3)", "takes 2 arguments, got 3"),
            ("add(1, a=2)", "two values for a"),
            ("add(1, c=2)", "unknown c"),
            ("order([{'count': 2}])", "items.0.name: Field required"),
            ("get_weather('Rome', days=0)", "days: 0 is less than the minimum of 1"),
            ("get_weather(5)", "city: 5 is not of type 'string'"),
            ("get_weather(days=1)", "'city' is a required property"),
            ("even(3)", "number: Value error, 3 is odd"),
        ],
    )
    def test_arguments_that_do_not_fit_are_a_type_error_and_nothing_runs(
        self, call: str, said: str
    ) -> None:
        ran: list[Any] = []

        class Even(BaseModel):
            number: int

            @field_validator("number")
            @classmethod
            def is_even(cls, value: int) -> int:
                if value % 2:
                    raise ValueError(f"{value} is odd")
                return value

        def note(**given: Any) -> None:
            ran.append(given)

        tools = [
            StructuredTool(name="get-weather", description="w", args_schema=SCHEMA, func=note),
            StructuredTool(name="even", description="e", args_schema=Even, func=note),
            order,
            add,
        ]
        assert said in run(f"try:\n    {call}\nexcept TypeError as e:\n    FINAL(str(e))", *tools)
        assert not ran

    def test_the_prompt_shows_signatures(self) -> None:
        @tool
        def book(
            seat: Annotated[str, Field(description="where")], kind: Item, level: int | None = None
        ) -> dict[str, int]:
            """Book a seat."""
            return {}

        model = root("FINAL(1)")
        rlm(model, tools=[book, add]).invoke({"query": "q"})
        text = model.prompts[0][0].text
        assert (
            "`book(seat: str, kind: {'name': str, 'count': int}, level: int | None = None) -> dict[str, int]`: Book a seat."
            in text
        )
        assert "`add(a: int, b: int = 10) -> int`: Add two numbers." in text

    def test_blocking_tools_do_not_block_the_loop(self) -> None:
        """Eight children block in a tool at once, until a task of the loop lets them all go on."""
        inside, gate = threading.Semaphore(0), threading.Event()

        def wait() -> str:
            """Wait."""
            inside.release()
            return "ok" if gate.wait(30) else "the loop stood still"

        class Sub(ScriptedModel):
            def _scripted(self, messages: list[Any]) -> Any:
                return cell("FINAL(wait())")

        graph = rlm(
            [cell("FINAL(rlm_query_batched(['q'] * 8))")],
            sub=Sub(),
            tools=[wait],
            limits={"max_depth": 2},
        )

        async def let_go() -> None:
            entered = 0
            while entered < 8:
                entered += inside.acquire(blocking=False)
                await asyncio.sleep(0.01)
            gate.set()

        async def beating() -> Any:
            beat = asyncio.create_task(let_go())
            out = await graph.ainvoke({"query": "q"})
            beat.cancel()
            return out

        assert json.loads(asyncio.run(beating())["answer"]) == ["ok"] * 8

    def test_a_tool_sees_the_callers_context_variables_and_may_run_an_rlm_itself(self) -> None:
        inner = rlm([cell("FINAL(len(context))")])

        def count(text: str) -> str:
            """Count with another RLM."""
            assert threading.current_thread().name.startswith("rlm-tool")
            return inner.invoke({"query": "count", "context": text})["answer"]

        assert run("FINAL(count('four'))", count) == 4


class Colour(Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: date


class TestResults:
    @pytest.mark.parametrize(
        ("value", "answer"),
        [
            (None, None),
            ((1, (2, 3)), [1, [2, 3]]),
            (Item(name="tea"), {"name": "tea", "count": 1}),
            ([Point(1, date(2024, 2, 29))], [{"x": 1, "when": "2024-02-29"}]),
            (Colour.RED, "red"),
            ({1: {"a": Item(name="jam")}}, {"1": {"a": {"name": "jam", "count": 1}}}),
            (ToolMessage("content", tool_call_id="1"), "content"),
            (
                [ToolMessage([{"type": "text", "text": "a"}], tool_call_id="1")],
                [[{"type": "text", "text": "a"}]],
            ),
            ({4}, [4]),
            (b"bytes", "bytes"),
            (b"\xff", "b'\\xff'"),
            ("ünï\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "ünï😀"),
            (object, "<class 'object'>"),
        ],
    )
    def test_results_are_plain_values(self, value: Any, answer: Any) -> None:
        @tool
        def give() -> Any:
            """Give it."""
            return value

        assert run("FINAL([give()])", give) == [answer]

    def test_documents_and_artifacts(self) -> None:
        @tool(response_format="content_and_artifact")
        def search() -> tuple[str, list[Document]]:
            """Search."""
            return "found one", [Document("text")]

        @tool
        def docs() -> list[Document]:
            """Documents."""
            return [Document("text", metadata={"a": 1})]

        assert run(
            "d = docs()[0]\nFINAL([search(), d['page_content'], d['metadata']])", search, docs
        ) == ["found one", "text", {"a": 1}]

    def test_errors_are_exceptions_that_code_can_catch(self) -> None:
        @tool
        def fails(how: str) -> str:
            """Fail."""
            raise {"value": ValueError, "key": KeyError, "tool": ToolException}[how](f"no {how}")

        @tool
        def commands() -> Any:
            """Not a value."""
            return Command(goto="x")

        code = "seen = []\nfor how in ['value', 'key', 'tool']:\n    try:\n        fails(how)\n    except RuntimeError as e:\n        seen.append(str(e))\n"
        code += "try:\n    commands()\nexcept RuntimeError as e:\n    seen.append(str(e)[:51])\nFINAL(seen)"
        assert run(code, fails, commands) == [
            "fails failed: ValueError: no value",
            "fails failed: KeyError: 'no key'",
            "fails failed: ToolException: no tool",
            "commands failed: NoResult: The tool returned a Lang",
        ]

    @pytest.mark.parametrize(
        ("says", "said"),
        [
            (True, "broken"),
            ("try later", "try later"),
            (lambda error: f"handled: {error}", "handled: broken"),
            (
                lambda _: [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
                "one\ntwo",
            ),
        ],
    )
    def test_what_a_tool_says_of_its_own_error_is_raised_and_no_result(
        self, says: Any, said: str
    ) -> None:
        def fails() -> str:
            """Fail."""
            raise ToolException("broken")

        handled = StructuredTool.from_function(fails, handle_tool_error=says)
        code = "try:\n    FINAL(fails())\nexcept RuntimeError as e:\n    FINAL([str(e)])"
        assert run(code, handled) == [f"fails failed: {said}"]

    def test_so_is_what_it_says_of_arguments_that_its_own_model_refuses(self) -> None:
        def fails() -> str:
            """Fail."""
            return Item.model_validate({"name": 3}).name

        handled = StructuredTool.from_function(fails, handle_validation_error="no such item")
        code = "try:\n    FINAL(fails())\nexcept RuntimeError as e:\n    FINAL([str(e)])"
        assert run(code, handled) == ["fails failed: no such item"]


class TestInjected:
    def test_what_langchain_injects_is_given_and_hidden(self) -> None:
        seen: dict[str, Any] = {}

        @tool
        def look(
            what: str,
            runtime: ToolRuntime,
            config: RunnableConfig,
            id: Annotated[str, InjectedToolCallId],
            user: Annotated[str, InjectedToolArg] = "nobody",
        ) -> str:
            """Look."""
            assert runtime.store is not None
            seen.update(
                thread=config["configurable"]["thread_id"], id=id, same=runtime.tool_call_id == id
            )
            return f"{what} for {user}"

        model = root("FINAL(look('sky'))")
        graph = rlm(model, tools=[look], checkpointer=InMemorySaver())
        graph.store = InMemoryStore()
        assert graph.invoke({"query": "q"}, thread())["answer"] == "sky for nobody", shown(model, 1)
        assert seen["thread"] == "t"
        assert seen["id"].startswith("call_")
        assert seen["same"]
        assert "look(what: str) -> str" in model.prompts[0][0].text

    @pytest.mark.parametrize("name", ["user", "id", "runtime"])
    def test_code_cannot_set_what_is_injected(self, name: str) -> None:
        @tool
        def look(
            what: str,
            runtime: ToolRuntime,
            id: Annotated[str, InjectedToolCallId],
            user: Annotated[str, InjectedToolArg] = "nobody",
        ) -> str:
            """Look."""
            return user

        code = f"try:\n    FINAL(look('sky', {name}='admin'))\nexcept TypeError as e:\n    FINAL(str(e))"
        assert f"unknown {name}" in run(code, look)

    def test_what_only_an_agent_has_is_refused_at_once(self) -> None:
        @tool
        def look(state: Annotated[dict[str, Any], InjectedState("todos")]) -> str:
            """Look."""
            return ""

        @tool
        def ask(user: Annotated[str, InjectedToolArg]) -> str:
            """Ask."""
            return ""

        for wrong, name in ((look, "state"), (ask, "user")):
            with pytest.raises(ConfigurationError, match=f"injected argument '{name}'"):
                rlm(["x"], tools=[wrong])


def where() -> str:
    """Where am I."""
    return "host"

    def test_a_result_stays_a_value_where_the_calls_id_is_injected(self) -> None:
        @tool
        async def find(id: Annotated[str, InjectedToolCallId]) -> dict[str, int]:
            """Find."""
            return {"n": 5}

        assert run("FINAL(find()['n'])", find) == 5


class TestWhoHasWhat:
    class Sub(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            return (
                cell("try:\n    FINAL(where())\nexcept NameError:\n    FINAL('unknown')")
                if len(messages) == 2
                else "gave up"
            )

    @pytest.mark.parametrize(
        ("options", "answer"),
        [
            ({"tools": [where]}, ["host", "host"]),
            ({"tools": [where], "child_tools": ()}, ["host", "unknown"]),
            ({"tools": [where], "child_tools": ["where"]}, ["host", "host"]),
            ({"child_tools": [where]}, ["unknown", "host"]),
        ],
    )
    def test_tools_of_the_root_of_children_or_of_both(
        self, options: dict[str, Any], answer: list[str]
    ) -> None:
        code = "try:\n    mine = where()\nexcept NameError:\n    mine = 'unknown'\nFINAL([mine, rlm_query('where?')])"
        sub = self.Sub()
        out = rlm([cell(code)], sub=sub, limits={"max_depth": 2}, **options).invoke({"query": "q"})
        assert json.loads(out["answer"]) == answer
        assert ("where()" in sub.prompts[0][0].text) == (answer[1] == "host")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"tools": [where, where]}, "Two tools are named 'where'"),
            ({"tools": ["where"]}, "must be LangChain tools or named functions"),
            ({"tools": [where], "child_tools": ["there"]}, "child_tools names 'there'"),
            ({"tools": [where], "interrupt_on": {"there": True}}, "interrupt_on names there"),
            (
                {"tools": [where], "interrupt_on": {"where": {"allowed": ["approve"]}}},
                "give True, False, or",
            ),
            (
                {"tools": [where], "interrupt_on": {"where": {"allowed_decisions": ["maybe"]}}},
                "some of approve, edit, reject, respond",
            ),
            ({"tools": [where], "not_idempotent": ["there"]}, "not_idempotent="),
            ({"tools": [where], "not_idempotent": "where"}, "must be a list of names of tools"),
            ({"external_tools": [{"nothing": 1}]}, "external_tools must be"),
            (
                {
                    "external_tools": [
                        {"name": "x", "parameters": {"type": "array"}, "description": ""}
                    ]
                },
                "schema of type 'object'",
            ),
            (
                {
                    "external_tools": [
                        {
                            "name": "x",
                            "description": "",
                            "parameters": {"type": "object", "properties": {"a": {"type": "nope"}}},
                        }
                    ]
                },
                "no valid JSON",
            ),
        ],
    )
    def test_a_wrong_set_up_is_refused_at_once(self, options: dict[str, Any], said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            rlm(["x"], **options)

    def test_a_thread_whose_tool_is_gone_says_so(self) -> None:
        saver = InMemorySaver()
        asking = rlm(
            [cell("FINAL(where())")],
            tools=[where],
            interrupt_on={"where": True},
            checkpointer=saver,
        )
        asking.invoke({"query": "q"}, thread())
        with pytest.raises(
            ConfigurationError, match="calls the tool 'where', but the tools are none"
        ):
            rlm([cell("where()")], checkpointer=saver).invoke(
                Command(resume={"type": "approve"}), thread()
            )
        assert (
            asking.invoke(Command(resume={"type": "respond", "message": "here"}), thread())[
                "answer"
            ]
            == "here"
        )
