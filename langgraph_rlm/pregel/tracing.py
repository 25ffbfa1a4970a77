"""Tracing: what callbacks are told of a graph's steps, so that a trace grows with the calls alone.

LangGraph gives callbacks the whole state as the input of every node and of every edge. With a log
in the state, the trace of 400 calls one after another had 143 MB.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig


class Edge(Runnable[Any, Any]):
    """A function that says where a graph goes on. No callback is told of it, as of edges that have
    no function."""

    def __init__(self, leads: Callable[[Any], Awaitable[Any]]) -> None:
        """Take the function.

        Args:
            leads: gives the next node for a state. Its name is the edge's.
        """
        self.name = leads.__name__
        self._leads = leads

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Refuse: graphs of this package run async, sync callers too (`sync.py`)."""
        raise NotImplementedError(f"The edge {self.name} is async.")

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Give the next node."""
        return await self._leads(input)


def tell_inputs(graph: Any, told: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
    """Have callbacks be told something else than the state as the input of a graph's nodes.

    `add_node(trace_policy=...)` would do so for LangChain's tracers alone: others, such as
    Langfuse's handler, would still get the whole state.

    Args:
        graph: a compiled one.
        told: gives what is told, for a state that it must not change.
    """
    for node in graph.nodes.values():
        node.node.trace_inputs = told
