"""Plan code: ask the root model for the next step, and append a turn. Never runs code."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.log.entries import TurnEntry
from langgraph_rlm.log.places import questions_of, turn_count
from langgraph_rlm.log.reply import parse_reply
from langgraph_rlm.nodes.compaction import compact, is_due
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.nodes.native_calls import native_calls
from langgraph_rlm.nodes.root_call import ask_root, failed_update, lap
from langgraph_rlm.progress import Nudged, TurnStarted
from langgraph_rlm.runtime.run import ModelFailed, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate


class PlanCode:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """One call of the root model; an answer in prose ends the run here."""
        frame = frame_of(config)
        frame.show_on(runtime)
        run, number = frame.run, turn_count(state["log"])
        iteration = number - questions_of(state["log"])[-1]["turn"] + 1
        limit, depth = self._rlm.limits.max_iterations, state.get("depth", 0)
        run.emit(
            TurnStarted(
                type="turn", depth=depth, trajectory=state["trajectory"], turn=iteration, of=limit
            )
        )
        try:
            messages = await asyncio.to_thread(conversation, state, self._rlm)
            model = self._rlm.root_model(depth, state.get("model"))
            if is_due(messages, state, self._rlm, model):
                return await compact(messages, state, self._rlm, model, config, run)
            reply, cost = await ask_root(self._rlm, messages, state, config, run)
        except LimitReached as reached:
            return RLMUpdate(limit=reached.limit, usage=lap(run))
        except ModelFailed as failure:
            return failed_update(failure, depth)
        text = str(reply.text)
        turn = TurnEntry(kind="turn", reply=await self._rlm.blobs.keep(text), limit=None)
        if called := native_calls(reply, number, self._rlm):
            return RLMUpdate(
                log={str(number): {**turn, "tool_calls": called.calls}, **called.entries},
                usage=cost,
            )
        parsed = parse_reply(text)
        if parsed.problem is not None:
            run.emit(
                Nudged(
                    type="nudge",
                    depth=depth,
                    trajectory=state["trajectory"],
                    turn=iteration,
                    problem=parsed.problem,
                )
            )
        update = RLMUpdate(log={str(number): turn}, usage=cost)
        if parsed.final is not None and parsed.final.kind == "value" and not parsed.cells:
            update["final"] = await self._rlm.blobs.keep(parsed.final.text)
        elif not parsed.cells and parsed.final is None and iteration >= limit:
            update["limit"] = "max_iterations"
        return update
