"""Given again: what LangGraph makes of a run that it is given once more, and of a pause whose
answer was refused. Stores nothing."""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.pregel.keys import SCRATCHPAD, TASK_ID, WITHIN, first_pause

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import CheckpointTuple
    from langgraph.types import Interrupt


def run_of(config: "RunnableConfig", bound: "RunnableConfig | None" = None) -> Any:
    """The id that a caller gives its run, as servers do; None where it gives none.

    LangGraph copies it out of `configurable` where the metadata does not have it, and writes it
    into the metadata of the run's checkpoints.

    Args:
        config: of the call.
        bound: what `with_config` has bound to the graph.
    """
    metadata = {**((bound or {}).get("metadata") or {}), **(config.get("metadata") or {})}
    if "run_id" in metadata:
        return metadata["run_id"]
    return config.get("configurable", {}).get("run_id") or None


def continues_run(
    config: "RunnableConfig", bound: "RunnableConfig | None", saved: "CheckpointTuple | None"
) -> bool:
    """Whether LangGraph resumes a graph because its newest checkpoint is of the same run, whatever
    the input: so a server that lost a worker gives the same input again.

    Args:
        config: of the call.
        bound: what `with_config` has bound to the graph.
        saved: the checkpoint that the call begins from.
    """
    if saved is None or TASK_ID in config.get("configurable", {}):
        return False
    is_started = bool(saved.checkpoint["channel_versions"])
    return is_started and saved.metadata.get("run_id", TASK_ID) == run_of(config, bound)


def paused_again(value: Any, schema: Any) -> "Interrupt[Any]":
    """The pause of a task in which LangGraph's `interrupt` has just refused an answer, under the
    same id.

    LangGraph has counted the pause, and has the refused answer as the last of the task's.

    Args:
        value: what the pause shows.
        schema: the JSON schema of its answers.
    """
    from langgraph.config import get_config
    from langgraph.types import Interrupt

    given = get_config().get("configurable", {})
    scratchpad, namespace = given[SCRATCHPAD], given["checkpoint_ns"]
    answered = scratchpad.interrupt_counter() - 1
    del scratchpad.resume[answered:]
    of_pause = f"{namespace}{WITHIN}{answered}" if answered else namespace
    return Interrupt(value=value, id=first_pause(of_pause), response_schema=schema)
