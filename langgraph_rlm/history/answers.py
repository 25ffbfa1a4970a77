"""Answers: keep an answer to a pause for whichever process may run its thread, and continue.

    # a process that has no tools, such as a web page's
    answer(saver, config, {pause.id: {"type": "approve"}}, by="ann")

    # the process that has them
    resume(rlm, config, wait=True)

`rlm.invoke(None, config)` takes up what is kept too, and so does a graph with the RLM as a node.
Nothing here runs a tool.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Command

from langgraph_rlm.errors import AnsweredError, ConfigurationError, ResumeError
from langgraph_rlm.history.homes import Saver, in_sync_use, rlms_in, saver_of
from langgraph_rlm.pregel.kept_answers import (
    KeptAnswer,
    keep_answer,
    kept_in,
    newest_of,
    ready_answers,
)
from langgraph_rlm.pregel.keys import open_pauses
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.tools import BadArguments
from langgraph_rlm.tools.approvals import resume_map, tool_of_review

POLL = 0.5
"""Seconds between two looks at a thread that waits for answers."""


def answer(
    graph: Any, config: RunnableConfig, answers: Mapping[str, Any], *, by: str | None = None
) -> None:
    """Do what `aanswer` does, from sync code."""
    own = in_sync_use(graph)
    wait_for(lambda: aanswer(own, config, answers, by=by))


async def aanswer(
    graph: Any, config: RunnableConfig, answers: Mapping[str, Any], *, by: str | None = None
) -> None:
    """Keep answers to pauses in the database, where the next process that runs the thread finds
    them. The first answer to a pause counts.

    Args:
        graph: a graph with a checkpointer, or the checkpointer: no tool is needed here. An RLM
            with its tools checks edited arguments by the tools themselves.
        config: the thread, by its `thread_id`. Its newest checkpoint is the one that is answered.
        answers: a decision or a result for each pause, by the pause's id, as
            `Command(resume=...)` takes them.
        by: who answers; the log keeps it with the decision.

    Raises:
        ConfigurationError: there is no checkpointer, or no such thread.
        ResumeError: an answer has the wrong form.
        AnsweredError: its pause is not open, or is answered already. Where several answers are
            given and another process is faster with one of them, the others are kept.
    """
    saver = saver_of(graph)
    thread = _thread_of(config)
    saved = await newest_of(saver, thread)
    if saved is None:
        raise ConfigurationError(f"There is no thread {thread!r} in this checkpointer.")
    pauses = {id: (pause.value, pause.response_schema) for id, pause in open_pauses(saved).items()}
    checked = resume_map({**answers}, pauses)
    for id, given in checked.items():
        _check_edit(graph, pauses[id][0], given)
    _check_first(kept_in(saved), checked)
    late = [
        id
        for id, given in checked.items()
        if not await keep_answer(saver, saved, _plain(id, given, by))
    ]
    if late:
        raise _answered(late)


def _check_edit(graph: Any, value: Any, given: Any) -> None:
    """Check the arguments of an edit by the tool itself, where the tool is here.

    Raises:
        ResumeError: they do not fit.
    """
    name = tool_of_review(value)
    if name is None or not isinstance(graph, Pregel) or given.get("type") != "edit":
        return
    toolsets = [found.rlm.toolset for found in rlms_in(graph)]
    tools = [tool for each in toolsets for tool in (*each.root.values(), *each.children.values())]
    for tool in tools:
        if tool.name == name:
            try:
                tool.check(given["edited_action"]["args"])
            except BadArguments as error:
                raise ResumeError(f"{error} The call still waits.") from None


def _check_first(kept: Mapping[str, KeptAnswer], answers: Mapping[str, Any]) -> None:
    taken = [id for id in answers if id in kept and kept[id].refused is None]
    if taken:
        raise _answered(taken)


def _answered(ids: list[str]) -> AnsweredError:
    return AnsweredError(
        f"{', '.join(ids)} is answered already: the first answer counts, and is taken up by the "
        "next process that runs the thread."
    )


def _plain(id: str, given: Any, by: str | None) -> KeptAnswer:
    """Make an answer that can be kept as JSON. Raises `ResumeError`."""
    try:
        json.dumps(given)
    except (TypeError, ValueError) as error:
        raise ResumeError(f"The answer to {id} must be a JSON value: {error}.") from None
    return KeptAnswer(id, given, by)


def _thread_of(config: RunnableConfig) -> str:
    thread = config.get("configurable", {}).get("thread_id")
    if thread is None:
        raise ConfigurationError("Name the thread: config must have a thread_id in 'configurable'.")
    return str(thread)


async def akept_answers(graph: Any, config: RunnableConfig) -> Mapping[str, KeptAnswer]:
    """Give the answers to a thread's open pauses that are kept, by the pauses' ids.

    One that the process which took it up has refused is among them, and says why.
    """
    saved = await newest_of(saver_of(graph), _thread_of(config))
    return {} if saved is None else kept_in(saved)


def resume(
    graph: Any, config: RunnableConfig, *, wait: bool = False, seconds: float = POLL
) -> dict[str, Any]:
    """Do what `aresume` does, from sync code."""
    own = in_sync_use(graph)
    return wait_for(lambda: aresume(own, config, wait=wait, seconds=seconds))


async def aresume(
    graph: Any, config: RunnableConfig, *, wait: bool = False, seconds: float = POLL
) -> dict[str, Any]:
    """Continue a thread: where it was cut off, and with answers that are kept for it.

    Args:
        graph: a graph that may run the thread, with its tools.
        config: the thread.
        wait: whether to wait for answers until the run has ended. A process that waits holds
            nothing: others may run the thread meanwhile.
        seconds: between two looks at the database.

    Returns:
        What the graph gives; with `"__interrupt__"` where it waits for answers that nobody gave.

    Raises:
        ConfigurationError: there is no checkpointer, no such thread, or nothing to continue.
        ResumeError: a kept answer has a form that the tool refuses. Its pause is open again.
    """
    saver = saver_of(graph)
    thread = _thread_of(config)
    state = await graph.aget_state(config)
    if not state.tasks:
        raise ConfigurationError(f"Thread {thread!r} has nothing to continue.")
    is_paused = bool(state.interrupts)
    while True:
        if is_paused and wait:
            await _until_answered(saver, thread, seconds)
        out = await graph.ainvoke(await to_continue(graph, saver, thread), config)
        is_paused = bool((await graph.aget_state(config)).interrupts)
        if not (wait and is_paused):
            return out


async def to_continue(graph: Any, saver: Saver, thread: str) -> Command[Any] | None:
    """Make the input that continues a thread. An RLM takes up what is kept by itself."""
    if isinstance(graph, RLMGraph) or not isinstance(graph, Pregel):
        return None
    kept = await ready_answers(saver, thread)
    return Command(resume={id: each.answer for id, each in kept.items()}) if kept else None


async def _until_answered(saver: Saver, thread: str, seconds: float) -> None:
    while not await ready_answers(saver, thread):  # noqa: ASYNC110 - another process does not tell
        await asyncio.sleep(seconds)
