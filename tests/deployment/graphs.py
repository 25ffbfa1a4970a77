"""Graphs that the workers of the tests serve beside those of the repository."""

import os
from typing import Any

from langgraph.graph import START, MessagesState, StateGraph

from langgraph_rlm import Price, create_rlm

# With 1,000 tokens in and 100 out, a call costs 0.01 USD.
PRICE = Price(input=5, output=50)


def _children() -> dict[str, Any]:
    """Where child RLMs run: on any worker, by the address of the one that asks, or here."""
    if os.environ.get("CHILDREN") != "remote":
        return {}
    from langgraph_rlm import RemoteChildren

    headers = {"x-api-key": os.environ["LANGGRAPH_RLM_API_KEY"].partition(",")[0]}
    return {"children": RemoteChildren(assistant="priced", headers=headers)}


priced = create_rlm(
    "openai:root", sub_model="openai:sub", prices={"root": PRICE, "sub": PRICE}, **_children()
)

STEPS = 13
"""Steps of a run of four batches."""


def step(state: MessagesState) -> dict[str, Any]:
    """Do nothing that costs anything."""
    return {"messages": [("ai", "x" * 100)]}


def _steps() -> StateGraph[Any]:
    builder = StateGraph(MessagesState)
    last = START
    for number in range(STEPS):
        builder.add_node(f"step{number}", step)
        builder.add_edge(last, f"step{number}")
        last = f"step{number}"
    return builder


steps = _steps().compile()
"""As many steps as an RLM's run has, and nothing in them: what is the engine's own share."""
