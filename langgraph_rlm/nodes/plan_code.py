"""Plan code: ask the root model for the next step, and append a turn. Never runs code."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.limits import Usage, add_usage, spent
from langgraph_rlm.log import TurnEntry, runs, turn_count
from langgraph_rlm.models import spent_by
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.parsing import parse_reply
from langgraph_rlm.progress import TurnStarted
from langgraph_rlm.runtime import RLMRuntime, Run, frame_of
from langgraph_rlm.state import RLMState, RLMUpdate


class PlanCode:
    """The node."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]) -> RLMUpdate:
        """One call of the root model; an answer in prose ends the run here."""
        run, number = frame_of(config, runtime).run, turn_count(state["log"])
        iteration = number - runs(state["log"])[-1]["turn"] + 1
        run.emit(
            TurnStarted(
                type="turn", depth=state["depth"], trajectory=state["trajectory"], turn=iteration, of=self._runtime.limits.max_iterations
            )
        )
        text, cost = await ask(self._runtime, state, config, run)
        parsed = parse_reply(text)
        update = RLMUpdate(log={str(number): TurnEntry(kind="turn", reply=self._runtime.store.put_text(text), limit=None)}, usage=cost)
        if parsed.final is not None and parsed.final.kind == "value" and not parsed.cells:
            update["final"] = self._runtime.store.put_text(parsed.final.text)
        elif not parsed.cells and parsed.final is None and iteration >= self._runtime.limits.max_iterations:
            update["limit"] = "max_iterations"
        return update


async def ask(runtime: RLMRuntime, state: RLMState, config: RunnableConfig, run: Run, *, limit: str | None = None) -> tuple[str, Usage]:
    """Call the root model with the conversation so far; its reply's text, and what the call spent."""
    messages = await asyncio.to_thread(conversation, state, runtime, limit=limit)
    async with run.calls:
        reply = await runtime.root_model(state["depth"], state["model"]).ainvoke(messages, config)
    cost = add_usage(spent_by(reply), spent(turns=1))
    run.spend(cost)
    return reply.text, cost
