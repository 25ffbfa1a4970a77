"""Events: runs a graph, and gives the progress of all RLMs in it. Starts no task."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from langgraph_rlm.rlm_graph import RLMGraph


async def parts_of(graph: Any, given: Any, config: Any) -> AsyncGenerator[tuple[str, Any]]:
    """Run a graph, and save each step before the next one.

    Args:
        graph: an RLM, or a graph with RLMs as nodes.
        given: its input; None continues.
        config: of its thread.

    Yields:
        `("custom", event)` of every graph within, `("values", state)` of the graph itself.
    """
    is_rlm = isinstance(graph, RLMGraph)  # which hands the events of its children on by itself
    options: Any = {"stream_mode": ["custom", "values"], "durability": "sync"}
    parts: Any = graph.astream(given, config, subgraphs=not is_rlm, **options)
    async with aclosing(parts):
        async for part in parts:
            if is_rlm:
                yield part
            elif part[1] == "custom" or not part[0]:
                yield part[1:]
