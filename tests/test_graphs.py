"""In a larger graph and in every way of calling: the RLM does what a compiled LangGraph graph does."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from langgraph_rlm.testing import ScriptedModel, cell

from .models import rlm, root, thread

HERE = Path(__file__).parent
COUNT = "FINAL(f'{len(context)} characters')"
ASK = "a = llm_query('first')\nb = llm_query_batched(['second', 'third'])\nprint(a, b)"


def parent(child: Any, **options: Any) -> Any:
    """A chat graph whose only node is an RLM."""
    graph = StateGraph(MessagesState)
    graph.add_node("researcher", child)
    graph.add_edge(START, "researcher")
    return graph.compile(**options)


def call(graph: Any, given: Any, config: Any, way: str) -> Any:
    return (
        graph.invoke(given, config) if way == "sync" else asyncio.run(graph.ainvoke(given, config))
    )


def parts(graph: Any, given: Any, way: str, **options: Any) -> list[Any]:
    """Everything that a stream gives."""

    async def collected() -> list[Any]:
        return [part async for part in graph.astream(given, **options)]

    return [*graph.stream(given, **options)] if way == "sync" else asyncio.run(collected())


def types(events: Iterable[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


@pytest.mark.parametrize("saver", [None, InMemorySaver], ids=["no checkpointer", "checkpointer"])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_node_of_a_chat_graph_appends_one_message(way: str, saver: Any) -> None:
    """The last human message is the question, what was said before is its context; nothing of the child's state leaks."""
    graph = parent(
        rlm(root("FINAL(f'{len(context)} before: {context[0][\"content\"]}')")),
        checkpointer=saver and saver(),
    )
    said = [HumanMessage("hello"), AIMessage("hi"), HumanMessage("what did I say first?")]
    out = call(graph, {"messages": said}, thread(), way)
    assert list(out) == ["messages"]
    assert [message.type for message in out["messages"]] == ["human", "ai", "human", "ai"]
    assert out["messages"][-1].text == "2 before: hello"


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_chat_goes_on_over_the_node(way: str) -> None:
    """With a checkpointer of the parent, each question is answered with all that was said before it as context."""
    code = "try:\n    before = len(context)\nexcept NameError:\n    before = 0\nFINAL(f'{before} before')"
    graph = parent(rlm(root(code)), checkpointer=InMemorySaver())
    for question in ["one", "two"]:
        out = call(graph, {"messages": [HumanMessage(question)]}, thread(), way)
    assert [message.text for message in out["messages"]] == ["one", "0 before", "two", "2 before"]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_progress_of_a_node_reaches_the_parents_stream(way: str) -> None:
    graph = parent(rlm(root(ASK, "FINAL(a)")))
    given = {"messages": [HumanMessage("go")]}
    streamed = parts(graph, given, way, stream_mode="custom", subgraphs=True)
    assert {"turn", "code", "sub_calls", "output", "answer"} <= set(
        types(event for _, event in streamed)
    )
    assert all(namespace[0].startswith("researcher:") for namespace, _ in streamed)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_progress_is_told_in_order(way: str) -> None:
    """Typed events, as `langgraph_rlm.progress` has them: turns count from 1, answers of a batch up to its size."""
    events = parts(rlm(root(ASK, "FINAL(a)")), {"query": "go"}, way, stream_mode="custom")
    calls = [
        (event["function"], event["done"], event["total"])
        for event in events
        if event["type"] == "sub_calls"
    ]
    assert [kind for kind in types(events) if kind not in ("sub_calls", "usage")] == [
        "turn",
        "code",
        "output",
    ] * 2 + ["answer"]
    assert calls == [("llm_query", 0, 1), ("llm_query", 1, 1)] + [
        ("llm_query_batched", done, 2) for done in range(3)
    ]
    assert [event["turn"] for event in events if event["type"] == "turn"] == [1, 2]
    assert events[-1] | {"trajectory": ""} == {
        "type": "answer",
        "stop_reason": "answered",
        "depth": 0,
        "trajectory": "",
    }


def test_a_reply_that_gives_nothing_to_run_is_told() -> None:
    model = ScriptedModel(
        replies=["", "Hm.", "```repl\nprint((1", "```\nprint(1)\n```\n" * 2, cell("FINAL('done')")]
    )
    events = parts(rlm(model), {"query": "go"}, "sync", stream_mode="custom")
    told = [(event["turn"], event["problem"]) for event in events if event["type"] == "nudge"]
    assert told == [(1, "empty"), (2, "prose"), (3, "unclosed_fence"), (4, "untagged_fence")]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_progress_comes_from_every_depth(way: str) -> None:
    """Without `subgraphs=True` too: each event says its depth and which RLM it is from."""

    class Own(ScriptedModel):
        def _scripted(self, messages: list[Any]) -> Any:
            return super()._scripted(messages) if messages[0].type == "system" else "leaf"

    sub = Own(replies=[cell("x = rlm_query_batched(['a', 'b'])\nprint(x)"), cell("FINAL('up')")])
    graph = rlm(root("FINAL(rlm_query('down'))"), sub=sub, limits={"max_depth": 3})
    events = parts(graph, {"query": "go"}, way, stream_mode="custom")
    for kind in ("turn", "code", "output", "answer"):
        assert {event["depth"] for event in events if event["type"] == kind} == {0, 1, 2}
    assert len({event["trajectory"] for event in events}) == 1 + 1 + 2


@pytest.mark.parametrize("way", ["sync", "async"])
def test_tokens_are_the_root_models(way: str) -> None:
    """`stream_mode="messages"` shows the reply as it is written, and the sub-model's thousand replies not at all."""
    model = ScriptedModel(replies=[cell(ASK, "I ask three times."), cell("FINAL('done')")])
    streamed = parts(
        rlm(model, sub=lambda _: "SUB reply"), {"query": "go"}, way, stream_mode="messages"
    )
    tokens = [message for message, about in streamed if about["langgraph_node"] == "plan_code"]
    assert len(tokens) > 5
    assert all(isinstance(token, AIMessageChunk) for token in tokens)
    assert "".join(token.text for token in tokens).startswith("I ask three times.\n```repl")
    assert not [message for message, _ in streamed if "SUB" in message.text]


def test_a_sync_call_works_inside_a_running_event_loop() -> None:
    """As in a notebook, whose cells run on a loop."""

    async def notebook_cell() -> tuple[str, int]:
        graph = rlm(root(ASK, COUNT), checkpointer=InMemorySaver())
        out = graph.invoke({"query": "go", "context": "abcd"}, thread())
        return out["answer"], len([*graph.stream({"query": "go"}, thread(), stream_mode="custom")])

    answer, events = asyncio.run(notebook_cell())
    assert answer == "4 characters"
    assert events


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_batch_gives_each_its_own_answer_in_order(way: str) -> None:
    graph, given = (
        rlm(root(COUNT)),
        [{"query": "how long?", "context": "x" * size} for size in range(1, 9)],
    )
    outs = graph.batch(given) if way == "sync" else asyncio.run(graph.abatch(given))
    assert [out["answer"] for out in outs] == [f"{size} characters" for size in range(1, 9)]


def drawn() -> str:
    return rlm(root(COUNT)).get_graph().draw_mermaid()


def test_the_graph_is_as_drawn() -> None:
    """Nodes and edges are public: whoever changes them sees it here, and draws them anew."""
    assert drawn() == (HERE / "snapshots/graph.mmd").read_text()
