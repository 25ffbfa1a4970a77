"""Continued: whether a call begins a run or continues one, and with which answers to its pauses.
Runs nothing.

A server that loses a worker gives the same call again, with the same run id. LangGraph then resumes
the run, whatever its input. What it does not do is done here: an answer that was taken up is not
taken for one to the next pause, and a fork is not begun anew.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from langgraph_rlm.errors import AnsweredError, ResumeError
from langgraph_rlm.pregel.given_again import continues_run, run_of
from langgraph_rlm.pregel.kept_answers import KeptAnswer, ready_answers, refuse_answers
from langgraph_rlm.pregel.keys import RESUMING, SCRATCHPAD
from langgraph_rlm.runtime.run import FRAME
from langgraph_rlm.tools.approvals import Pauses, answers_by_id, is_by_id, resume_map
from langgraph_rlm.tools.asking import PROBLEMS, problem_of

Saver = BaseCheckpointSaver[Any]

ANSWER, ANSWERED = "rlm_answer", "rlm_answered"
"""Keys in the metadata of a run's checkpoints: the digest of the answers that the run was resumed
with, and the id of the pause that they were to, where they did not say it."""


class Continued(NamedTuple):
    """What a call is given, for LangGraph."""

    input: Any
    config: RunnableConfig


class Continues(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose runs are continued: by None, by a command, by the same run id, or by a graph
    around it."""

    async def at_newest(self, config: RunnableConfig, saver: Saver | None) -> RunnableConfig:
        """Leave out the checkpoint that a call names, where the same run has begun there before: it
        continues from what it saved since, and does not fork once more."""
        given = config.get("configurable", {})
        id = given.get("checkpoint_id")
        if saver is None or not id or SCRATCHPAD in given or run_of(config, self.config) is None:
            return config
        without = {key: value for key, value in given.items() if key != "checkpoint_id"}
        newest: RunnableConfig = {**config, "configurable": without}
        named, last = await saver.aget_tuple(config), await saver.aget_tuple(newest)
        if continues_run(config, self.config, named):
            return config
        return newest if continues_run(newest, self.config, last) else config

    async def kept(
        self, input: Any, config: RunnableConfig, saver: Saver | None
    ) -> Mapping[str, KeptAnswer]:
        """Answers that another process has kept for this one: where a root continues, or a graph
        around it does. Time travel asks again, as it does of LangGraph's own answers."""
        given = config.get("configurable", {})
        is_nested = SCRATCHPAD in given
        continues = is_resumed_within(config) if is_nested else _is_continued(input)
        if saver is None or FRAME in given or not continues:
            return {}
        if not is_nested and given.get("checkpoint_id"):
            return {}
        return await ready_answers(saver, thread_of(config))

    async def by_pause(
        self,
        input: Any,
        config: RunnableConfig,
        kept: Mapping[str, KeptAnswer],
        saver: Saver | None,
    ) -> Continued:
        """`Command(resume=...)` with each answer under the id of its pause; kept answers are among
        them.

        A run without an id has its answers checked before anything is stored. In one with an id,
        wrong ones are told in the pauses.

        Raises:
            AnsweredError: nothing waits.
            ResumeError: an answer is wrong, in a run without an id.
        """
        has_own_thread = isinstance(self.checkpointer, BaseCheckpointSaver)
        if input is None and kept and SCRATCHPAD not in config.get("configurable", {}):
            input = Command()
        if not isinstance(input, Command) or not has_own_thread or saver is None:
            return Continued(input, config)
        command = cast("Command[Any]", input)
        if command.resume is None and not kept:
            return Continued(command, config)
        state = await self.aget_state(config)
        pauses = {pause.id: (pause.value, pause.response_schema) for pause in state.interrupts}
        answers = {id: each.answer for id, each in kept.items()}
        run = run_of(config, self.config)
        if run is None:
            if command.resume is not None:
                answers |= _new(resume_map(command.resume, pauses), kept)
            answers = resume_map(answers, pauses)
        elif command.resume is not None:
            known = is_by_id(command.resume) and command.resume.keys() <= pauses.keys()
            digest = _digest(str(run), command.resume)
            before = None if known else await _given_before(str(run), digest, config, saver)
            problems = config.get("configurable", {})[PROBLEMS]
            given = _answers_of_run(command.resume, pauses, kept, before, problems)
            config = _noted(config, digest, before or next(iter(given), ""))
            answers |= given
        if answers or command.update or command.goto:
            return Continued(replace(command, resume=answers or None), config)
        return Continued(None, config)

    async def is_resumed(self, given: Any, config: RunnableConfig, saver: Saver | None) -> bool:
        """Whether a run goes on, and does not begin: LangGraph's rule."""
        if given is None or isinstance(given, Command) or is_resumed_within(config):
            return True
        if saver is None or SCRATCHPAD in config.get("configurable", {}):
            return False
        if run_of(config, self.config) is None:
            return False
        return continues_run(config, self.config, await saver.aget_tuple(config))


async def refuse_kept(
    kept: Mapping[str, KeptAnswer],
    problems: Mapping[str, str],
    saver: Saver | None,
    config: RunnableConfig,
) -> None:
    """Note which kept answers were refused in a run, and why: their pauses take others."""
    if saver is None:
        return
    for id in kept.keys() & problems.keys():
        await refuse_answers(saver, thread_of(config), {id: kept[id]}, problems[id])


def is_resumed_within(config: RunnableConfig) -> bool:
    """Whether a graph around this one resumes it. It then gets its first input again, which
    LangGraph ignores."""
    return bool(config.get("configurable", {}).get(RESUMING))


def _new(given: dict[str, Any], kept: Mapping[str, KeptAnswer]) -> dict[str, Any]:
    """Give answers back. Raises `AnsweredError` where one is to a pause that has a kept one."""
    if twice := sorted(given.keys() & kept.keys()):
        raise AnsweredError(
            f"{', '.join(twice)} is answered already, by a process that could not run the "
            "thread: continue it with None as the input."
        )
    return given


def _answers_of_run(
    resume: Any,
    pauses: Pauses,
    kept: Mapping[str, KeptAnswer],
    before: str | None,
    problems: dict[str, str],
) -> dict[str, Any]:
    """The answers that a run with an id is given, by their pauses; without those that it was given
    before and has taken up. What can be no answer is told in every open pause.

    Args:
        resume: what it is given.
        pauses: those that are open.
        kept: answers that are kept.
        before: the pause that the same run was given the same answer to before; None for never.
        problems: takes what is wrong.

    Raises:
        AnsweredError: nothing waits, and the run has not been here before.
    """
    if before is not None:
        by_id = resume if is_by_id(resume) else {before: resume}
        return {id: answer for id, answer in by_id.items() if id in pauses}
    try:
        return _new(answers_by_id(resume, pauses), kept)
    except ResumeError as error:
        if not pauses:
            raise
        problems.update(dict.fromkeys(pauses, problem_of(error)))
        return {}


def _digest(run: str, resume: Any) -> str:
    said = json.dumps(resume, sort_keys=True, default=repr)
    return hashlib.sha256(f"{run} {said}".encode()).hexdigest()[:32]


async def _given_before(run: str, digest: str, config: RunnableConfig, saver: Saver) -> str | None:
    """The pause that the same run was given the same answers to before, by what it has saved; None
    where it has saved nothing."""
    thread: RunnableConfig = {"configurable": {"thread_id": thread_of(config)}}
    async for saved in saver.alist(thread, filter={"run_id": run, ANSWER: digest}, limit=1):
        return str(cast(Any, saved.metadata).get(ANSWERED, ""))
    return None


def _noted(config: RunnableConfig, digest: str, pause: str) -> RunnableConfig:
    """The config of a run that says in its checkpoints which answers it was given."""
    noted = {**config.get("metadata", {}), ANSWER: digest, ANSWERED: pause}
    return {**config, "metadata": noted}


def _is_continued(input: Any) -> bool:
    """Whether a root is given nothing new: it continues, or gets answers to its pauses."""
    if input is None:
        return True
    return isinstance(input, Command) and cast("Command[Any]", input).resume is not None


def thread_of(config: RunnableConfig) -> str:
    """Give the id of the thread that a config names."""
    return str(config.get("configurable", {})["thread_id"])
