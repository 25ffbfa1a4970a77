"""Finalize: check the answer and give it; at a limit, ask once for the best answer so far. Never raises because a limit was reached.

An answer that does not match the schema goes into the log as refused, and back to the root model while there are turns left.
"""

import asyncio
import json
from typing import cast

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.blobs import BlobStore, Text
from langgraph_rlm.ledger import LimitReached
from langgraph_rlm.limits import StopReason
from langgraph_rlm.log import CellEntry, Log, RefusedEntry, TurnEntry, cell_place, refusal, refused_place, runs, turn_count
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.nodes.plan_code import ask_root, lap
from langgraph_rlm.parsing import parse_reply
from langgraph_rlm.progress import Answered
from langgraph_rlm.runtime import RLMRuntime, Run, frame_of
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.structured import Format, Mismatch, code_format, text_of, user_format


class Finalize:
    """The node."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]) -> RLMUpdate:
        """The answer as text, as one `AIMessage`, with its value where it has a schema, and why the run ended; or its refusal."""
        frame, final, refused = frame_of(config, runtime), state.get("final"), Log()
        run, form = frame.run, self._form(state, frame.form)
        if final is not None:
            answer = self._runtime.store.get_text(final)
            given = await _valued(answer, form)
            if not isinstance(given, Mismatch):
                return RLMUpdate(usage=lap(run, state.get("depth", 0))) | _ended(run, state, given)
            refused = await self._refused(state, final, given)
            limit = self._limit(state, run)
            if limit is None:
                return RLMUpdate(log=refused, final=None, usage=lap(run, state.get("depth", 0)))
            state = cast(RLMState, {**state, "log": {**state["log"], **refused}, "limit": limit})
        update, answer = await self._best(state, config, run)
        update["log"] = refused | update.get("log", {})
        given = await _valued(answer, form)
        unmatched = RLMUpdate(answer=answer) | (RLMUpdate(structured_response=None) if form else RLMUpdate())
        return update | _ended(run, state, unmatched if isinstance(given, Mismatch) else given)

    def _form(self, state: RLMState, given: Format | None) -> Format | None:
        """The form that the answer must have; None for text."""
        schema = state.get("answer_schema")
        if schema is None:
            return None
        text = self._runtime.store.get_text(schema)
        if state.get("depth", 0):
            return code_format(text)
        return given if given is not None and given.text == text else user_format(json.loads(text))

    async def _refused(self, state: RLMState, answer: Text, mismatch: Mismatch) -> Log:
        """The log entry of an answer that does not match."""
        entry = RefusedEntry(kind="refused", answer=answer, error=await self._runtime.store.keep(str(mismatch)))
        return {refused_place(turn_count(state["log"]) - 1): entry}

    def _limit(self, state: RLMState, run: Run) -> StopReason | None:
        """The limit that leaves no turn to repair an answer."""
        if state.get("limit"):
            return cast(StopReason, state.get("limit"))
        if run.ledger.seconds_left() == 0:
            return "max_seconds"
        turns = turn_count(state["log"]) - runs(state["log"])[-1]["turn"]
        return "max_iterations" if turns >= self._runtime.limits.max_iterations else None

    async def _best(self, state: RLMState, config: RunnableConfig, run: Run) -> tuple[RLMUpdate, str]:
        """The root model's best answer; what the log shows, when the budget does not reach for one more call."""
        limit = cast(StopReason, state.get("limit"))
        try:
            messages = await asyncio.to_thread(conversation, state, self._runtime, limit=limit)
            reply, cost = await ask_root(self._runtime, messages, state, config, run)
        except LimitReached:
            return RLMUpdate(usage=lap(run, state.get("depth", 0))), shown_so_far(state["log"], self._runtime.store)
        text = str(reply.text)
        turn = TurnEntry(kind="turn", reply=await self._runtime.store.keep(text), limit=limit)
        final = parse_reply(text).final
        answer = final.text if final is not None and final.kind == "value" else text.strip()
        return RLMUpdate(log={str(turn_count(state["log"])): turn}, usage=cost), answer


async def _valued(answer: str, form: Format | None) -> RLMUpdate | Mismatch:
    """The answer as text, and its value where it has to have a form; else why it has not."""
    if form is None:
        return RLMUpdate(answer=answer)
    try:
        value = await asyncio.to_thread(form.read, answer)
    except Mismatch as mismatch:
        return mismatch
    return RLMUpdate(answer=text_of(value), structured_response=value)


def _ended(run: Run, state: RLMState, given: RLMUpdate) -> RLMUpdate:
    """What the run gives."""
    reason = state.get("limit") or "answered"
    run.emit(Answered(type="answer", stop_reason=reason, depth=state.get("depth", 0), trajectory=state["trajectory"]))
    message = AIMessage(given.get("answer", ""), response_metadata={"stop_reason": reason})
    return given | RLMUpdate(stop_reason=reason, messages=[message])


def shown_so_far(log: Log, store: BlobStore) -> str:
    """The last answer of this question that was refused, or what its code printed since; empty if there is neither."""
    last = turn_count(log) - 1
    for number in range(last, runs(log)[-1]["turn"] - 1, -1):
        if (refused := refusal(log, number)) is not None:
            return store.get_text(refused["answer"])
        steps = len(parse_reply(store.get_text(cast(TurnEntry, log[str(number)])["reply"])).steps)
        for index in range(steps - 1, -1, -1):
            entry = cast("CellEntry | None", log.get(cell_place(number, index)))
            if entry is not None and (text := store.get_text(entry["stdout"]).strip()):
                return text
    return ""
