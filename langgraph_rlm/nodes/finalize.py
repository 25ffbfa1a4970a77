"""Finalize: check the answer and give it; at a limit, ask once for the best answer so far. Never raises because a limit was reached.

An answer that does not match the schema goes into the log as refused, and back to the root model while there are turns left.
"""

import asyncio
import json
from functools import reduce
from typing import cast

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import Usage, add_usage
from langgraph_rlm.log.entries import Log, RefusedEntry, TurnEntry
from langgraph_rlm.log.places import (
    cell_at,
    cell_place,
    questions_of,
    refusal,
    refused_place,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.reply import parse_reply, plain_final, without_reasoning
from langgraph_rlm.log.text import answer_text
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.nodes.root_call import ask_root, failed_update, lap
from langgraph_rlm.progress import Answered
from langgraph_rlm.runtime.run import ModelFailed, Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import Format, Mismatch, code_format, text_of, user_format
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.storage.blobs import BlobStore, Text


class Finalize:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """The answer as text, as one `AIMessage`, with its value where it has a schema, and why the run ended; or its refusal."""
        frame, final, refused = frame_of(config), state.get("final"), Log()
        frame.show_on(runtime)
        run, form = frame.run, self._form(state, frame.form)
        if state.get("limit") == "failed":
            return _ended(run, state, RLMUpdate(answer=state["answer"]))
        if final is not None:
            answer = self._rlm.blobs.get_text(final)
            given = await _valued(answer, form)
            if not isinstance(given, Mismatch):
                return RLMUpdate(usage=lap(run)) | _ended(run, state, given)
            refused = await self._refused(state, final, given)
            limit = self._limit(state, run)
            if limit is None:
                return RLMUpdate(log=refused, final=None, usage=lap(run))
            state = cast(RLMState, {**state, "log": {**state["log"], **refused}, "limit": limit})
        text, paid, depth = "", [lap(run)], state.get("depth", 0)
        try:
            text = await self._best(state, config, run, paid)
        except LimitReached:
            pass
        except ModelFailed as failure:
            state = cast(RLMState, {**state, **(failed := failed_update(failure, depth))})
            return (
                failed
                | RLMUpdate(log=refused, usage=reduce(add_usage, paid))
                | _ended(run, state, failed)
            )
        answer = answer_in(text) or shown_so_far(state["log"], self._rlm.blobs)
        given = await _valued(answer, form)
        unmatched = RLMUpdate(answer=answer) | (
            RLMUpdate(structured_response=None) if form else RLMUpdate()
        )
        update = RLMUpdate(
            log={**refused, **await self._turn(state, text)}, usage=reduce(add_usage, paid)
        )
        return update | _ended(run, state, unmatched if isinstance(given, Mismatch) else given)

    def _form(self, state: RLMState, given: Format | None) -> Format | None:
        """The form that the answer must have; None for text."""
        schema = state.get("answer_schema")
        if schema is None:
            return None
        text = self._rlm.blobs.get_text(schema)
        if state.get("depth", 0):
            return code_format(text)
        return given if given is not None and given.text == text else user_format(json.loads(text))

    async def _refused(self, state: RLMState, answer: Text, mismatch: Mismatch) -> Log:
        """The log entry of an answer that does not match."""
        entry = RefusedEntry(
            kind="refused", answer=answer, error=await self._rlm.blobs.keep(str(mismatch))
        )
        return {refused_place(turn_count(state["log"]) - 1): entry}

    def _limit(self, state: RLMState, run: Run) -> StopReason | None:
        """The limit that leaves no turn to repair an answer."""
        if state.get("limit"):
            return cast(StopReason, state.get("limit"))
        if run.ledger.seconds_left() == 0:
            return "max_seconds"
        turns = turn_count(state["log"]) - questions_of(state["log"])[-1]["turn"]
        return "max_iterations" if turns >= self._rlm.limits.max_iterations else None

    async def _best(
        self, state: RLMState, config: RunnableConfig, run: Run, paid: list[Usage]
    ) -> str:
        """The root model's best answer. One that calls its tools instead is told, once, that it is too late for them.

        What each call cost goes to `paid` at once. Raises `LimitReached` when the budget does not reach, and `ModelFailed`.
        """
        limit = cast(StopReason, state.get("limit"))
        messages = await asyncio.to_thread(conversation, state, self._rlm, limit=limit)
        reply = AIMessage("")
        for _ in range(2):
            reply, cost = await ask_root(self._rlm, messages, state, config, run)
            paid.append(cost)
            if str(reply.text).strip() or not reply.tool_calls:
                break
            messages = [*messages, *_too_late(reply, limit)]
        return str(reply.text)

    async def _turn(self, state: RLMState, text: str) -> Log:
        """The log entry of a best answer; nothing if there was none."""
        if not text.strip():
            return {}
        entry = TurnEntry(
            kind="turn",
            reply=await self._rlm.blobs.keep(text),
            limit=cast(StopReason, state.get("limit")),
        )
        return {str(turn_count(state["log"])): entry}


def _too_late(reply: AIMessage, limit: StopReason) -> list[AnyMessage]:
    """The tool calls of a reply, each refused: providers want every call answered."""
    calls = [
        {**call, "id": call["id"] or f"late_{index}"} for index, call in enumerate(reply.tool_calls)
    ]
    refusal = (
        f"Error: not called, limit {limit} is reached. Give your best answer now, in plain text."
    )
    results = [
        ToolMessage(refusal, tool_call_id=call["id"], name=call["name"], status="error")
        for call in calls
    ]
    return [AIMessage("", tool_calls=calls), *results]


def answer_in(text: str) -> str:
    """What a best answer says: the value of a FINAL, in code too where it is a plain one, for no code runs any more; or the text itself."""
    reply = parse_reply(text)
    if reply.final is not None and reply.final.kind == "value":
        return reply.final.text
    given = next(
        (value for code in reversed(reply.cells) if (value := plain_final(code)) is not None), None
    )
    return without_reasoning(text).strip() if given is None else answer_text(given)


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
    run.emit(
        Answered(
            type="answer",
            stop_reason=reason,
            depth=state.get("depth", 0),
            trajectory=state["trajectory"],
        )
    )
    message = AIMessage(given.get("answer", ""), response_metadata={"stop_reason": reason})
    return given | RLMUpdate(stop_reason=reason, messages=[message])


def shown_so_far(log: Log, blobs: BlobStore) -> str:
    """The last answer of this question that was refused, or what its code printed since; empty if there is neither."""
    last = turn_count(log) - 1
    for number in range(last, questions_of(log)[-1]["turn"] - 1, -1):
        if (refused := refusal(log, number)) is not None:
            return blobs.get_text(refused["answer"])
        steps = len(parse_reply(blobs.get_text(turn_at(log, number)["reply"])).steps)
        for index in range(steps - 1, -1, -1):
            entry = cell_at(log, cell_place(number, index))
            if entry is not None and (text := blobs.get_text(entry["stdout"]).strip()):
                return text
    return ""
