"""Kin: which threads of a database are children of others, elsewhere. Reads only.

A parent's thread and its child's are one family if both say so: the parent's steps, or its log,
name the child's thread, and the child's checkpoints the parent's. Whoever may write to one thread
alone can claim nobody else's.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from langgraph_rlm.history.homes import Home, Saver
from langgraph_rlm.pregel.keys import parts_of
from langgraph_rlm.remote.tasks import PARENT_THREAD
from langgraph_rlm.state import ELSEWHERE


def named_in(saved: CheckpointTuple) -> str | None:
    """Give the thread of the child that the steps of a checkpoint wait for; None for a checkpoint
    of anything else."""
    given = saved.config.get("configurable", {})
    if parts_of(given.get("checkpoint_ns", ""))[1] != ELSEWHERE:
        return None
    thread = saved.checkpoint["channel_values"].get("thread")
    return thread if isinstance(thread, str) else None


async def is_child(saver: Saver, thread: str, parent: str) -> bool:
    """Whether a thread is here, and says that another one is its parent."""
    at: Any = {"configurable": {"thread_id": thread}}
    async for _ in saver.alist(at, filter={PARENT_THREAD: parent}, limit=1):
        return True
    return False


async def children_of(home: Home, thread: str) -> AsyncIterator[str]:
    """Give the threads of the children that a thread has begun elsewhere, on all its branches, and
    that are in the same database."""
    steps = await home.rows.steps(thread)
    spaces = {step.namespace for step in steps if parts_of(step.namespace)[1] == ELSEWHERE}
    for namespace in sorted(spaces):
        saved = await home.saver.aget_tuple(
            {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
        )
        child = None if saved is None else named_in(saved)
        if child is not None and child != thread and await is_child(home.saver, child, thread):
            yield child


async def families(home: Home, threads: Iterable[str]) -> list[list[str]]:
    """Sort threads into families: each parent before its children. Most are alone."""
    children = {thread: [child async for child in children_of(home, thread)] for thread in threads}
    below = {child for each in children.values() for child in each}
    left = dict.fromkeys([*(each for each in children if each not in below), *children])
    found: list[list[str]] = []
    while left:
        family: dict[str, None] = {}
        waiting = [next(iter(left))]
        while waiting:
            thread = waiting.pop()
            if thread in left:
                del left[thread]
                family[thread] = None
                waiting += children.get(thread, [])
        found.append([*family])
    return found
