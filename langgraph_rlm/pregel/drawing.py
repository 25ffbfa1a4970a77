"""Drawing: the names of nodes within a graph that is drawn inside another one. Draws nothing."""

from collections.abc import Iterator
from typing import Any

from langchain_core.runnables.graph import Graph

from langgraph_rlm.pregel.keys import TASK


def named_by_depth(drawn: Graph, level: int) -> Graph:
    """Name what is within a child after its depth, since LangChain draws no two subgraphs of one
    name.

    Args:
        drawn: the graph.
        level: how far down the child is; 0 for a root, which stays as it is.
    """
    if level == 0:
        return drawn

    def named(id: str) -> str:
        within, colon, rest = id.partition(TASK)
        return f"{within}_{level + 1}{colon}{rest}" if colon else id

    nodes = {named(id): node.copy(id=named(id)) for id, node in drawn.nodes.items()}
    edges = [
        edge.copy(source=named(edge.source), target=named(edge.target)) for edge in drawn.edges
    ]
    return Graph(nodes=nodes, edges=edges)


def subgraphs_of(name: str, graph: Any, namespace: str | None) -> Iterator[tuple[str, Any]]:
    """Give the subgraphs of the subgraph `name`, as far as they are on the way to `namespace`."""
    below = None
    if namespace is not None:
        if not namespace.startswith(f"{name}|"):
            return
        below = namespace.removeprefix(f"{name}|")
    for inner, found in graph.get_subgraphs(namespace=below, recurse=True):
        yield f"{name}|{inner}", found
