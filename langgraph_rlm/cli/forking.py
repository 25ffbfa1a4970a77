"""Forking: what stands at a place of a thread, and the thread continued with something else there.

Never parses or prints.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph_rlm.cli.jobs import Job
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.suggestions import did_you_mean
from langgraph_rlm.cli.working import opened_graph
from langgraph_rlm.errors import ForkError
from langgraph_rlm.hosting.pauses import WITHIN
from langgraph_rlm.log.places import call_at, call_of

if TYPE_CHECKING:
    from langgraph_rlm.history.run_tree import RLMTree
    from langgraph_rlm.storage.blobs import BlobStore

SHOWN_PLACES = 12
"""Most places that an error names."""


@dataclass(frozen=True)
class Standing:
    """What stands at a place."""

    text: str
    """The reply, the question, or the answer; JSON where it `is_json`."""
    is_json: bool
    suffix: str
    """The ending of a file with it, for editors."""


@dataclass(frozen=True)
class Forked:
    """A new branch."""

    checkpoint: str
    """Where it begins."""
    old: str
    """The newest checkpoint of the branch that it left."""


def standing(job: Job, place: str) -> Standing:
    """Read what stands at a place of a thread's log, or of a child's: `0.1/0/3:2`.

    Raises:
        ForkError: there is nothing, or nothing that can be edited.
    """
    return _run(_standing(job, place))


def forked(job: Job, place: str, value: Any) -> Forked:
    """Make the branch in which `value` stands at a place.

    Raises:
        ForkError: the place is not in the log, or cannot be edited.
    """
    return _run(_forked(job, place, value))


def _run(work: Any) -> Any:
    return run_until_ctrl_c(work, lambda: None)


async def _standing(job: Job, place: str) -> Standing:
    from langgraph_rlm.history.homes import rlms_in

    async with opened_graph(job) as (graph, config):
        tree, own = await _found(graph, config, place)
        blobs: BlobStore = next(rlms_in(graph)).rlm.blobs
        entry: Any = tree.log[own]
        if entry["kind"] == "run":
            return Standing(blobs.get_text(entry["question"]), is_json=False, suffix=".txt")
        if entry["kind"] == "turn":
            return Standing(blobs.get_text(entry["reply"]), is_json=False, suffix=".md")
        if entry["kind"] != "reply":
            raise ForkError(
                f"{place!r} is a {entry['kind']}, which follows from what came before. "
                "Edit a turn, a question, or the answer to a call."
            )
        call = call_at(tree.log, call_of(own))
        is_json = bool(entry.get("json")) or (call is not None and call["call"] == "tool")
        text = "" if entry["value"] is None else blobs.get_text(entry["value"])
        return Standing(text, is_json, ".json" if is_json else ".txt")


async def _forked(job: Job, place: str, value: Any) -> Forked:
    from langgraph_rlm.history.fork import afork

    async with opened_graph(job) as (graph, config):
        tree, own = await _found(graph, config, place)
        head = await graph.aget_state(config)
        at: Any = {**config, "configurable": dict(config["configurable"])}
        if tree.namespace:
            at["configurable"]["checkpoint_ns"] = tree.namespace
        await afork(graph, at, own, value)
        return Forked(_id(await graph.aget_state(config)), _id(head))


def _id(state: Any) -> str:
    return state.config["configurable"]["checkpoint_id"]


async def _found(graph: Any, config: Any, path: str) -> "tuple[RLMTree, str]":
    """Find the RLM whose log has a place, and the place there."""
    from langgraph_rlm.history.run_tree import run_tree

    tree = await run_tree(graph, config)
    *children, place = path.split(WITHIN)
    for child in children:
        if child not in tree.children:
            raise _nothing(path, child, list(tree.children), "child RLM")
        tree = tree.children[child]
    if tree.thread != str(config["configurable"]["thread_id"]):
        raise ForkError(
            f"The child RLM of {path!r} ran elsewhere, on the thread {tree.thread!r}: "
            "fork that one."
        )
    if place not in tree.log:
        raise _nothing(path, place, list(tree.log), "entry")
    return tree, place


def _nothing(path: str, place: str, known: list[str], kind: str) -> ForkError:
    shown = ", ".join(known[:SHOWN_PLACES]) or "nothing"
    more = ", ..." if len(known) > SHOWN_PLACES else ""
    return ForkError(
        f"There is no {kind} at {place!r} of {path!r}. There are {shown}{more}."
        f"{did_you_mean(place, known)}"
    )


def value_of(text: str, *, is_json: bool) -> Any:
    """Read what is to stand at a place.

    Raises:
        ForkError: it has to be JSON, and is not.
    """
    if not is_json:
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ForkError(
            f"The answer that stands there is JSON, and {text!r} is none: {error}."
        ) from None
