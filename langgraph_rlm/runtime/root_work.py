"""Root work: a root RLM at work, as observers and the metadata of checkpoints tell of it. Decides
nothing."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.models.wrapped import model_name
from langgraph_rlm.runtime.run import Run, frame_of
from langgraph_rlm.telemetry.observers import begin, end
from langgraph_rlm.telemetry.work import Where, Work

LEFT = "rlm_traceparent"
"""Key in the metadata of a run's checkpoints of what its observers find there when it is resumed:
the OpenTelemetry context of the run's span."""


MODEL = "rlm_model"
"""Key in the metadata of a run and of its checkpoints: the name of its root model."""


def labels_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Give what the metadata of a checkpoint says of an RLM, beside its model: what it has spent by
    then, and why it ended. By these keys savers and servers find checkpoints.

    Args:
        values: of the checkpoint.
    """
    labels: dict[str, Any] = {}
    usage: Usage | None = values.get("usage")
    if usage:
        labels["rlm_cost"] = round(usage["cost"], 6)
        labels["rlm_tokens"] = usage["input_tokens"] + usage["output_tokens"]
        if usage["unpriced_calls"]:
            labels["rlm_unpriced_calls"] = usage["unpriced_calls"]
    if reason := values.get("stop_reason"):
        labels["rlm_stop_reason"] = reason
    return labels


def root_work(name: str, config: RunnableConfig, run: Run) -> Work:
    """Make the work of a root.

    Args:
        name: of its graph.
        config: of the invocation.
        run: the invocation.
    """
    thread = str(config.get("configurable", {}).get("thread_id", ""))
    conversation = str(config.get("metadata", {}).get("thread_id", thread))
    where = Where(thread=thread, conversation=conversation)
    work = Work("rlm", name, where, model=model_name(run.rlm.model))
    work.is_resumed = run.resumed
    return work


def told(config: RunnableConfig, until_done: AsyncExitStack) -> RunnableConfig:
    """Tell observers that a root begins, and have them told how it ends. Of a child its parent
    tells.

    Args:
        config: with the frame of the RLM.
        until_done: closed when the invocation is over.

    Returns:
        The config, with what the run's checkpoints and its trace say of it: its model, and what
        observers leave there.
    """
    frame = frame_of(config)
    work = frame.work
    if not frame.is_top:
        return config
    begin(work)

    def ended(_: object, error: BaseException | None, __: object) -> None:
        work.spent = frame.run.ledger.usage
        if not work.stop_reason:
            work.outcome = "paused"
        end(work, error)

    until_done.push(ended)
    metadata = {**config.get("metadata", {}), MODEL: work.model}
    if work.left_behind:
        metadata[LEFT] = work.left_behind
    return {**config, "metadata": metadata}


def let_rest(config: RunnableConfig, until_done: AsyncExitStack) -> None:
    """Have the interpreters of a root's run go before those of others, once it has ended or waits
    for a person."""
    frame = frame_of(config)
    if frame.is_top:
        run = frame.run
        until_done.callback(lambda: run.rlm.sessions.rest(run.interpreters))
