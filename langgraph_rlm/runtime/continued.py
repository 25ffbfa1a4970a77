"""Continued: whether a call begins a run or continues one, and with which answers to its pauses.
Runs nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from langgraph_rlm.errors import AnsweredError
from langgraph_rlm.pregel.kept_answers import KeptAnswer, ready_answers
from langgraph_rlm.pregel.keys import CHECKPOINTER, RESUMING, SCRATCHPAD
from langgraph_rlm.runtime.run import FRAME
from langgraph_rlm.tools.approvals import resume_map

Saver = BaseCheckpointSaver[Any]


class Continues(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose runs are continued: by None, by a command, by the same run id, or by a graph
    around it."""

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
        self, input: Any, config: RunnableConfig, kept: Mapping[str, KeptAnswer]
    ) -> Any:
        """`Command(resume=...)` with each answer under the id of its pause, checked before anything
        is stored; kept answers are among them."""
        has_own_thread = isinstance(self.checkpointer, BaseCheckpointSaver)
        if input is None and kept and SCRATCHPAD not in config.get("configurable", {}):
            input = Command()
        if not isinstance(input, Command) or not has_own_thread:
            return cast(Any, input)
        command = cast("Command[Any]", input)
        if command.resume is None and not kept:
            return command
        state = await self.aget_state(config)
        pauses = {pause.id: (pause.value, pause.response_schema) for pause in state.interrupts}
        answers = {id: each.answer for id, each in kept.items()}
        if command.resume is not None:
            given = resume_map(command.resume, pauses)
            if twice := sorted(given.keys() & kept.keys()):
                raise AnsweredError(
                    f"{', '.join(twice)} is answered already, by a process that could not run the "
                    "thread: continue it with None as the input."
                )
            answers |= given
        return replace(command, resume=resume_map(answers, pauses))

    async def is_resumed(self, given: Any, config: RunnableConfig) -> bool:
        """Whether a run goes on, and does not begin."""
        if given is None or isinstance(given, Command) or is_resumed_within(config):
            return True
        return await self._is_retried(config)

    async def _is_retried(self, config: RunnableConfig) -> bool:
        """Whether a root is given the run again that its thread is in, as servers do after a crash:
        LangGraph then resumes it, whatever the input."""
        id, given = config.get("metadata", {}).get("run_id"), config.get("configurable", {})
        if id is None or SCRATCHPAD in given or not self._saves(config):
            return False
        state = await self.aget_state(config)
        return bool(state.values) and (state.metadata or {}).get("run_id") == id

    def _saves(self, config: RunnableConfig) -> bool:
        """Whether what a call does is checkpointed."""
        around = config.get("configurable", {}).get(CHECKPOINTER)
        return isinstance(around or self.checkpointer, BaseCheckpointSaver)


def is_resumed_within(config: RunnableConfig) -> bool:
    """Whether a graph around this one resumes it. It then gets its first input again, which
    LangGraph ignores."""
    return bool(config.get("configurable", {}).get(RESUMING))


def _is_continued(input: Any) -> bool:
    """Whether a root is given nothing new: it continues, or gets answers to its pauses."""
    if input is None:
        return True
    return isinstance(input, Command) and cast("Command[Any]", input).resume is not None


def thread_of(config: RunnableConfig) -> str:
    """Give the id of the thread that a config names."""
    return str(config.get("configurable", {})["thread_id"])
