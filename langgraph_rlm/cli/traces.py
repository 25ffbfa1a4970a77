"""Traces: read the traces of threads out of a database. Never parses or prints."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph_rlm.cli.kept_options import REMEMBERED
from langgraph_rlm.cli.kept_threads import Place, opened, store_of

if TYPE_CHECKING:
    from langgraph_rlm.trace.reading import Trace


@dataclass(frozen=True)
class Wanted:
    """A thread, or the branch of it that ends at a checkpoint."""

    thread: str
    checkpoint: str | None = None


async def read_traces(place: Place, wanted: Sequence[Wanted]) -> "list[Trace]":
    """Read traces of one database. The blob store of each is the one that it was run with.

    Raises:
        ConfigurationError: there is no such database, thread or checkpoint.
    """
    from langgraph_rlm.trace.reading import atrace_of

    async with opened(place) as at:
        traces: list[Trace] = []
        for each in wanted:
            own: dict[str, Any] = {"thread_id": each.thread}
            if each.checkpoint is not None:
                own["checkpoint_id"] = each.checkpoint
            store = await store_of(at.saver, each.thread, at.beside)
            trace = await atrace_of(at.saver, {"configurable": own}, blob_store=store)
            limits = await _limits(at.saver, each.thread)
            if limits is not None:
                trace.head["limits"] = limits
            traces.append(trace)
        return traces


async def _limits(saver: Any, thread: str) -> dict[str, Any] | None:
    """Give the limits that a thread of the command was asked with; None for another's thread."""
    from langgraph_rlm.budget.limits import Limits

    saved = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    metadata: Any = saved.metadata if saved else {}
    if REMEMBERED not in metadata:
        return None
    return Limits(**json.loads(metadata[REMEMBERED]).get("limits", {})).model_dump()
