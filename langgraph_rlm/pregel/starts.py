"""Starts: a graph that begins at one of its nodes, with a state instead of an input.

LangGraph makes a step of taking an input apart, with a checkpoint of its own, and whatever node
reads the input is one more. A state that is known beforehand is the graph's first checkpoint, and
its first node runs at once.

LangGraph saves that checkpoint while the node runs, with durability "sync" too. Where saving fails,
what the node has done is lost; a kill loses no more than it did: what it did is written after that.
"""

from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.pregel.keys import BRANCH


class Begun(dict[str, Any]):
    """A state that a graph begins with, on its way into the graph; no input to be taken apart."""


class StartingAt:
    """Another graph, which begins at one of its nodes.

    Only beginning differs: the nodes and channels are the same, so what either has saved, the other
    continues, steps before that node included.
    """

    def __init__(self, graph: Any, node: str) -> None:
        """Take the graph and the node.

        Args:
            graph: a compiled one.
            node: of it.
        """
        self._next = BRANCH + node
        self._graph = graph.copy({"input_channels": [*graph.stream_channels, self._next]})

    async def ainvoke(self, state: dict[str, Any], config: RunnableConfig) -> dict[str, Any]:
        """Run the graph to its end, or raise its interrupt.

        Args:
            state: what it begins with; ignored where it has begun, and is resumed.
            config: of the call.
        """
        return await self._graph.ainvoke(Begun({**state, self._next: None}), config)
