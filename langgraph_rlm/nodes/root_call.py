"""Root call: one call of the model that writes an RLM's code, its reply as a turn, what its failure
means, and the time that was worked."""

import json

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.usage import Usage, add_usage, share, spent
from langgraph_rlm.log.entries import TurnEntry
from langgraph_rlm.log.places import turn_count
from langgraph_rlm.log.reply import RULES
from langgraph_rlm.models.replies import kept_thoughts, message_text, shortfall_of
from langgraph_rlm.runtime.run import ModelFailed, Paid, Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate


async def ask_root(
    rlm: RLMRuntime,
    messages: list[AnyMessage],
    state: RLMState,
    config: RunnableConfig,
    run: Run,
    purpose: str = "plan",
) -> Paid:
    """Call the root model with a conversation, for the next turn.

    Args:
        rlm: the runtime.
        messages: the conversation.
        state: of the RLM.
        config: of the node.
        run: the invocation.
        purpose: what the turn is for, as tracers name the call.

    Returns:
        Its reply, and what the call has spent, with the time that was worked.

    Raises:
        LimitReached: the call may not start, or the time was up.
        ModelFailed: the model's client raised.
    """
    depth, place = state.get("depth", 0), str(turn_count(state["log"]))
    model = rlm.root_model(depth, state.get("model"))
    work = frame_of(config).piece("model", purpose, state["trajectory"], place, depth)
    paid = await run.call_root(model, messages, config, work)
    cost = add_usage(add_usage(paid.cost, spent(turns=1)), time_spent(run))
    return Paid(paid.reply, cost, paid.seconds)


async def new_turn(paid: Paid, rlm: RLMRuntime, limit: str | None = None) -> TurnEntry:
    """The entry of a reply, with what its model thought.

    Args:
        paid: the reply of the root model, and what it has spent.
        rlm: the runtime, whose store takes what is long.
        limit: the limit that was reached, where it was asked for its best answer.
    """
    reply = paid.reply
    text = await rlm.blobs.keep(message_text(reply))
    turn = TurnEntry(kind="turn", reply=text, limit=limit, rules=RULES)
    turn["usage"] = share(paid.cost)
    turn["seconds"] = paid.seconds
    if paid.was_shortened:
        turn["was_shortened"] = True
    if shortfall_of(reply) == "length":
        turn["is_cut"] = True
    thoughts = kept_thoughts(reply)
    if thoughts is not None:
        turn["thoughts"] = await rlm.blobs.keep(json.dumps(thoughts, ensure_ascii=False))
    return turn


def failed_update(failure: ModelFailed, depth: int) -> RLMUpdate:
    """End a child with the failure, so that its parent's code gets to see it and its spending is
    counted.

    Raises:
        Exception: what the model's client raised, where the RLM is the root.
    """
    if depth == 0:
        raise failure.error from failure.error.__cause__
    return RLMUpdate(limit="failed", answer=str(failure))


def time_spent(run: Run) -> Usage:
    """The seconds that no state of the tree has counted yet, as a usage to add. Each is given
    once."""
    return spent(seconds=run.ledger.take_seconds())
