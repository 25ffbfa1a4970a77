"""Wrong answers: a run with an id, as servers give them, pauses again and says why; a caller in Python is told by an error. Nothing wrong is ever stored."""

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from langgraph_rlm import AnsweredError, ResumeError, errors
from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, thread

APPROVE = {"type": "approve"}
WRONG = ["yes", 7, {"decisions": []}, {"type": "postpone"}, ["a", "b"], {"0" * 32: "x"}]
EDIT: Any = {"type": "edit", "edited_action": {"name": "send", "args": {"to": "ann", "times": "x"}}}
WEATHER: Any = {"title": "weather", "type": "object", "properties": {"city": {"type": "string"}}}


def send(to: str, times: int = 1) -> str:
    """Send it."""
    return f"sent to {to}"


def server(number: int = 0) -> Any:
    """A config as a server gives it, of a run of its own."""
    return {"configurable": {"thread_id": "t", "run_id": f"r{number}"}}


def graph_of(code: str, **options: Any) -> Any:
    options = {"checkpointer": InMemorySaver(), "sandbox": "monty", **options}
    return rlm([cell(code)], tools=[send], interrupt_on={"send": True}, **options)


def problem(out: Any) -> str:
    [pause] = out["__interrupt__"]
    return pause.value["problem"]


class TestServers:
    @pytest.mark.parametrize("wrong", [*WRONG, EDIT], ids=str)
    @pytest.mark.parametrize("mode", ["batched", "per_call"])
    async def test_the_pause_says_why(self, wrong: Any, mode: str) -> None:
        graph = graph_of("FINAL(send('ann'))", interrupt_mode=mode)
        asked = (await graph.ainvoke({"query": "q"}, server()))["__interrupt__"][0]
        out = await graph.ainvoke(Command(resume=wrong), server(1))
        told = problem(out)
        [pause] = out["__interrupt__"]
        assert (pause.id, pause.response_schema) == (asked.id, asked.response_schema)
        shown = pause.value.get("action_requests", [pause.value])[0]["description"]
        assert shown.startswith(told) and len(told) < 1_100
        [kept] = (await graph.aget_state(server())).interrupts
        assert kept.value == pause.value
        out = await graph.ainvoke(Command(resume=APPROVE), server(2))
        assert out["answer"] == "sent to ann"

    async def test_after_a_wrong_answer_none_asks_without_it(self) -> None:
        graph = graph_of("FINAL(send('ann'))")
        asked = (await graph.ainvoke({"query": "q"}, server()))["__interrupt__"][0]
        await graph.ainvoke(Command(resume="yes"), server(1))
        again = (await graph.ainvoke(None, server(2)))["__interrupt__"][0]
        assert again.value == asked.value

    async def test_of_several_the_right_ones_are_taken(self) -> None:
        child = cell("FINAL(send('ann'))")
        sub = ScriptedModel(replies=[child])
        graph = graph_of(
            "FINAL(rlm_query_batched(['a', 'b', 'c']))", sub=sub, limits={"max_depth": 2}
        )
        pauses = (await graph.ainvoke({"query": "q"}, server()))["__interrupt__"]
        right, wrong, left = [pause.id for pause in pauses]
        out = await graph.ainvoke(Command(resume={right: APPROVE, wrong: "no idea"}), server(1))
        told = {each.id: each.value.get("problem") for each in out["__interrupt__"]}
        assert set(told) == {wrong, left} and told[left] is None and "no idea" in told[wrong]
        out = await graph.ainvoke(Command(resume="one for all"), server(2))
        assert all("2 calls wait" in each.value["problem"] for each in out["__interrupt__"])
        out = await graph.ainvoke(Command(resume={right: APPROVE}), server(3))
        assert all("No call waits" in each.value["problem"] for each in out["__interrupt__"])
        out = await graph.ainvoke(Command(resume=dict.fromkeys((wrong, left), APPROVE)), server(4))
        assert json.loads(out["answer"]) == ["sent to ann"] * 3

    async def test_where_nothing_waits_it_is_an_error(self) -> None:
        graph = graph_of("FINAL(1)")
        await graph.ainvoke({"query": "q"}, server())
        with pytest.raises(AnsweredError, match="No call waits"):
            await graph.ainvoke(Command(resume=APPROVE), server(1))

    async def test_in_a_node_too(self) -> None:
        parent: Any = StateGraph(MessagesState)
        parent.add_node("node", graph_of("FINAL(send('ann'))", checkpointer=None))
        parent.add_edge(START, "node")
        graph = parent.compile(checkpointer=InMemorySaver())
        await graph.ainvoke({"messages": [("user", "q")]}, server())
        assert "'yes'" in problem(await graph.ainvoke(Command(resume="yes"), server(1)))
        out = await graph.ainvoke(Command(resume=APPROVE), server(2))
        assert out["messages"][-1].content == "sent to ann"

    async def test_a_result_that_is_no_json(self) -> None:
        graph = graph_of("FINAL(weather(city='Rome'))", external_tools=[WEATHER])
        await graph.ainvoke({"query": "q"}, server())
        assert "JSON" in problem(await graph.ainvoke(Command(resume=object()), server(1)))
        assert (await graph.ainvoke(Command(resume="sun"), server(2)))["answer"] == "sun"

    async def test_a_huge_answer_is_not_repeated(self) -> None:
        graph = graph_of("FINAL(send('ann'))")
        await graph.ainvoke({"query": "q"}, server())
        assert len(problem(await graph.ainvoke(Command(resume="x" * 10**6), server(1)))) < 1_100


@pytest.mark.parametrize("wrong", ["yes", EDIT], ids=str)
async def test_a_caller_in_python_is_told_by_an_error(wrong: Any) -> None:
    graph = graph_of("FINAL(send('ann'))")
    asked = (await graph.ainvoke({"query": "q"}, thread()))["__interrupt__"]
    with pytest.raises(ResumeError):
        await graph.ainvoke(Command(resume=wrong), thread())
    assert list((await graph.aget_state(thread())).interrupts) == asked
    assert (await graph.ainvoke(Command(resume=APPROVE), thread()))["answer"] == "sent to ann"


def test_every_error_is_of_a_kind_whose_message_servers_show() -> None:
    """LangGraph's server hides the messages of other classes (`langgraph_api/serde.py`)."""
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    ours = [kind for kind in kinds if issubclass(kind, errors.RLMError)]
    assert len(ours) > 15
    assert all(issubclass(kind, RuntimeError) for kind in ours)
    of_input = {errors.ContextError, errors.InputError, errors.SettingsError, errors.ResumeError}
    of_input |= {errors.AnsweredError, errors.ChildTaskError}
    assert {kind for kind in ours if issubclass(kind, ValueError)} == of_input
