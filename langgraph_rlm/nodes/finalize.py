"""Finalize: give the answer; at a limit, ask once for the best answer so far. Never raises because a limit was reached."""

from typing import cast

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.blobs import BlobStore
from langgraph_rlm.ledger import LimitReached
from langgraph_rlm.limits import StopReason
from langgraph_rlm.log import CellEntry, Log, TurnEntry, cell_place, runs, turn_count
from langgraph_rlm.nodes.plan_code import ask, lap
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
        run, final, limit = frame_of(config, runtime).run, state["final"], state["limit"]
        if final is not None:
            update, answer = RLMUpdate(usage=lap(run, state["depth"])), self._runtime.store.get_text(final)
        else:
            update, answer = await self._best(state, config, run)
        reason = limit or "answered"
        run.emit(Answered(type="answer", stop_reason=reason, depth=state["depth"], trajectory=state["trajectory"]))
        message = AIMessage(answer, response_metadata={"stop_reason": reason})
        return update | RLMUpdate(answer=answer, stop_reason=reason, messages=[message])

    async def _best(self, state: RLMState, config: RunnableConfig, run: Run) -> tuple[RLMUpdate, str]:
        """The root model's best answer; what the log shows, when the budget does not reach for one more call."""
        limit = cast(StopReason, state["limit"])
        try:
            text, cost = await ask(self._runtime, state, config, run, limit=limit)
        except LimitReached:
            return RLMUpdate(usage=lap(run, state["depth"])), shown_so_far(state["log"], self._runtime.store)
        turn = TurnEntry(kind="turn", reply=self._runtime.store.put_text(text), limit=limit)
        final = parse_reply(text).final
        answer = final.text if final is not None and final.kind == "value" else text.strip()
        return RLMUpdate(log={str(turn_count(state["log"])): turn}, usage=cost), answer


def shown_so_far(log: Log, store: BlobStore) -> str:
    """What the code of this question printed last; empty if it printed nothing."""
    last = turn_count(log) - 1
    for number in range(last, runs(log)[-1]["turn"] - 1, -1):
        steps = len(parse_reply(store.get_text(cast(TurnEntry, log[str(number)])["reply"])).steps)
        for index in range(steps - 1, -1, -1):
            entry = cast("CellEntry | None", log.get(cell_place(number, index)))
            if entry is not None and (text := store.get_text(entry["stdout"]).strip()):
                return text
    return ""
