"""Bare: the same work as graphs of LangGraph, which show what it costs before anything of ours.

A batch is a graph of one node, one `Send` a call, over the same clients. There is no interpreter,
log or ledger, and prompts are held in memory, because the package has them by reference. Nested
RLMs are graphs of three nodes, each of which invokes others like it.
"""

import asyncio
import operator
from typing import Annotated, Any

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from typing_extensions import TypedDict


class State(TypedDict, total=False):
    """The replies by number."""

    replies: Annotated[dict[int, str], operator.or_]


class Item(TypedDict):
    """One call."""

    index: int


async def bare_loop(
    models: tuple[ChatOpenAI, ChatOpenAI],
    question: str,
    context: str,
    calls: int,
    at_once: int,
    saver: Any = None,
) -> str:
    """Do what the fan-out's program does: a turn, its batch of calls, and the turn after it."""
    root, sub = models
    messages: list[AnyMessage] = [HumanMessage(question)]
    messages.append(await root.ainvoke(messages))
    size = len(context) // calls
    prompts = [f"chunk {i}\n" + context[i * size : (i + 1) * size] for i in range(calls)]
    graph = batch_of(sub, prompts, at_once, saver)
    config: Any = {"configurable": {"thread_id": "bench"}}
    options: dict[str, Any] = {"durability": "sync"} if saver else {}
    out = await graph.ainvoke({}, config, **options)
    await root.ainvoke([*messages, HumanMessage(str(len(out["replies"])))])
    return str(sum(reply.startswith("len=") for reply in out["replies"].values()))


def batch_of(sub: ChatOpenAI, prompts: list[str], at_once: int, saver: Any) -> Any:
    """Make the graph that asks `sub` all prompts, `at_once` of them at a time."""
    gate = asyncio.Semaphore(at_once)

    async def ask(item: Item) -> State:
        async with gate:
            return {"replies": {item["index"]: (await sub.ainvoke(prompts[item["index"]])).text}}

    async def each(_: State) -> list[Send]:
        return [Send("ask", Item(index=index)) for index in range(len(prompts))]

    graph = StateGraph(State)
    graph.add_node("ask", ask, input_schema=Item)
    graph.add_conditional_edges(START, each, ["ask"])
    graph.add_edge("ask", END)
    return graph.compile(checkpointer=saver)


class Level(TypedDict, total=False):
    """One of nested graphs."""

    level: int
    """0 for the outermost one."""
    answers: Annotated[list[int], operator.add]
    """Of those that it has invoked."""


def nested_of(width: int, levels: int, saver: Any) -> Any:
    """Make a graph that invokes `width` graphs like it, so many levels deep; answers add up."""

    async def plan(_: Level) -> Level:
        return {}

    async def child(state: Level) -> Level:
        out = await inner.ainvoke(state)
        return {"answers": [sum(out["answers"])]}

    async def finish(state: Level) -> Level:
        return {} if state["level"] < levels else {"answers": [1]}

    def after_plan(state: Level) -> list[Send] | str:
        if state["level"] == levels:
            return "finish"
        return [Send("child", Level(level=state["level"] + 1)) for _ in range(width)]

    graph = StateGraph(Level)
    graph.add_node("plan", plan)
    graph.add_node("child", child)
    graph.add_node("finish", finish)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", after_plan, ["child", "finish"])
    graph.add_edge("child", "finish")
    graph.add_edge("finish", END)
    inner = graph.compile()
    return graph.compile(checkpointer=saver)
