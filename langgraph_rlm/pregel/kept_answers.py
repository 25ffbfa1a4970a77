"""Kept answers: answers to pauses that wait in the database for a process that may run the thread.

An answer is a pending write of a task that LangGraph does not know, on the newest checkpoint of the
thread's root. It is kept beside LangGraph's own answers and not as one of them: those belong to the
task that pauses, are never taken back, and have no room for who gave them.
"""

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langgraph_rlm.pregel.keys import RESUME_MAP, open_pauses

KEY = "langgraph_rlm_answer"
"""The channel of a kept answer."""
REFUSAL = "langgraph_rlm_refusal"
"""The channel of the refusal of one."""


@dataclass(frozen=True)
class KeptAnswer:
    """One answer that is kept."""

    pause: str
    """The id of LangGraph's `Interrupt`."""
    answer: Any
    """Plain JSON values."""
    by: str | None = None
    """Who gave it."""
    at: float = field(default_factory=time.time)
    """When, in seconds since the epoch."""
    number: int = 0
    """How many answers to the same pause were refused before it."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    refused: str | None = None
    """Why the process that took it up has refused it; the pause then waits for another one."""

    @property
    def task(self) -> str:
        """The task that it is written under: one for each number, so that there is one winner."""
        return _task(f"{KEY} {self.pause} {self.number}")


def _task(name: str) -> str:
    """Make a task's id, which some savers want to be a UUID."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, name))


def kept_in(saved: CheckpointTuple) -> dict[str, KeptAnswer]:
    """Give the newest answer to each open pause of a checkpoint, by the pause's id.

    Answers that were refused are among them.
    """
    refusals: dict[str, str] = {}
    found: dict[str, KeptAnswer] = {}
    for _, channel, value in saved.pending_writes or []:
        if channel == REFUSAL:
            refusal = json.loads(value)
            refusals[refusal["id"]] = refusal["error"]
        elif channel == KEY:
            kept = KeptAnswer(**json.loads(value))
            older = found.get(kept.pause)
            if older is None or kept.number > older.number:
                found[kept.pause] = kept
    return {
        pause: replace(found[pause], refused=refusals.get(found[pause].id))
        for pause in open_pauses(saved)
        if pause in found
    }


async def newest_of(saver: BaseCheckpointSaver[Any], thread: str) -> CheckpointTuple | None:
    """Read the newest checkpoint of a thread's root; None where there is none."""
    return await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})


async def ready_answers(saver: BaseCheckpointSaver[Any], thread: str) -> dict[str, KeptAnswer]:
    """Give the answers that wait to be taken up, by the pauses' ids."""
    saved = await newest_of(saver, thread)
    kept = {} if saved is None else kept_in(saved)
    return {pause: each for pause, each in kept.items() if each.refused is None}


def with_answers(config: RunnableConfig, kept: Mapping[str, KeptAnswer]) -> RunnableConfig:
    """Give a config that hands kept answers to the pauses within."""
    given = config.get("configurable", {})
    answers = {id: each.answer for id, each in kept.items()}
    return {
        **config,
        "configurable": {**given, RESUME_MAP: {**answers, **(given.get(RESUME_MAP) or {})}},
    }


async def keep_answer(
    saver: BaseCheckpointSaver[Any], saved: CheckpointTuple, given: KeptAnswer
) -> bool:
    """Keep an answer, unless there is one to the same pause.

    Of two at the same time savers keep the first, as they do for results of tasks.

    Args:
        saver: of the thread.
        saved: the newest checkpoint, with the open pause.
        given: its number is set here.

    Returns:
        Whether it is this answer that is kept.
    """
    before = kept_in(saved).get(given.pause)
    if before is not None:
        if before.refused is None:
            return False
        given = replace(given, number=before.number + 1)
    value = json.dumps(asdict(given))
    await saver.aput_writes(saved.config, [(KEY, value)], given.task)
    after = await saver.aget_tuple(saved.config)
    writes = [] if after is None else after.pending_writes or []
    return any(channel == KEY and written == value for _, channel, written in writes)


async def refuse_answers(
    saver: BaseCheckpointSaver[Any], thread: str, kept: Mapping[str, KeptAnswer], error: str
) -> None:
    """Note that answers were refused, so that their pauses take others."""
    saved = await newest_of(saver, thread)
    if saved is None:
        return
    for each in kept.values():
        value = json.dumps({"id": each.id, "error": error})
        await saver.aput_writes(saved.config, [(REFUSAL, value)], _task(f"{REFUSAL} {each.id}"))
