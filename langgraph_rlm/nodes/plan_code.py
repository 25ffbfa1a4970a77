"""Plan code: ask the root model for the next step, and append a turn. Never runs code."""

import asyncio

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.log.places import iteration_of, turn_count
from langgraph_rlm.log.reply import parse_reply
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.models.overflow import overflow_of
from langgraph_rlm.models.replies import message_text
from langgraph_rlm.nodes.compaction import can_compact, compact, is_due
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.nodes.events import Events, events_of
from langgraph_rlm.nodes.native_calls import native_calls
from langgraph_rlm.nodes.root_call import ask_root, failed_update, new_turn, time_spent
from langgraph_rlm.runtime.run import ModelFailed, Paid, Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate


class PlanCode:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Call the root model once: for the next turn or, where the conversation is long, for a
        summary."""
        frame = frame_of(config)
        frame.show_on(runtime)
        frame.work.is_of(state["trajectory"])  # a child begins here
        events = events_of(frame.run, state, frame.caller)
        iteration = iteration_of(state["log"]) + 1
        events.turn_started(iteration, self._rlm.limits.max_iterations)
        try:
            asked = await self._ask(state, config, frame.run)
        except LimitReached as reached:
            return RLMUpdate(limit=reached.limit, usage=time_spent(frame.run))
        except ModelFailed as failure:
            return failed_update(failure, state.get("depth", 0))
        if isinstance(asked, Paid):
            asked = await self._turn(state, asked, iteration, events)
        stamp(asked.get("log", {}), frame.run.id)
        return asked

    async def _ask(self, state: RLMState, config: RunnableConfig, run: Run) -> Paid | RLMUpdate:
        """The model's reply and what it cost; where the conversation was summed up instead, that
        update.

        A conversation that the model refuses as too long is summed up too, once a turn.
        """
        rlm = self._rlm
        messages = await asyncio.to_thread(conversation, state, rlm)
        model = rlm.root_model(state.get("depth", 0), state.get("model"))
        if is_due(messages, state, rlm, model):
            room = int(rlm.compact_at * rlm.windows.of(model))
            return await compact(messages, state, rlm, model, config, run, room=room)
        try:
            return await ask_root(rlm, messages, state, config, run)
        except ModelFailed as failure:
            overflow = overflow_of(failure.error)
            if overflow is None or state.get("compacted") or not can_compact(state):
                raise
            rlm.windows.learn(model, overflow, messages)
        room = rlm.windows.of(model) // 2
        return await compact(messages, state, rlm, model, config, run, room=room)

    async def _turn(self, state: RLMState, paid: Paid, iteration: int, events: Events) -> RLMUpdate:
        """Log the reply. An answer in prose, or a last turn that has neither code nor answer, ends
        the run here."""
        number = turn_count(state["log"])
        reply, cost = paid.reply, paid.cost
        turn = await new_turn(paid, self._rlm)
        called = native_calls(reply, state["log"], self._rlm)
        if called:
            turn["tool_calls"] = called.calls
            return RLMUpdate(log={str(number): turn, **called.entries}, usage=cost)
        parsed = parse_reply(message_text(reply), is_cut="is_cut" in turn)
        if parsed.problem is not None:
            events.nudged(iteration, parsed.problem)
        update = RLMUpdate(log={str(number): turn}, usage=cost)
        if parsed.cells:
            return update
        if parsed.final is None:
            if iteration >= self._rlm.limits.max_iterations:
                update["limit"] = "max_iterations"
        elif parsed.final.kind == "value":
            update["final"] = await self._rlm.blobs.keep(parsed.final.text)
        return update
