"""Finalize: check the answer and give it; at a limit, ask once for the best answer so far.

Reaching a limit never raises. An answer that does not match the schema goes into the log as
refused, and back to the root model while there are turns left.
"""

import asyncio
import json
from functools import reduce

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import LimitReached
from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.budget.usage import Usage, add_usage, spent
from langgraph_rlm.log.entries import Log, RefusedEntry
from langgraph_rlm.log.files import files_in
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import (
    cells_of,
    iteration_of,
    last_question,
    refusal,
    refused_place,
    turn_at,
    turn_count,
    turns,
)
from langgraph_rlm.log.python import assigned_names, plain_final
from langgraph_rlm.log.reply import RULES, parse_reply, reply_of
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.log.text import answer_text
from langgraph_rlm.log.thoughts import without_thoughts
from langgraph_rlm.models.overflow import overflow_of
from langgraph_rlm.models.replies import message_text
from langgraph_rlm.nodes.conversation import conversation
from langgraph_rlm.nodes.coverage import with_coverage
from langgraph_rlm.nodes.events import events_of
from langgraph_rlm.nodes.root_call import ask_root, failed_update, new_turn, time_spent
from langgraph_rlm.runtime.run import Frame, ModelFailed, Paid, Run, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import Format, Mismatch, code_format, text_of, user_format
from langgraph_rlm.state import RLMState, RLMUpdate, changed, limit_of
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.out_files import given_files

TRIES = 2
"""How often the root model is asked for its best answer: once more if it calls tools instead."""


BEST_ANSWER = "best answer"
"""What the call at a limit is for, as tracers name it."""


class Finalize:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Give the answer as text and as one `AIMessage`, its value where it has a schema, and why
        the run ended.

        An answer that does not match gives its refusal instead, and the run continues.
        """
        frame = frame_of(config)
        frame.show_on(runtime)
        update = await self._finish(state, config, frame)
        stamp(update.get("log", {}), frame.run.id)
        if "stop_reason" not in update:
            return update
        return await self._given(update, state, frame)

    async def of_child(self, update: RLMUpdate, state: RLMState, frame: Frame) -> RLMUpdate:
        """Give what a cell of a child has come to; an answer as this node would give it.

        To give an answer asks no model, so it needs no step of its own, which is a quarter of what
        a child takes. One that does not match is left to the node.

        Args:
            update: of the state, by a turn whose cells have ended.
            state: before it.
            frame: of the child.
        """
        final = update.pop("final", None)
        if final is None:
            return update
        log = {**state["log"], **update.get("log", {})}
        known = changed(state, log=log, limit=update.get("limit") or state.get("limit", ""))
        form = self._form(state, frame.form)
        given = await _valued(self._rlm.blobs.get_text(final), form)
        if isinstance(given, Mismatch):
            return update | RLMUpdate(final=final)
        usage = add_usage(update.get("usage") or spent(), time_spent(frame.run))
        whole = update | _ended(frame.run, known, given) | RLMUpdate(usage=usage)
        return await self._given(whole, state, frame)

    async def _given(self, update: RLMUpdate, state: RLMState, frame: Frame) -> RLMUpdate:
        """What an RLM gives, with what of its contexts it has covered."""
        frame.work.stop_reason = update.get("stop_reason", "")
        if frame.depth:  # nobody asks a child another question
            self._rlm.sessions.drop(state["trajectory"])
        return await with_coverage(update, state, self._rlm)

    async def _finish(self, state: RLMState, config: RunnableConfig, frame: Frame) -> RLMUpdate:
        if state.get("limit") == "failed":
            return _ended(frame.run, state, RLMUpdate(answer=state["answer"]))
        form = self._form(state, frame.form)
        final = state.get("final")
        if final is None:
            return await self._best_answer(state, config, frame.run, form)
        return await self._answer(state, config, frame.run, form, final)

    async def _answer(
        self,
        state: RLMState,
        config: RunnableConfig,
        run: Run,
        form: Format | None,
        final: Text,
    ) -> RLMUpdate:
        """There is an answer: give it if it matches, else refuse it, and at a limit ask for the
        best one."""
        given = await _valued(self._rlm.blobs.get_text(final), form)
        if not isinstance(given, Mismatch):
            return RLMUpdate(usage=time_spent(run)) | _ended(run, state, given)
        refused = await self._refused(state, final, given)
        limit = self._limit(state, run)
        if limit is None:
            return RLMUpdate(log=refused, final=None, usage=time_spent(run))
        known = changed(state, log=merge_log(state["log"], [refused]), limit=limit)
        update = await self._best_answer(known, config, run, form)
        update["log"] = {**refused, **update.get("log", {})}
        return update

    async def _best_answer(
        self, state: RLMState, config: RunnableConfig, run: Run, form: Format | None
    ) -> RLMUpdate:
        """A limit came first: ask the root model for its best answer, and make do with what there
        is if it gives none."""
        paid, best = [time_spent(run)], Paid(AIMessage(""), spent(), 0.0)
        try:
            best = await self._ask(state, config, run, paid)
        except LimitReached:
            pass  # what code has shown so far is the answer
        except ModelFailed as failure:
            failed = failed_update(failure, state.get("depth", 0))
            failed["usage"] = reduce(add_usage, paid)
            return failed | _ended(run, changed(state, limit="failed"), failed)
        answer = self._answer_in(best.reply, state) or shown_so_far(state["log"], self._rlm.blobs)
        given = await _valued(answer, form)
        if isinstance(given, Mismatch):
            given = RLMUpdate(answer=answer, structured_response=None)
        update = RLMUpdate(log=await self._turn(state, best), usage=reduce(add_usage, paid))
        return update | _ended(run, state, given)

    async def _ask(
        self, state: RLMState, config: RunnableConfig, run: Run, paid: list[Usage]
    ) -> Paid:
        """The root model's best answer. If it calls its tools instead, it is told once that it is
        too late for them.

        Args:
            state: with the limit that was reached.
            config: of the node.
            run: the invocation.
            paid: takes at once what each call has cost.

        Raises:
            LimitReached: the budget does not suffice.
            ModelFailed: the model's client raised.
        """
        limit = state["limit"]
        messages = await asyncio.to_thread(conversation, state, self._rlm, limit=limit)
        best = await self._ask_once(messages, state, config, run)
        paid.append(best.cost)
        for _ in range(1, TRIES):
            if message_text(best.reply).strip() or not best.reply.tool_calls:
                break
            messages = [*messages, *_too_late(best.reply, limit)]
            best = await self._ask_once(messages, state, config, run)
            paid.append(best.cost)
        return best

    async def _ask_once(
        self, messages: list[AnyMessage], state: RLMState, config: RunnableConfig, run: Run
    ) -> Paid:
        """One call; a conversation that the model refuses as too long is cut to half its window."""
        model = self._rlm.root_model(state.get("depth", 0), state.get("model"))
        try:
            return await ask_root(self._rlm, messages, state, config, run, BEST_ANSWER)
        except ModelFailed as failure:
            overflow = overflow_of(failure.error)
            if overflow is None:
                raise
            self._rlm.windows.learn(model, overflow, messages)
        shorter = self._rlm.windows.fitted(model, messages)
        best = await ask_root(self._rlm, shorter, state, config, run, BEST_ANSWER)
        return Paid(best.reply, best.cost, best.seconds, was_shortened=True)

    def _answer_in(self, reply: AIMessage, state: RLMState) -> str:
        """What a best answer says; empty where it names a variable, since no code runs any more."""
        log, blobs = state["log"], self._rlm.blobs
        text = message_text(reply)
        final = parse_reply(text).final
        if final is not None and final.kind == "variable":
            codes = (code for turn in turns(log) for code in reply_of(turn, blobs).cells)
            is_bound = any(final.text in assigned_names(code) for code in codes)
            return final.text if final.is_word and not is_bound else ""
        return answer_in(text)

    def _form(self, state: RLMState, given: Format | None) -> Format | None:
        """The form that the answer must have; None for text."""
        schema = state.get("answer_schema")
        if schema is None:
            return None
        text = self._rlm.blobs.get_text(schema)
        if state.get("depth", 0):
            return code_format(text)
        if given is not None and given.text == text:
            return given
        return user_format(json.loads(text))

    async def _refused(self, state: RLMState, answer: Text, mismatch: Mismatch) -> Log:
        """The log entry of an answer that does not match."""
        error = await self._rlm.blobs.keep(str(mismatch))
        place = refused_place(turn_count(state["log"]) - 1)
        return {place: RefusedEntry(kind="refused", answer=answer, error=error)}

    def _limit(self, state: RLMState, run: Run) -> StopReason | None:
        """The limit that leaves no turn to repair an answer."""
        limit = limit_of(state)
        if limit is not None:
            return limit
        if run.ledger.seconds_left() == 0:
            return "max_seconds"
        if iteration_of(state["log"]) >= self._rlm.limits.max_iterations:
            return "max_iterations"
        return None

    async def _turn(self, state: RLMState, best: Paid) -> Log:
        """The log entry of a best answer; nothing if there was none."""
        if not message_text(best.reply).strip():
            return {}
        entry = await new_turn(best, self._rlm, limit=state["limit"])
        return {str(turn_count(state["log"])): entry}


def _too_late(reply: AIMessage, limit: str) -> list[AnyMessage]:
    """The tool calls of a reply, each refused: providers want every call answered."""
    calls = [
        {**call, "id": call["id"] or f"late_{index}"} for index, call in enumerate(reply.tool_calls)
    ]
    told = f"Error: not called, limit {limit} is reached. Give your best answer now, in plain text."
    results = [
        ToolMessage(told, tool_call_id=call["id"], name=call["name"], status="error")
        for call in calls
    ]
    return [AIMessage("", tool_calls=calls), *results]


def answer_in(text: str) -> str:
    """Read what a best answer says: the value of a FINAL, or the text itself.

    A FINAL may stand in code too, where its value needs no running, since no code runs any more.
    """
    reply = parse_reply(text)
    if reply.final is not None and reply.final.kind == "value":
        return reply.final.text
    for code in reversed(reply.cells):
        value = plain_final(code)
        if value is not None:
            return answer_text(value, RULES)
    return without_thoughts(text).strip()


async def _valued(answer: str, form: Format | None) -> RLMUpdate | Mismatch:
    """The answer as text, and its value where it has to have a form; else why it does not have
    it."""
    if form is None:
        return RLMUpdate(answer=answer)
    try:
        value = await asyncio.to_thread(form.read, answer)
    except Mismatch as mismatch:
        return mismatch
    return RLMUpdate(answer=text_of(value), structured_response=value)


def _ended(run: Run, state: RLMState, given: RLMUpdate) -> RLMUpdate:
    """What the run gives, with the reason why it ended."""
    reason = state.get("limit") or "answered"
    events_of(run, state).answered(reason)
    message = AIMessage(given.get("answer", ""), response_metadata={"stop_reason": reason})
    given |= RLMUpdate(stop_reason=reason, messages=[message])
    files = given_files(files_in(state["log"]))
    return given | RLMUpdate(files=files) if files or state.get("files") else given


def shown_so_far(log: Log, blobs: BlobStore) -> str:
    """The last answer of this question that was refused, or what its code printed since; empty if
    there is neither."""
    first, last = last_question(log)["turn"], turn_count(log) - 1
    for number in range(last, first - 1, -1):
        refused = refusal(log, number)
        if refused is not None:
            return blobs.get_text(refused["answer"])
        reply = reply_of(turn_at(log, number), blobs)
        for entry in reversed(cells_of(log, number, len(reply.steps))):
            printed = "" if entry is None else blobs.get_text(entry["stdout"]).strip()
            if printed:
                return printed
    return ""
