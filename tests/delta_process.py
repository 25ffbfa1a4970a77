"""A graph that counts into a delta channel, for processes that continue each other's thread.

`python -m tests.delta_process FILE GOAL` counts on in the threads of a SQLite file.
"""

import sys
from collections.abc import Sequence
from typing import Annotated, Any

from langchain_core.runnables import RunnableConfig
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

CONFIG: RunnableConfig = {"configurable": {"thread_id": "t"}, "recursion_limit": 1000}

SNAPSHOT_EVERY = 7


def merged(log: dict[str, int], updates: Sequence[dict[str, int]]) -> dict[str, int]:
    """Reduce updates of the log, however many come at once."""
    return {**log, **{key: value for update in updates for key, value in update.items()}}


class Counted(TypedDict, total=False):
    """The state: how far to count, and an entry for each number."""

    goal: int
    log: Annotated[dict[str, int], DeltaChannel(merged, snapshot_frequency=SNAPSHOT_EVERY)]


def count_to(goal: int, saver: Any) -> Any:
    """Write an entry a step, until there are `goal`; give the graph."""

    def count(state: Counted) -> Counted:
        number = len(state["log"])
        return {"log": {str(number): number}}

    def after(state: Counted) -> str:
        return "count" if len(state["log"]) < state["goal"] else END

    graph = StateGraph(Counted)
    graph.add_node("count", count)
    graph.add_edge(START, "count")
    graph.add_conditional_edges("count", after, ["count", END])
    compiled: Any = graph.compile(checkpointer=saver)
    compiled.invoke({"goal": goal}, CONFIG)
    return compiled


if __name__ == "__main__":
    with SqliteSaver.from_conn_string(sys.argv[1]) as opened:
        count_to(int(sys.argv[2]), opened)
