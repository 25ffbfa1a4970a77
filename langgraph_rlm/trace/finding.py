"""Finding: where the RLMs of a thread are, and a graph that reads their checkpoints.

An RLM is known by the channels of its checkpoints. It may be the whole graph, or a node of a larger
one at any depth, several times where the node runs in a loop. Reads no log.
"""

from dataclasses import dataclass
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.graph import StateGraph
from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.graph import create_rlm
from langgraph_rlm.history.homes import BEGUN, Home
from langgraph_rlm.pregel.keys import WITHIN, nodes_of
from langgraph_rlm.rlm_graph import RLMGraph


@dataclass(frozen=True)
class Found:
    """An RLM without a parent."""

    namespace: str
    graph: Any
    """Reads its states."""


class _Nothing(TypedDict):
    """The state of a graph that is never run."""


async def has_begun(home: Home, thread: str) -> bool:
    """Whether an RLM has begun on a thread, or within it."""
    newest = await home.newest(thread)
    if newest is None or _is_rlm(newest):
        return newest is not None
    config: Any = {"configurable": {"thread_id": thread}}
    async for saved in home.saver.alist(config):
        if _is_rlm(saved):
            return True
    return False


async def found_in(home: Home, given: Any, thread: str) -> list[Found]:
    """Find the RLMs of a thread that have no parent, the one that worked last at the end.

    Args:
        home: of the thread.
        given: the graph, or a checkpointer.
        thread: its id.

    Raises:
        ConfigurationError: there is no such thread, or none of an RLM.
    """
    newest = await home.newest(thread)
    if newest is not None and _is_rlm(newest):
        return [Found("", given if isinstance(given, RLMGraph) else reader(home))]
    ends: dict[str, str] = {}
    async for saved in home.saver.alist({"configurable": {"thread_id": thread}}):
        namespace: str = saved.config.get("configurable", {}).get("checkpoint_ns", "")
        if _is_rlm(saved):
            ends[namespace] = max(saved.checkpoint["id"], ends.get(namespace, ""))
    roots = [each for each in ends if not _around(each) & ends.keys()]
    if not roots:
        raise ConfigurationError(
            f"There is no thread {thread!r} of an RLM here: has it run with this checkpointer?"
        )
    return [
        Found(namespace, graph_at(home, given, namespace))
        for namespace in sorted(roots, key=lambda each: ends[each])
    ]


def graph_at(home: Home, given: Any, namespace: str) -> Any:
    """Give a graph that reads the states of an RLM at a namespace: the given one if it is one."""
    if given is home.saver:
        return reader(home, namespace)
    return given


def reader(home: Home, namespace: str = "") -> Any:
    """Make a graph that reads the states of an RLM at a namespace, and is never run."""
    nobody = FakeListChatModel(responses=[""])
    rlm = create_rlm(nobody, checkpointer=home.saver, blob_store=home.blobs)
    if not namespace:
        return rlm
    inner: Any = create_rlm(nobody, blob_store=home.blobs)
    *around, last = nodes_of(namespace).split(WITHIN)
    for node in (last, *reversed(around)):
        builder: Any = StateGraph(_Nothing)
        builder.add_node(node, inner)
        builder.set_entry_point(node)
        inner = builder.compile()
    return inner.copy({"checkpointer": home.saver})


def _around(namespace: str) -> set[str]:
    """The namespaces of the graphs around one, but for the whole graph's."""
    parts = namespace.split(WITHIN)
    return {WITHIN.join(parts[:depth]) for depth in range(1, len(parts))}


def _is_rlm(saved: CheckpointTuple) -> bool:
    """Whether a checkpoint is of an RLM that has begun."""
    return saved.checkpoint["channel_versions"].keys() >= BEGUN
