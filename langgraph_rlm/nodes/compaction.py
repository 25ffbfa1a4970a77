"""Compaction: when the conversation nears the root model's window, one call sums it up. The log
keeps everything."""

from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.log.entries import CompactionEntry
from langgraph_rlm.log.places import compaction_place, compactions, turn_count
from langgraph_rlm.log.reply import without_reasoning
from langgraph_rlm.nodes.conversation import merged
from langgraph_rlm.prompts import compaction_prompt
from langgraph_rlm.runtime.run import Run
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.storage.blobs import to_bytes

UNKNOWN_WINDOW = 128_000
"""Tokens that a model without a profile is thought to take."""

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8: about right for English and code, and nearer for Chinese than counting
characters."""

KEPT_TURNS = 2
"""The last turns, which are never summed up: the model is in the middle of them."""


def window_of(model: BaseChatModel, given: int | None) -> int:
    """The tokens that a model takes: what the user says, else what its profile says, else a
    cautious guess."""
    profile: dict[str, Any] = getattr(model, "profile", None) or {}
    return given or profile.get("max_input_tokens") or UNKNOWN_WINDOW


def is_due(
    messages: list[AnyMessage], state: RLMState, rlm: RLMRuntime, model: BaseChatModel
) -> bool:
    """Whether the conversation has passed its share of the window and has turns to sum up, of
    whatever questions."""
    done = compactions(state["log"])
    first = done[-1]["turn"] if done else 0
    if turn_count(state["log"]) - first <= KEPT_TURNS:
        return False
    size = sum(len(to_bytes(message.text)) for message in messages) // BYTES_PER_TOKEN
    return size > rlm.compact_at * window_of(model, rlm.window)


async def compact(
    messages: list[AnyMessage],
    state: RLMState,
    rlm: RLMRuntime,
    model: BaseChatModel,
    config: RunnableConfig,
    run: Run,
) -> RLMUpdate:
    """Ask for the summary, whose entry stands for all turns but the last ones.

    Raises:
        LimitReached: the call may not start, or the time was up.
        ModelFailed: the model's client raised.
    """
    asked = merged([*messages, HumanMessage(compaction_prompt())])
    reply, cost = await run.call_root(model, asked, config, state.get("depth", 0))
    summary = without_reasoning(str(reply.text)).strip() or "(You wrote no summary.)"
    entry = CompactionEntry(
        kind="compaction",
        turn=turn_count(state["log"]) - KEPT_TURNS,
        summary=await rlm.blobs.keep(summary),
    )
    place = compaction_place(len(compactions(state["log"])))
    return RLMUpdate(log={place: entry}, usage=cost, compacted=True)
