"""Forget: delete threads that are named, and what only they need."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from langgraph_rlm.history.freeing import GRACE, Freed, Freeing, Others
from langgraph_rlm.history.homes import Home, home_of, in_sync_use
from langgraph_rlm.history.kin import children_of
from langgraph_rlm.pregel.leases import Held, lease
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.storage.blobs import BlobStore


def forget(
    graph: Any,
    thread_id: str | Sequence[str],
    *,
    blob_store: str | Path | BlobStore | None = None,
    databases: Sequence[Any] = (),
    all_databases: bool = False,
    grace: timedelta = GRACE,
) -> Freed:
    """Do what `aforget` does, from sync code."""
    own = in_sync_use(graph)
    return wait_for(
        lambda: aforget(
            own,
            thread_id,
            blob_store=blob_store,
            databases=[in_sync_use(each) for each in databases],
            all_databases=all_databases,
            grace=grace,
        )
    )


async def aforget(
    graph: Any,
    thread_id: str | Sequence[str],
    *,
    blob_store: str | Path | BlobStore | None = None,
    databases: Sequence[Any] = (),
    all_databases: bool = False,
    grace: timedelta = GRACE,
) -> Freed:
    """Delete threads: their checkpoints in all namespaces, and the blobs that only they refer to.
    With a thread go those of its children that ran elsewhere, where they are in the same database.

        freed = forget(rlm, "contracts-1")

    A blob stays while any other thread refers to it, of this database or of another one that uses
    the store. The store has a list of these. What was put a short time ago stays as well, and a
    later `prune` deletes it.

    Args:
        graph: a graph with a checkpointer, or the checkpointer.
        thread_id: one thread or several. One that is not there is left out of the result.
        blob_store: where the blobs are; None for the graph's store, else the default one.
        databases: graphs or checkpointers of other databases that use the store. SQLite files on
            this machine need not be given.
        all_databases: True if the given databases are all, whatever the store's list says. Blobs
            that only others need are then deleted.
        grace: how long ago a blob must have been put. Less than an hour is safe only while nobody
            puts anything outside a run, and where the machines' clocks agree.

    Raises:
        ThreadBusyError: one of them runs, or a child's. None was deleted.
        ConfigurationError: there is no checkpointer, or a database cannot be read.
        BlobError: the store cannot be read or written. The threads may be gone then, and
            `prune` deletes their blobs.
    """
    home = await home_of(graph, blob_store)
    wanted = [thread_id] if isinstance(thread_id, str) else [*dict.fromkeys(thread_id)]
    freeing = Freeing(home, Others(databases, all_databases, grace))
    await freeing.begin()
    async with AsyncExitStack() as until_deleted:
        held = await _hold(home, wanted, until_deleted)
        there = {*await home.rows.threads()}
        for thread in reversed(held):  # a kill in between leaves no child without its parent
            if thread in there:
                await held[thread].check()
                await asyncio.shield(freeing.delete(thread))
    return await freeing.finish(skipped={}, everything=False)


async def _hold(
    home: Home, wanted: Sequence[str], until_deleted: AsyncExitStack
) -> dict[str, Held]:
    """Keep others off threads and those of their children: each is held before its children are
    listed, so that none comes later."""
    held: dict[str, Held] = {}
    waiting = [*reversed(wanted)]
    while waiting:
        thread = waiting.pop()
        if thread not in held:
            held[thread] = await until_deleted.enter_async_context(lease(home.database, thread))
            waiting += [child async for child in children_of(home, thread)]
    return held
