"""Root call: one call of the model that writes an RLM's code, its failure, and the time that the tree has worked. Writes no log."""

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.usage import Usage, add_usage, spent
from langgraph_rlm.runtime.run import ModelFailed, Run
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate


async def ask_root(
    rlm: RLMRuntime,
    messages: list[AnyMessage],
    state: RLMState,
    config: RunnableConfig,
    run: Run,
) -> tuple[AIMessage, Usage]:
    """Call the root model with a conversation; its reply, and what the call spent.

    Raises:
        LimitReached: the call may not start, or the time was up.
        ModelFailed: the model's client raised.
    """
    depth = state.get("depth", 0)
    reply, cost = await run.call_root(
        rlm.root_model(depth, state.get("model")), messages, config, depth
    )
    return reply, add_usage(add_usage(cost, spent(turns=1)), lap(run))


def failed_update(failure: ModelFailed, depth: int) -> RLMUpdate:
    """A child ends with it, so that its parent's code gets to see it and its spending is counted; a root raises what the client raised."""
    if depth == 0:
        raise failure.error from failure.error.__cause__
    return RLMUpdate(limit="failed", answer=str(failure))


def lap(run: Run) -> Usage:
    """The time since the tree's last lap, for whichever RLM comes first to count it: so each second counts once, and is saved soon."""
    return spent(seconds=run.ledger.lap())
