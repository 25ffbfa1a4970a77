"""Ingest: turn the input into a question and context handles. Never puts a large value in state."""

import secrets
import time
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from langgraph_rlm.budget.usage import Usage, spent
from langgraph_rlm.log.entries import Log, QuestionEntry, rolled_back_entry
from langgraph_rlm.log.places import cell_place, last_turn, questions_of, turn_count
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.runtime.run import frame_of
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.inputs import by_reference

EMPTY = {"suspended": None, "final": None, "answer": "", "stop_reason": ""}
"""What of the last question must not be taken for the next one's."""


class Ingest:
    """The node."""

    def __init__(self, rlm: RLMRuntime) -> None:
        self._rlm = rlm

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Open a run: the first on its thread starts a trajectory, a later one is a follow-up with the same variables."""
        frame = frame_of(config)
        frame.show_on(runtime)
        given = by_reference(
            {key: state.get(key) for key in ("query", "context", "messages")},
            self._rlm.blobs,
            is_stored=True,
        )
        log, stale = state.get("log", {}), cast(dict[str, Any], state)
        question = QuestionEntry(
            kind="run",
            question=given["query"],
            contexts=given["context"]["rlm_handles"],
            turn=turn_count(log),
            started=time.time(),
        )
        update = RLMUpdate(
            log={**_cut_off(state, self._rlm.blobs), f"run.{len(questions_of(log))}": question}
        )
        if questions_of(log):  # a channel that was never written takes no room in any checkpoint
            update["usage"], update["limit"] = (
                cast(Usage, Overwrite(spent())),
                cast(Any, Overwrite("")),
            )
            update |= cast(
                RLMUpdate, {key: empty for key, empty in EMPTY.items() if stale.get(key)}
            )
        if frame.form is not None or state.get("answer_schema") is not None:
            update["answer_schema"] = (
                None if frame.form is None else await self._rlm.blobs.keep(frame.form.text)
            )
            update["structured_response"] = None
        if given["messages"]:
            update["instructions"] = await self._rlm.blobs.keep(
                "\n\n".join(message.text for message in given["messages"])
            )
        if "trajectory" not in state:
            update["trajectory"] = secrets.token_urlsafe(16)
            if frame.depth:
                update["depth"] = frame.depth
            if frame.model is not None:
                update["model"] = frame.model
        return update


def _cut_off(state: RLMState, blobs: BlobStore) -> Log:
    """The cell that the last question left unfinished ends here, and is rolled back: nobody waits for its calls any more."""
    log = state.get("log", {})
    number = turn_count(log) - 1
    if (
        state.get("stop_reason")
        or state.get("final") is not None
        or not questions_of(log)
        or number < questions_of(log)[-1]["turn"]
    ):
        return {}
    turn = last_turn(log)
    places = [
        cell_place(number, index)
        for index in range(0 if turn["limit"] else len(reply_of(turn, blobs).steps))
    ]
    cut = next((place for place in places if place not in log), None)
    return {} if cut is None else {cut: rolled_back_entry("stopped", blobs)}
