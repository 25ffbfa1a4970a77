"""Open batch: the answers that an open call has so far: in the state that LangGraph shows of its
RLM, and in an update of that state, where LangGraph would leave them out. Runs nothing."""

from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import PregelTask, StateSnapshot, StateUpdate

from langgraph_rlm.log.places import call_at, item_place
from langgraph_rlm.pregel.early_writes import early_writes
from langgraph_rlm.pregel.keys import CHECKPOINTER
from langgraph_rlm.state import CALL_NODES, RLMState
from langgraph_rlm.storage.json_types import is_dict


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

    async def abulk_update_state(self, config: RunnableConfig, supersteps: Any) -> RunnableConfig:
        """Update the state as `Pregel.abulk_update_state` does. An RLM that waits for answers keeps
        those that have come, and goes on waiting for the others, or goes on."""
        steps = [[*updates] for updates in supersteps]
        if steps and len(steps[0]) == 1 and _is_of_state(steps[0][0]):
            steps[0] = [await self._with_open_call(config, steps[0][0])]
        return await super().abulk_update_state(config, steps)

    async def _with_open_call(self, config: RunnableConfig, update: StateUpdate) -> StateUpdate:
        """An update with what LangGraph leaves out: the answers that have come since the last
        checkpoint. Without a node, it is of the call's where it has the last answer, since no other
        one goes on from there."""
        state = await self.aget_state(config)
        log = cast(RLMState, state.values).get("log") or {}
        place, tasks = state.values.get("suspended"), {task.name for task in state.tasks}
        if not tasks or not tasks <= CALL_NODES:
            return update
        values: dict[str, Any] = {**(update.values or {})}
        if not config.get("configurable", {}).get("checkpoint_id"):
            then = cast(RLMState, (await self.aget_state(state.config)).values).get("log") or {}
            came = {place: entry for place, entry in log.items() if place not in then}
            values["log"] = {**came, **values.get("log", {})}
        call = call_at(log, place)
        if place is None or call is None or update.as_node is not None:
            return StateUpdate(values or None, update.as_node, update.task_id)
        known = {**log, **values.get("log", {})}
        is_answered = all(item_place(place, item) in known for item in range(call["items"]))
        as_node = tasks.pop() if is_answered else None
        return StateUpdate(values or None, as_node, update.task_id)

    def _open_now(self, config: RunnableConfig, state: StateSnapshot) -> PregelTask | None:
        """The task of a batch that is open in the current state; None in that of a named
        checkpoint."""
        is_named = bool(config.get("configurable", {}).get("checkpoint_id"))
        return None if is_named else open_batch(state)

    def _saver_of(self, config: RunnableConfig) -> BaseCheckpointSaver[Any]:
        """The checkpointer that a state is read from: the one around, else the graph's own."""
        around = config.get("configurable", {}).get(CHECKPOINTER)
        return cast("BaseCheckpointSaver[Any]", around or self.checkpointer)


def _is_of_state(update: StateUpdate) -> bool:
    """Whether an update has values for the state, and is not one of LangGraph's own kinds."""
    values: object = update.values
    is_own = update.as_node is None or not update.as_node.startswith("__")
    return is_own and (values is None or is_dict(values))


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
