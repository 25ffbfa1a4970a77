"""Spent before: what the checkpoints of an open run say that it has spent. Writes nothing."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import call_at, spent_on
from langgraph_rlm.pregel.keys import CHECKPOINTER
from langgraph_rlm.runtime.run import with_key
from langgraph_rlm.state import ELSEWHERE


async def spent_before(
    state: StateSnapshot,
    config: RunnableConfig,
    saver: BaseCheckpointSaver[str],
    read: Callable[[RunnableConfig], Awaitable[StateSnapshot]],
) -> AsyncIterator[Usage]:
    """What an RLM has spent: as of its last checkpoint, in answers since, and in children that have
    not ended.

    Args:
        state: of the RLM.
        config: that it was read with.
        saver: that has it.
        read: reads the state of a child.
    """
    if state.values.get("usage"):
        yield state.values["usage"]
    log, open_call = cast(Log, state.values.get("log", {})), state.values.get("suspended")
    if (paid := spent_on(log, open_call)) is not None:
        yield paid
    call = call_at(log, open_call)
    if call is None or call["call"] != "rlm":
        return
    if config.get("configurable", {}).get("checkpoint_id"):
        return  # time travel: whatever came after that checkpoint is done anew
    for task in state.tasks:
        if task.name == ELSEWHERE:
            continue  # what it may spend is held as its grant, until it is known
        if task.result is None and isinstance(task.state, dict):
            within = with_key(task.state, CHECKPOINTER, saver)
            async for usage in spent_before(await read(within), within, saver, read):
                yield usage
