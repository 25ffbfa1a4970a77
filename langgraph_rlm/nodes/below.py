"""Below: runs a child RLM in this process, as the same graph one level deeper."""

from collections.abc import Callable
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.nodes.ingest import Ingest
from langgraph_rlm.nodes.item import Ended, Item
from langgraph_rlm.runtime.run import FRAME, with_key
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.storage.inputs import Given
from langgraph_rlm.telemetry.marks import marked_graph
from langgraph_rlm.telemetry.observers import at_work
from langgraph_rlm.telemetry.work import Work

TREE_WIDE = frozenset[StopReason](["max_sub_calls", "max_tokens", "max_cost", "max_seconds"])
"""Limits of the whole tree: when a child stops at one, so does its parent."""


class Graph(Protocol):
    """The graph of a child."""

    async def ainvoke(self, state: Any, config: RunnableConfig) -> dict[str, Any]:
        """Run it from a state to its end, or raise its interrupt."""
        ...


class Below:
    """Children in this process; the calls of models in them wait for slots of their own."""

    def __init__(self, rlm: RLMRuntime, graph: Callable[[], Graph]) -> None:
        self._rlm = rlm
        self._graph = graph

    async def run(self, item: Item, given: Given, work: Work) -> Ended:
        """Run one. What it spends is counted as it is spent."""
        frame = item.frame.below(item.model, item.form, item.caller, work)
        begun = await Ingest(self._rlm).asked(given, frame)
        config = with_key(marked_graph(item.config, work), FRAME, frame)
        with at_work(work):
            out = await self._graph().ainvoke(begun, config)
            work.spent = out.get("usage") or {}
        reason = out["stop_reason"]
        return Ended(out, reason if reason in TREE_WIDE else None)
