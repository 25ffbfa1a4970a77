"""Fork: go back to where one entry of the log was written, and put another in its place.

What came before stays as it is. This is plain use of LangGraph's checkpoints and `update_state`: it
finds the checkpoint, and writes what the node that made the entry would have written.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Overwrite, StateSnapshot

from langgraph_rlm.errors import ConfigurationError, ForkError
from langgraph_rlm.log.entries import CallEntry, Log, LogEntry, QuestionEntry, ReplyEntry, TurnEntry
from langgraph_rlm.log.places import call_at, call_of, call_place, cell_place
from langgraph_rlm.log.reply import RULES, parse_reply
from langgraph_rlm.pregel.keys import nodes_of, tasks_of
from langgraph_rlm.pregel.savers import for_sync_use
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.open_batch import open_batch
from langgraph_rlm.state import RLMUpdate
from langgraph_rlm.storage.blobs import BlobStore

T = TypeVar("T")


def fork(graph: Any, config: RunnableConfig, place: str, value: Any) -> RunnableConfig:
    """Do what `afork` does, from sync code."""
    return waited(graph, lambda own: afork(own, config, place, value))


async def afork(graph: Any, config: RunnableConfig, place: str, value: Any) -> RunnableConfig:
    """Edit one entry of a run's log at the moment it was written, and give the config to continue.

        config = fork(rlm, {"configurable": {"thread_id": "t"}}, "0.0/1/0", "another reply")
        rlm.invoke(None, config)

    No model or tool is called again for what came before. What came after is not in the fork, and
    is done again; the old branch stays in the thread's history.

    Args:
        graph: an RLM with a checkpointer, or a graph with one as a node.
        config: the thread. Without a `checkpoint_id` its newest branch is edited, else the branch
            that ends there. With a `checkpoint_ns`, as `get_state(..., subgraphs=True)` gives it,
            an RLM within that still runs or waits is edited.
        place: `"2"` is a turn, `"2.0/3/17"` the answer to item 17 of a call, `"run.0"` a question.
        value: the model's whole reply for a turn, the text for a question, the result for a call:
            a text, or any JSON value for a tool or a call with `schema=`. An exception makes the
            call fail with its text.

    Raises:
        ForkError: the place is not in the log or cannot be edited, or nothing waits for that RLM
            any more.
    """
    given: dict[str, Any] = config.get("configurable", {})
    namespace: str = given.get("checkpoint_ns", "")
    if namespace:
        await _check_waits(graph, given["thread_id"], namespace)
    blobs = rlm_at(graph, namespace).rlm.blobs
    then = await _written(graph, config, place)
    log: Log = then.values["log"]
    update, node = await asyncio.to_thread(_edit, place, value, log, blobs)
    if open_batch(then) is not None:  # its answers stay with the checkpoint that the fork leaves
        update["log"] = {**_answers(call_of(place), log), **update.get("log", {})}
    later = _later(place, log)
    if later:
        raise ForkError(
            f"The checkpoint that has {place!r} has {later!r} as well, which came after it: "
            'fork there, or run the thread without durability="exit".'
        )
    at: dict[str, Any] = then.config.get("configurable", {})
    checkpoint = {key: at[key] for key in ("thread_id", "checkpoint_id")}
    kept: RunnableConfig = {
        "configurable": {**checkpoint, "checkpoint_ns": namespace},
        "metadata": config.get("metadata", {}),
    }
    forked = await graph.aupdate_state(kept, update, as_node=node)
    if namespace:
        return {"configurable": {"thread_id": given["thread_id"]}}
    return forked


async def _written(graph: Any, config: RunnableConfig, place: str) -> StateSnapshot:
    """Find the state of the first checkpoint of a branch whose log has `place`."""
    head = await graph.aget_state(config)
    log: Log = head.values.get("log", {})
    if place not in log:
        known = ", ".join(log) or "nothing"
        raise ForkError(f"There is no {place!r} in the log of this thread. It has {known}.")
    given = head.config["configurable"]
    own = {"thread_id": given["thread_id"], "checkpoint_ns": given.get("checkpoint_ns", "")}
    branch = await _branch(graph, own, given["checkpoint_id"])
    found = head
    first = 0
    last = len(branch) - 1
    while first < last:  # a log only grows, so bisection finds the checkpoint
        middle = (first + last + 1) // 2
        then = await graph.aget_state({"configurable": {**own, "checkpoint_id": branch[middle]}})
        if place in then.values.get("log", {}):
            found = then
            first = middle
        else:
            last = middle - 1
    return found


def _answers(call: str, log: Log) -> Log:
    """The answers to the call at a place."""
    return {place: log[place] for place in log if call_of(place) == call}


async def _branch(graph: Any, own: dict[str, Any], head: str) -> list[str]:
    """List the checkpoints of a branch, from its newest one, `head`, to its oldest."""
    parents: dict[str, str | None] = {}
    async for saved in graph.checkpointer.alist({"configurable": own}):
        parent = saved.parent_config
        parents[saved.config["configurable"]["checkpoint_id"]] = (
            parent and parent["configurable"]["checkpoint_id"]
        )
    branch = [head]
    while parent := parents.get(branch[-1]):
        branch.append(parent)
    return branch


def _later(place: str, log: Log) -> str | None:
    """Name an entry of the log that can only follow the one at `place`; None if there is none."""
    return next((later for later in _followers(place, log[place]) if later in log), None)


def _followers(place: str, entry: LogEntry) -> list[str]:
    """List the places that are written next after a question, a turn or an answer."""
    if entry["kind"] == "run":
        return [str(entry["turn"])]
    if entry["kind"] == "turn":
        number = int(place)
        first_cell = cell_place(number, 0)
        return [first_cell, call_place(first_cell, 0), str(number + 1)]
    asker, _, ordinal = call_of(place).rpartition("/")
    if "." in asker:
        return [asker, call_place(asker, int(ordinal) + 1)]
    return [cell_place(int(asker), 0)]  # a call that the root model made without code


def _edit(place: str, value: Any, log: Log, blobs: BlobStore) -> tuple[RLMUpdate, str]:
    """Give the update that edits an entry, and the node that would have written it."""
    entry = log[place]
    if entry["kind"] == "run":
        asked: QuestionEntry = {**entry, "question": blobs.put_text(_text(place, value))}
        return RLMUpdate(log={place: asked}), "ingest"
    if entry["kind"] == "turn" and entry["limit"] is None:
        return _turn(place, _text(place, value), blobs), "plan_code"
    if entry["kind"] == "reply":
        call = call_at(log, call_of(place))
        assert call is not None, "an answer is only written after its call"
        update = RLMUpdate(log={place: _reply(place, value, entry, call, blobs)})
        return update, "tool_interrupt" if call["call"] == "tool" else "sub_call"
    what = "the answer at a limit" if entry["kind"] == "turn" else f"a {entry['kind']}"
    raise ForkError(
        f"{place!r} is {what}, which follows from what came before. "
        "Edit a turn, a question, or the answer to a call."
    )


def _turn(place: str, reply: str, blobs: BlobStore) -> RLMUpdate:
    """Write a turn as `plan_code` would: an answer in prose ends the run."""
    entry = TurnEntry(kind="turn", reply=blobs.put_text(reply), limit=None, rules=RULES)
    no_limit: Any = Overwrite("")
    update = RLMUpdate(log={place: entry}, final=None, limit=no_limit)
    parsed = parse_reply(reply)
    if parsed.final is not None and parsed.final.kind == "value" and not parsed.cells:
        update["final"] = blobs.put_text(parsed.final.text)
    return update


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
    """Find the RLM that a checkpoint namespace of a graph belongs to.

    Raises:
        ForkError: there is none.
    """
    found = graph
    if namespace:
        within = graph.get_subgraphs(namespace=nodes_of(namespace), recurse=True)
        found = next((inner for _, inner in within), None)
    if not isinstance(found, RLMGraph):
        raise ForkError(f"There is no RLM at checkpoint_ns={namespace!r} of this graph.")
    return found


def has_checkpointer(graph: Any) -> bool:
    """Say whether a graph has a checkpointer of its own."""
    return isinstance(graph.checkpointer, BaseCheckpointSaver)


def waited(graph: Any, call: Callable[[Any], Awaitable[T]]) -> T:
    """Give sync code what `call` gives for a graph.

    The call runs on the background loop, and a sync checkpointer in threads.

    Raises:
        ConfigurationError: the graph has no checkpointer.
    """
    if not has_checkpointer(graph):
        raise ConfigurationError(
            "This graph has no checkpointer of its own, and so no thread to go back to: "
            "give one to create_rlm."
        )
    own = graph.copy({"checkpointer": for_sync_use(graph.checkpointer)})
    return wait_for(lambda: call(own))


async def _check_waits(graph: Any, thread: str, namespace: str) -> None:
    """Refuse to edit an RLM within whose parent, at any level, has continued without it."""
    for above, id in tasks_of(namespace):
        at = {"thread_id": thread, "checkpoint_ns": above}
        state = await graph.aget_state({"configurable": at})
        if not any(task.id == id and task.result is None for task in state.tasks):
            raise ForkError(
                f"Nothing waits for {namespace!r} any more: it has answered. "
                "Fork its parent, which runs it again."
            )
