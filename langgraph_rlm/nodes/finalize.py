"""Finalize: give the answer; at a limit, ask once for the best answer so far. Never raises because a limit was reached."""

from typing import cast

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.log import TurnEntry, turn_count
from langgraph_rlm.nodes.plan_code import ask
from langgraph_rlm.parsing import parse_reply
from langgraph_rlm.progress import Answered
from langgraph_rlm.runtime import RLMRuntime, Run, frame_of
from langgraph_rlm.state import RLMState, RLMUpdate


class Finalize:
    """The node."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]) -> RLMUpdate:
        """The answer as text, as one `AIMessage`, and why the run ended."""
        run, final = frame_of(config, runtime).run, state.get("final")
        if final is not None:
            update, answer, reason = RLMUpdate(), self._runtime.store.get_text(final), "answered"
        else:
            update, answer = await self._best(state, config, run)
            reason = cast(str, state["limit"])
        run.emit(Answered(type="answer", stop_reason=reason, depth=state["depth"], trajectory=state["trajectory"]))
        message = AIMessage(answer, response_metadata={"stop_reason": reason})
        return update | RLMUpdate(answer=answer, stop_reason=reason, messages=[message])

    async def _best(self, state: RLMState, config: RunnableConfig, run: Run) -> tuple[RLMUpdate, str]:
        limit = cast(str, state["limit"])
        text, cost = await ask(self._runtime, state, config, run, limit=limit)
        turn = TurnEntry(kind="turn", reply=self._runtime.store.put_text(text), limit=limit)
        final = parse_reply(text).final
        answer = final.text if final is not None and final.kind == "value" else text.strip()
        return RLMUpdate(log={str(turn_count(state["log"])): turn}, usage=cost), answer
