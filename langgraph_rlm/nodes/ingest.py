"""Ingest: turn the input into a question and context handles. Never puts a large value in state."""

import asyncio
import secrets
import time
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from langgraph_rlm.budget.usage import spent
from langgraph_rlm.log.entries import Log, QuestionEntry, rolled_back_entry
from langgraph_rlm.log.places import (
    cell_place,
    last_turn,
    question_place,
    questions_of,
    turn_count,
)
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.log.steps import open_steps
from langgraph_rlm.runtime.run import Frame, frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.storage.context import ContextHandle, HandleDict
from langgraph_rlm.storage.inputs import Given, by_reference

EMPTY: RLMUpdate = {"suspended": None, "final": None, "answer": "", "stop_reason": ""}
"""What belongs to the last question alone, and its empty values."""

NEW = cast(RLMState, {})
"""The state of an RLM that has not been asked anything."""


class Ingest:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Put a question to the thread. A later one is a follow-up, and finds the variables of
        those before it."""
        frame = frame_of(config)
        frame.show_on(runtime)
        if state.get("query") is None and state.get("messages") is None:
            return RLMUpdate()  # a child, which has begun with its question in its log
        wanted = {key: state.get(key) for key in ("query", "context", "messages")}
        given = by_reference(wanted, self._rlm.blobs, is_stored=True)
        update = await self.asked(given, frame, state)
        frame.work.is_of(update.get("trajectory") or state["trajectory"])
        return update

    async def asked(self, given: Given, frame: Frame, state: RLMState = NEW) -> RLMUpdate:
        """Put a question to an RLM.

        A child begins with this as its state: it is asked once, and nothing of it is to be saved
        before it begins.

        Args:
            given: the question.
            frame: where in the tree it is.
            state: of the RLM; `NEW` before its first question.
        """
        log = state.get("log", {})
        questions = questions_of(log)
        contexts = given["context"]["rlm_handles"]
        if contexts:
            contexts = await asyncio.to_thread(self._with_tables, contexts)
        question = QuestionEntry(
            kind="run",
            question=given["query"],
            contexts=contexts,
            turn=turn_count(log),
            started=time.time(),
        )
        skills = await asyncio.to_thread(self._rlm.skills.now)
        if skills is not None:
            question["skills"] = skills
        if not questions:
            question["sandbox"] = self._rlm.sandbox(log).name
        if frame.run.settings is not None:
            question["settings"] = frame.run.settings
        new: Log = {**self._cut_off(state), question_place(len(questions)): question}
        update = RLMUpdate(log=stamp(new, frame.run.id))
        if questions:
            update |= _without_the_last(state)
        if frame.form is not None or state.get("answer_schema") is not None:
            update |= await self._form(frame)
        if given["messages"]:
            text = "\n\n".join(message.text for message in given["messages"])
            update["instructions"] = await self._rlm.blobs.keep(text)
        if "trajectory" not in state:
            update |= _identity(frame)
        return update

    def _with_tables(self, contexts: list[HandleDict]) -> list[HandleDict]:
        """Find the tables of each context, once: what is in the log does not change with the
        version of DuckDB."""
        blobs, found = self._rlm.blobs, list[HandleDict]()
        for given in contexts:
            catalog = self._rlm.sessions.desk.look(ContextHandle.from_dict(given), blobs)
            is_empty = not (catalog.tables or catalog.left_out)
            found.append(given if is_empty else {**given, "tables": catalog.keep(blobs)})
        return found

    async def _form(self, frame: Frame) -> RLMUpdate:
        """The form that the answer to this question has to have; None takes back that of the last
        one."""
        schema = None
        if frame.form is not None:
            schema = await self._rlm.blobs.keep(frame.form.text)
        return RLMUpdate(answer_schema=schema, structured_response=None)

    def _cut_off(self, state: RLMState) -> Log:
        """Roll back the cell that the last question left unfinished: nobody waits for its calls any
        more."""
        log = state.get("log", {})
        questions, number = questions_of(log), turn_count(log) - 1
        is_over = bool(state.get("stop_reason")) or state.get("final") is not None
        if is_over or not questions or number < questions[-1]["turn"]:
            return {}
        turn = last_turn(log)
        if turn["limit"]:
            return {}
        reply = reply_of(turn, self._rlm.blobs)
        for index in open_steps(log, number, reply, self._rlm.blobs):
            place = cell_place(number, index)
            return {place: rolled_back_entry("stopped", self._rlm.blobs)}
        return {}


def _without_the_last(state: RLMState) -> RLMUpdate:
    """The state's values that belong to the last question, emptied.

    A channel that was never written takes no room in any checkpoint, so only those that have a
    value are written.
    """
    known = cast(dict[str, Any], state)
    update: dict[str, Any] = {name: empty for name, empty in EMPTY.items() if known.get(name)}
    return cast(RLMUpdate, {"usage": Overwrite(spent()), "limit": Overwrite(""), **update})


def _identity(frame: Frame) -> RLMUpdate:
    """What an RLM is from its first question on."""
    update = RLMUpdate(trajectory=secrets.token_urlsafe(16))
    if frame.depth:
        update["depth"] = frame.depth
    if frame.model is not None:
        update["model"] = frame.model
    return update
