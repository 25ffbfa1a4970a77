"""State updates: LangGraph's `update_state` without a node, where an RLM waits behind a call. The thread goes on waiting there, nothing that was answered is asked again, and a last answer lets it go on."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from langgraph_rlm import create_rlm
from langgraph_rlm.testing import ScriptedModel, cell

from .test_retries import ASKED, World, attempt, config, rlm, send

STORIES: Any = {
    "a call": ("FINAL(llm_query('a'))", 1, "0.0/0/0", "by hand"),
    "a batch": (
        "FINAL(llm_query_batched(['a', 'b', 'c']))",
        3,
        "0.0/0/2",
        '["leaf","leaf","by hand"]',
    ),
    "children": (
        "FINAL(rlm_query_batched(['grandchild'] * 2))",
        3,
        "0.0/0/1",
        '["leaf","by hand"]',
    ),
    "a tool": ("FINAL(send('ann'))", 9, "0.0/0/0", "by hand"),
}
"""What code asks, the call at which the process is lost, the place of the answer that is open then, and the answer once that is given by hand."""


async def waiting(kind: str) -> tuple[World, Any]:
    """A graph that waits behind a call, with all answers but one."""
    code, at, _, _ = STORIES[kind]
    world = World(at)

    def graph() -> Any:
        return rlm(world, {}, (code,), tools=[send], interrupt_on={"send": True})

    await attempt(graph(), ASKED, config(None))
    world.again()
    return world, graph()


def answer(kind: str) -> Any:
    text = '"by hand"' if kind == "a tool" else "by hand"
    entry = {"kind": "reply", "value": {"text": text}, "error": None, "model": None}
    return {"log": {STORIES[kind][2]: entry}}


@pytest.mark.parametrize("kind", STORIES)
@pytest.mark.parametrize("values", [None, {"answer": "a draft"}], ids=["nothing", "a value"])
async def test_it_goes_on_waiting(kind: str, values: Any) -> None:
    world, graph = await waiting(kind)
    before = await graph.aget_state(config(None))
    paid = [*world.paid]
    await graph.aupdate_state(config(None), values)
    after = await graph.aget_state(config(None))
    assert after.next == before.next[-1:]
    assert after.values["log"] == before.values["log"]
    out = await graph.ainvoke(None, config(None))
    if kind == "a tool":
        assert out["__interrupt__"] and world.paid == paid
    else:
        assert out["stop_reason"] == "answered" and "by hand" not in out["answer"]
        calls = 2 if kind == "children" else 1
        assert len(world.paid) == len(paid) + calls == out["usage"]["model_calls"]


@pytest.mark.parametrize("kind", STORIES)
@pytest.mark.parametrize("named", [False, True])
async def test_the_last_answer_by_hand_lets_it_go_on(kind: str, named: bool) -> None:
    """Without `as_node`, which LangGraph would take for the node before; by the newest checkpoint's name too, where a state has no answers that came since."""
    world, graph = await waiting(kind)
    where = config(None)
    if named and kind in ("a call", "a tool"):
        where = (await graph.aget_state(where)).config
    paid = [*world.paid]
    await graph.aupdate_state(where, answer(kind))
    assert (await graph.aget_state(config(None))).next == ("execute_repl",)
    out = await graph.ainvoke(None, config(None))
    assert (out["answer"], world.paid) == (STORIES[kind][3], paid)


def test_sync_callers_too() -> None:
    world = World()
    graph = rlm(world, {}, ("FINAL(send('ann'))",), tools=[send], interrupt_on={"send": True})
    graph.invoke(ASKED, config(None))
    graph.update_state(config(None), answer("a tool"))
    assert graph.invoke(None, config(None))["answer"] == "by hand"


async def test_the_results_of_the_root_models_own_calls_stay() -> None:
    """Of two calls without code, one has its result and the other waits."""
    weather: Any = {
        "title": "weather",
        "type": "object",
        "properties": {"city": {"type": "string"}},
    }
    calls: Any = [
        {"name": "weather", "args": {"city": city}, "id": city} for city in ("Rome", "Oslo")
    ]
    model = ScriptedModel(replies=[AIMessage("", tool_calls=calls), cell("FINAL('done')")])
    options: Any = {"external_tools": [weather], "checkpointer": InMemorySaver()}
    graph = create_rlm(model, sandbox="monty", **options)
    out = await graph.ainvoke(ASKED, config(None))
    rome, oslo = out["__interrupt__"]
    await graph.ainvoke(Command(resume={rome.id: "sunny"}), config(None))
    await graph.aupdate_state(config(None), None)
    [again] = (await graph.ainvoke(None, config(None)))["__interrupt__"]
    assert again.value["args"] == oslo.value["args"]
    out = await graph.ainvoke(Command(resume="rain"), config(None))
    assert [message.text for message in model.prompts[1][-2:]] == ["sunny", "rain"]
