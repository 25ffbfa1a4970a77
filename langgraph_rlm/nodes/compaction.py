"""Compaction: when the conversation nears the root model's window, one call sums it up. The log
keeps everything."""

import asyncio

from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.usage import share
from langgraph_rlm.log.entries import CompactionEntry
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import compaction_place, compactions, turn_count
from langgraph_rlm.log.thoughts import without_thoughts
from langgraph_rlm.models.wrapped import Model
from langgraph_rlm.nodes.conversation import add, conversation
from langgraph_rlm.prompts import compaction_prompt
from langgraph_rlm.runtime.run import Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.windows import tokens_of
from langgraph_rlm.state import RLMState, RLMUpdate, changed
from langgraph_rlm.storage.blobs import Text

KEPT_TURNS = 2
"""The last turns, which are not summed up: the model is in the middle of them. Fewer are kept where
these alone fill half of the window."""


def can_compact(state: RLMState, kept: int = 0) -> bool:
    """Whether there are turns to sum up, of whatever questions, beside the last `kept`."""
    done = compactions(state["log"])
    first = done[-1]["turn"] if done else 0
    return turn_count(state["log"]) - first > kept


def is_due(messages: list[AnyMessage], state: RLMState, rlm: RLMRuntime, model: Model) -> bool:
    """Whether the conversation has passed its share of the window and has turns to sum up."""
    if not can_compact(state, KEPT_TURNS):
        return False
    return tokens_of(messages) > rlm.compact_at * rlm.windows.of(model)


async def compact(
    messages: list[AnyMessage],
    state: RLMState,
    rlm: RLMRuntime,
    model: Model,
    config: RunnableConfig,
    run: Run,
    *,
    room: int,
) -> RLMUpdate:
    """Ask for the summary, whose entry stands for all turns but the last ones.

    Args:
        messages: the conversation so far.
        state: of the RLM.
        rlm: its runtime.
        model: that sums up.
        config: of the node.
        run: the invocation.
        room: tokens that the conversation should take after it.

    Raises:
        LimitReached: the call may not start, or the time was up.
        ModelFailed: the model's client raised.
    """
    fitting = rlm.windows.fitted(model, messages)  # what is asked for is not cut
    asked = [*fitting]
    add(asked, [HumanMessage(compaction_prompt())])
    place = compaction_place(len(compactions(state["log"])))
    depth, id = state.get("depth", 0), state["trajectory"]
    work = frame_of(config).piece("model", "summary", id, place, depth)
    paid = await run.call_root(model, asked, config, work)
    summary = without_thoughts(str(paid.reply.text)).strip() or "(You wrote no summary.)"
    kept = await rlm.blobs.keep(summary)
    entry = await asyncio.to_thread(_entry, kept, place, state, rlm, room)
    entry["usage"] = share(paid.cost)
    entry["seconds"] = paid.seconds
    return RLMUpdate(log={place: entry}, usage=paid.cost, compacted=True)


def _entry(
    summary: Text, place: str, state: RLMState, rlm: RLMRuntime, room: int
) -> CompactionEntry:
    """The entry that keeps as many of the last turns as there is room for."""
    entry = CompactionEntry(kind="compaction", turn=turn_count(state["log"]), summary=summary)
    for turns in range(KEPT_TURNS, 0, -1):
        if not can_compact(state, turns):
            continue
        shorter: CompactionEntry = {**entry, "turn": entry["turn"] - turns}
        summed = changed(state, log=merge_log(state["log"], [{place: shorter}]))
        if tokens_of(conversation(summed, rlm)) <= room:
            return shorter
    return entry
