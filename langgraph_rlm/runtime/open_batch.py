"""Open batch: the answers that a batch has so far, in the state that LangGraph shows of its RLM.
Writes nothing."""

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import PregelTask, StateSnapshot

from langgraph_rlm.log.places import call_at
from langgraph_rlm.pregel.early_writes import early_writes
from langgraph_rlm.pregel.keys import CHECKPOINTER
from langgraph_rlm.state import RLMState


class ShowsAnswers(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph whose current state has the answers of an open batch in its log, as LangGraph shows
    what tasks that have ended have written. The state of a named checkpoint is as it was then."""

    def get_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Give the state as `Pregel.get_state` does."""
        state = super().get_state(config, subgraphs=subgraphs)
        task = self._open_now(config, state)
        if task is None:
            return state
        return _with_answers(state, task, self._saver_of(config).get_tuple(state.config))

    async def aget_state(self, config: RunnableConfig, *, subgraphs: bool = False) -> StateSnapshot:
        """Give the state as `Pregel.aget_state` does."""
        state = await super().aget_state(config, subgraphs=subgraphs)
        if self._open_now(config, state) is None:
            return state
        return await with_answers(state, self._saver_of(config))

    def _open_now(self, config: RunnableConfig, state: StateSnapshot) -> PregelTask | None:
        """The task of a batch that is open in the current state; None in that of a named
        checkpoint."""
        is_named = bool(config.get("configurable", {}).get("checkpoint_id"))
        return None if is_named else open_batch(state)

    def _saver_of(self, config: RunnableConfig) -> BaseCheckpointSaver[Any]:
        """The checkpointer that a state is read from: the one around, else the graph's own."""
        around = config.get("configurable", {}).get(CHECKPOINTER)
        return cast("BaseCheckpointSaver[Any]", around or self.checkpointer)


async def with_answers(state: StateSnapshot, saver: BaseCheckpointSaver[Any]) -> StateSnapshot:
    """Give a state whose log has the answers to its open batch, as far as they are saved.

    Args:
        state: of an RLM. Where no batch is open, it is given back.
        saver: that has it.
    """
    task = open_batch(state)
    if task is None:
        return state
    return _with_answers(state, task, await saver.aget_tuple(state.config))


def open_batch(state: StateSnapshot) -> PregelTask | None:
    """Give the task of a batch that has not ended; None where an RLM waits for none."""
    values = cast(RLMState, state.values)
    call = call_at(values.get("log") or {}, values.get("suspended"))
    if call is None or call["call"] != "llm" or len(state.tasks) != 1:
        return None
    [task] = state.tasks
    return task if task.name == "sub_call" and task.result is None else None


def _with_answers(
    state: StateSnapshot, task: PregelTask, saved: CheckpointTuple | None
) -> StateSnapshot:
    if saved is None:
        return state
    log = {**state.values["log"], **early_writes(saved, task.id, "log")}
    return StateSnapshot({**state.values, "log": log}, *state[1:])
