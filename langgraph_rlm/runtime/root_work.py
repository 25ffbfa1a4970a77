"""Root work: a root RLM at work, as observers are told of it. Decides nothing."""

from contextlib import AsyncExitStack

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.models.wrapped import model_name
from langgraph_rlm.runtime.run import Run, frame_of
from langgraph_rlm.telemetry.observers import begin, end
from langgraph_rlm.telemetry.work import Where, Work

LEFT = "rlm_traceparent"
"""Key in the metadata of a run's checkpoints of what its observers find there when it is resumed:
the OpenTelemetry context of the run's span."""


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
        The config, with what observers leave in the run's checkpoints.
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
    if not work.left_behind:
        return config
    return {**config, "metadata": {**config.get("metadata", {}), LEFT: work.left_behind}}


def let_rest(config: RunnableConfig, until_done: AsyncExitStack) -> None:
    """Have the interpreters of a root's run go before those of others, once it has ended or waits
    for a person."""
    frame = frame_of(config)
    if frame.is_top:
        run = frame.run
        until_done.callback(lambda: run.rlm.sessions.rest(run.interpreters))
