"""Tools whose names cannot be names in code are called under another, which the prompt shows."""

import keyword
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import ChatRLM
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread

NAMES = {
    "print": "print_tool",
    "filter": "filter_tool",
    "ValueError": "ValueError_tool",
    "history": "history_tool",
    "context": "context_tool",
    "context_3": "context_3_tool",
    "answer": "answer_tool",
    "llm_query": "llm_query_tool",
    "final": "final_tool",
    "get-weather": "get_weather",
    "get weather.now": "get_weather_now",
    "2fast": "_2fast",
    "class": "_class",
    "wetter_für_日本": "wetter_für_日本",
}


def named(name: str) -> StructuredTool:
    def body(x: int) -> str:
        """Say it."""
        return f"{name} {x}"

    return StructuredTool.from_function(body, name=name, description="Say it.")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [0, 1])
def test_a_tool_of_any_name_is_called_from_code(name: str, depth: int) -> None:
    code = cell(f"FINAL({NAMES[name]}(x=3))")
    caller = ScriptedModel(replies=[code])
    root = ScriptedModel(replies=[cell("FINAL(rlm_query('go'))")]) if depth else caller
    graph = rlm(root, sub=caller, tools=[named(name)], limits={"max_depth": 2})
    assert graph.invoke({"query": "q"})["answer"] == f"{name} 3"
    shown = caller.prompts[-1][0].text
    assert f"`{NAMES[name]}(x: int)" in shown
    assert (f"(`{name}`)" in shown) == (name != NAMES[name])


def test_every_keyword_gives_a_name_of_its_own() -> None:
    names = [name for name in keyword.kwlist if name.islower()]
    code = "\n".join(f"a = _{name}(1)" for name in names) + "\nFINAL(a)"
    graph = rlm([cell(code)], tools=[named(name) for name in names])
    assert graph.invoke({"query": "q"})["answer"] == f"{names[-1]} 1"


def test_names_that_differ_by_case_or_by_signs_alone_are_told_apart() -> None:
    tools = [named(name) for name in ("get_x", "Get_X", "get-x", "get x")]
    code = "FINAL([get_x(1), Get_X_tool(1), get_x_tool_2(1), get_x_tool_3(1)])"
    out = rlm([cell(code)], tools=tools).invoke({"query": "q"})
    assert out["answer"] == '["get_x 1","Get_X 1","get-x 1","get x 1"]'


def test_builtins_stay_what_they_are() -> None:
    tools = [named(name) for name in ("sorted", "list", "print")]
    code = "print('seen')\nFINAL(list(sorted([2, 1])))"
    assert rlm([cell(code)], tools=tools).invoke({"query": "q"})["answer"] == "[1,2]"


def test_approvals_and_results_have_the_tool_s_own_name() -> None:
    graph = rlm(
        [cell("FINAL([filter_tool(x=1), get_it(y=2)])")],
        tools=[named("filter")],
        external_tools=[schema("get it")],
        interrupt_on={"filter": True},
        checkpointer=InMemorySaver(),
    )
    out = graph.invoke({"query": "q"}, thread())
    assert out["__interrupt__"][0].value["action_requests"][0]["name"] == "filter"
    out = graph.invoke(Command(resume={"type": "approve"}), thread())
    assert out["__interrupt__"][0].value["name"] == "get it"
    assert graph.invoke(Command(resume="got"), thread())["answer"] == '["filter 1","got"]'


def schema(name: str) -> dict[str, Any]:
    fields = {"y": {"type": "integer"}}
    return {
        "name": name,
        "description": "Get it.",
        "parameters": {"type": "object", "properties": fields},
    }


@pytest.mark.parametrize(
    ("name", "sent"), [("get it", "get_it"), ("a.b", "a_b"), ("x" * 80, "x" * 64), ("ok-1", "ok-1")]
)
def test_a_root_that_calls_by_itself_is_given_a_name_that_providers_take(
    name: str, sent: str
) -> None:
    given: list[str] = []

    class Caller(ScriptedModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            given.extend(tool["function"]["name"] for tool in tools)
            return self

    call = {"name": sent, "args": {"y": 1}, "id": "c1"}
    model = Caller(replies=[AIMessage("", tool_calls=[call]), 'FINAL("it is done")'])
    graph = rlm(model, external_tools=[schema(name)], checkpointer=InMemorySaver())
    out = graph.invoke({"query": "q"}, thread())
    assert (given[0], out["__interrupt__"][0].value["name"]) == (sent, name)
    assert graph.invoke(Command(resume="got"), thread())["answer"] == "it is done"


def test_the_chat_model_calls_bound_tools_in_the_same_way() -> None:
    code = cell("FINAL(history_tool(y=1) + filter_tool(y=2))")
    model = ChatRLM(model=ScriptedModel(replies=[code]), direct_below_tokens=0)
    bound = model.bind_tools([schema("history"), schema("filter")])
    first = bound.invoke("hi")
    asked: list[Any] = [HumanMessage("hi"), first]
    assert first.tool_calls[0]["name"] == "history"
    second = bound.invoke([*asked, ToolMessage("a", tool_call_id=first.tool_calls[0]["id"])])
    assert second.tool_calls[0]["name"] == "filter"
    said = [*asked, ToolMessage("a", tool_call_id=first.tool_calls[0]["id"]), second]
    last = bound.invoke([*said, ToolMessage("b", tool_call_id=second.tool_calls[0]["id"])])
    assert last.text == "ab"
