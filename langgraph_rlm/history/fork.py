"""Forks: go back to where one entry of the log was written, and put something else in its place. What came before stays as it is.

A room above the graph, because it is plain use of LangGraph's checkpoints and `update_state`: it finds the checkpoint, and
writes what the node that made the entry would have written.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Overwrite

from langgraph_rlm.errors import ConfigurationError, ForkError
from langgraph_rlm.log.entries import CallEntry, Log, LogEntry, QuestionEntry, ReplyEntry, TurnEntry
from langgraph_rlm.log.places import call_place, cell_place
from langgraph_rlm.log.reply import parse_reply
from langgraph_rlm.pregel.keys import nodes_of, tasks_of
from langgraph_rlm.pregel.savers import for_sync_use
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.state import RLMUpdate
from langgraph_rlm.storage.blobs import BlobStore

T = TypeVar("T")


def fork(graph: Any, config: RunnableConfig, place: str, value: Any) -> RunnableConfig:
    """As `afork`."""
    return waited(graph, lambda own: afork(own, config, place, value))


async def afork(graph: Any, config: RunnableConfig, place: str, value: Any) -> RunnableConfig:
    """Edit one entry of a run's log at the moment it was written, and give the config to go on from.

        config = fork(rlm, {"configurable": {"thread_id": "t"}}, "0.0/1/0", "another reply")
        rlm.invoke(None, config)

    No model or tool is called again for what came before. What came after is not in the fork, and is done anew; the old
    branch stays in the thread's history.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: of the thread, for its newest branch; with `checkpoint_id` for the branch that ends there; with the `checkpoint_ns` of
            an RLM within that still runs or waits, as `get_state(..., subgraphs=True)` gives it.
        place: `"2"` a turn, `"2.0/3/17"` the answer to item 17 of a call, `"run.0"` a question.
        value: of a turn the model's whole reply; of a question its text; of a call its result: a text, or any JSON value where it is
            a tool's or has a `schema=`; an exception makes the call fail with its text.

    Raises:
        ForkError: the place is not in the log or cannot be edited, or what waited for that RLM is over.
    """
    given: dict[str, Any] = config.get("configurable", {})
    namespace = cast(str, given.get("checkpoint_ns", ""))
    if namespace:
        await _check_waits(graph, given["thread_id"], namespace)
    blobs = rlm_at(graph, namespace).rlm.blobs
    log, found = await _written(graph, config, place)
    update, node = await asyncio.to_thread(_edit, place, value, log, blobs)
    if later := _later(place, log):
        raise ForkError(
            f"The checkpoint that has {place!r} has {later!r} as well, which came after it: fork there, or run the thread without "
            'durability="exit".'
        )
    forked = await graph.aupdate_state(found, update, as_node=node)
    return {"configurable": {"thread_id": given["thread_id"]}} if namespace else forked


async def _written(graph: Any, config: RunnableConfig, place: str) -> tuple[Log, RunnableConfig]:
    """The first checkpoint of a branch whose log has `place`: that log, and where it is."""
    head = await graph.aget_state(config)
    if place not in head.values.get("log", {}):
        known = ", ".join(head.values.get("log", {})) or "nothing"
        raise ForkError(f"There is no {place!r} in the log of this thread. It has {known}.")
    given = head.config["configurable"]
    own = {"thread_id": given["thread_id"], "checkpoint_ns": given.get("checkpoint_ns", "")}
    parents: dict[str, str | None] = {}
    async for saved in graph.checkpointer.alist({"configurable": own}):
        parents[saved.config["configurable"]["checkpoint_id"]] = (
            saved.parent_config and saved.parent_config["configurable"]["checkpoint_id"]
        )
    branch = [given["checkpoint_id"]]
    while parent := parents.get(branch[-1]):
        branch.append(parent)
    log, first, last = cast(Log, head.values["log"]), 0, len(branch) - 1
    while first < last:  # a log only grows
        middle = (first + last + 1) // 2
        then = await graph.aget_state({"configurable": {**own, "checkpoint_id": branch[middle]}})
        if place in then.values.get("log", {}):
            log, first = then.values["log"], middle
        else:
            last = middle - 1
    return log, {"configurable": {**own, "checkpoint_id": branch[first]}}


def _later(place: str, log: Log) -> str | None:
    """What is in the log though it can only follow on `place`."""
    entry = log[place]
    if entry["kind"] == "run":
        follows = [str(entry["turn"])]
    elif entry["kind"] == "turn":
        first = cell_place(int(place), 0)
        follows = [first, call_place(first, 0), str(int(place) + 1)]
    else:
        call, _, _ = place.rpartition("/")
        cell, _, ordinal = call.rpartition("/")
        follows = (
            [cell, call_place(cell, int(ordinal or 0) + 1)]
            if "." in cell
            else [cell_place(int(cell or 0), 0)]
        )
    return next((later for later in follows if later in log), None)


def _edit(place: str, value: Any, log: Log, blobs: BlobStore) -> tuple[RLMUpdate, str]:
    """The update, and the node that would have made it."""
    entry = log[place]
    if entry["kind"] == "run":
        asked: QuestionEntry = {**entry, "question": blobs.put_text(_text(place, value))}
        return RLMUpdate(log={place: asked}), "ingest"
    if entry["kind"] == "turn" and entry["limit"] is None:
        return _turn(place, _text(place, value), blobs), "plan_code"
    if entry["kind"] == "reply":
        call = cast(CallEntry, log[place.rpartition("/")[0]])
        return RLMUpdate(
            log={place: _reply(place, value, entry, call, blobs)}
        ), "tool_interrupt" if call["call"] == "tool" else "sub_call"
    what = "the answer at a limit" if entry["kind"] == "turn" else f"a {entry['kind']}"
    raise ForkError(
        f"{place!r} is {what}, which follows from what came before. Edit a turn, a question, or the answer to a call."
    )


def _turn(place: str, reply: str, blobs: BlobStore) -> RLMUpdate:
    """As `plan_code` would have written it: an answer in prose ends the run."""
    parsed = parse_reply(reply)
    final = (
        parsed.final.text
        if parsed.final is not None and parsed.final.kind == "value" and not parsed.cells
        else None
    )
    entry: LogEntry = TurnEntry(kind="turn", reply=blobs.put_text(reply), limit=None)
    return RLMUpdate(
        log={place: entry},
        final=None if final is None else blobs.put_text(final),
        limit=cast(Any, Overwrite("")),
    )


def _reply(
    place: str, value: Any, entry: ReplyEntry, call: CallEntry, blobs: BlobStore
) -> ReplyEntry:
    if isinstance(value, BaseException):
        return {**entry, "value": None, "error": f"{type(value).__name__}: {value}"}
    is_json = call["call"] == "tool" or entry.get("json")
    text = json.dumps(value, ensure_ascii=False) if is_json else _text(place, value)
    return {**entry, "value": blobs.put_text(text), "error": None}


def _text(place: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ForkError(f"What is to stand at {place!r} must be a non-empty str, got {value!r}.")
    return value


def rlm_at(graph: Any, namespace: str) -> RLMGraph:
    """The RLM that a checkpoint namespace of a graph is of. Raises `ForkError` where there is none."""
    found = graph
    if namespace:
        within = graph.get_subgraphs(namespace=nodes_of(namespace), recurse=True)
        found = next((inner for _, inner in within), None)
    if not isinstance(found, RLMGraph):
        raise ForkError(f"There is no RLM at checkpoint_ns={namespace!r} of this graph.")
    return found


def waited(graph: Any, call: Callable[[Any], Awaitable[T]]) -> T:
    """What `call` gives for a graph, to a sync caller: on the background loop, with a sync checkpointer in threads."""
    if not isinstance(graph.checkpointer, BaseCheckpointSaver):
        raise ConfigurationError(
            "This graph has no checkpointer of its own, and so no thread to go back to: give one to create_rlm."
        )
    own = graph.copy({"checkpointer": for_sync_use(cast(Any, graph.checkpointer))})
    return wait_for(lambda: call(own))


async def _check_waits(graph: Any, thread: str, namespace: str) -> None:
    """Refuse to edit an RLM within whose parent, at any level, goes on without it."""
    for above, id in tasks_of(namespace):
        at = {"thread_id": thread, "checkpoint_ns": above}
        state = await graph.aget_state({"configurable": at})
        if not any(task.id == id and task.result is None for task in state.tasks):
            raise ForkError(
                f"Nothing waits for {namespace!r} any more: it has answered. Fork its parent, which runs it anew."
            )
