"""Starts: a graph that begins at one of its nodes, with a state instead of an input.

LangGraph makes a step of taking an input apart, with a checkpoint of its own, and whatever node
reads the input is one more. A state that is known beforehand is the graph's first checkpoint.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.pregel.keys import BRANCH, DURABILITY


class Begun(dict[str, Any]):
    """A state that a graph begins with, on its way into the graph; no input to be taken apart."""


class StartingAt:
    """Another graph, which begins at one of its nodes.

    Only beginning differs: the nodes and channels are the same, so what either has saved, the other
    continues, steps before that node included.
    """

    def __init__(self, graph: Any, node: str, *, before: str) -> None:
        """Take the graph and the node.

        Args:
            graph: a compiled one.
            node: of it. It runs while the first checkpoint is being saved.
            before: a node that leads to it and leaves such a state as it is. It comes first with
                durability "sync", by which nothing is done before what came before it is saved:
                LangGraph has that wait at the end of each step, and there would be none.
        """
        self._node, self._before = BRANCH + node, BRANCH + before
        channels = [*graph.stream_channels, self._node, self._before]
        self._graph = graph.copy({"input_channels": channels})

    async def ainvoke(self, state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        """Run the graph to its end, or raise its interrupt.

        Args:
            state: what it begins with; ignored where it has begun, and is resumed.
            config: of the call.
        """
        is_sync = config.get("configurable", {}).get(DURABILITY) == "sync"
        first = self._before if is_sync else self._node
        return await self._graph.ainvoke(Begun({**state, first: None}), config)
