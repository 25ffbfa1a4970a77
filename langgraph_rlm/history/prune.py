"""Prune: delete threads that are old, and all that nobody needs."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import ConfigurationError, ThreadBusyError
from langgraph_rlm.history.freeing import GRACE, Freed, Freeing, Others
from langgraph_rlm.history.homes import Home, home_of, in_sync_use, time_of
from langgraph_rlm.history.kin import families
from langgraph_rlm.pregel.keys import pauses_among
from langgraph_rlm.pregel.leases import lease, sweep
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.storage.blobs import BlobStore


def prune(
    graph: Any,
    older_than: timedelta,
    *,
    include_paused: bool = False,
    dry_run: bool = False,
    blob_store: str | Path | BlobStore | None = None,
    databases: Sequence[Any] = (),
    all_databases: bool = False,
    grace: timedelta = GRACE,
) -> Freed:
    """Do what `aprune` does, from sync code."""
    own = in_sync_use(graph)
    return wait_for(
        lambda: aprune(
            own,
            older_than,
            include_paused=include_paused,
            dry_run=dry_run,
            blob_store=blob_store,
            databases=[in_sync_use(each) for each in databases],
            all_databases=all_databases,
            grace=grace,
        )
    )


async def aprune(
    graph: Any,
    older_than: timedelta,
    *,
    include_paused: bool = False,
    dry_run: bool = False,
    blob_store: str | Path | BlobStore | None = None,
    databases: Sequence[Any] = (),
    all_databases: bool = False,
    grace: timedelta = GRACE,
) -> Freed:
    """Delete the threads whose newest checkpoint is old, and every blob that nobody needs.

        freed = prune(rlm, timedelta(days=30))

    Threads of a database that have nothing of this package stay, and so do threads that run. A
    thread and those of its children elsewhere, in the same database, stay or go together.

    Args:
        graph: a graph with a checkpointer, or the checkpointer.
        older_than: the age from which a thread is deleted.
        include_paused: whether threads that wait for a human are deleted too.
        dry_run: delete nothing, and say what would be deleted.
        blob_store: as `aforget` takes it, like all that follow.
        databases: see there.
        all_databases: see there.
        grace: see there.

    Raises:
        ConfigurationError: there is no checkpointer, an age is negative, or a database cannot be
            read.
        BlobError: the store cannot be read or written. Prune again when the cause is gone.
    """
    if older_than < timedelta(0):
        raise ConfigurationError(f"older_than={older_than!r} must not be negative.")
    home = await home_of(graph, blob_store)
    freeing = Freeing(home, Others(databases, all_databases, grace), is_trial=dry_run)
    await freeing.begin()
    before = datetime.now(UTC) - older_than
    skipped: dict[str, str] = {}
    for family in await families(home, await home.rows.threads()):
        reason = await _reason_to_stay(home, family, before, include_paused)
        try:
            if reason is None:  # only then it is held: whoever wants to run it meanwhile may not
                async with AsyncExitStack() as until_deleted:
                    held = [
                        await until_deleted.enter_async_context(
                            lease(home.database, thread, wait=False)
                        )
                        for thread in family
                    ]
                    reason = await _reason_to_stay(home, family, before, include_paused)
                    if reason is None:
                        for own, thread in zip(reversed(held), reversed(family), strict=True):
                            await own.check()
                            await freeing.delete(thread)
        except ThreadBusyError:
            reason = "it runs"
        if reason:
            skipped[family[0]] = reason
    if not dry_run:
        await sweep(home.database)
    return await freeing.finish(skipped=skipped, everything=True)


async def _reason_to_stay(
    home: Home, family: Sequence[str], before: datetime, include_paused: bool
) -> str | None:
    """Say why a thread and its children's stay: empty where one is young or not of this package."""
    for thread in family:
        reason = await _reason_of(home, thread, before, include_paused)
        if reason is not None:
            return reason
    return None


async def _reason_of(home: Home, thread: str, before: datetime, include_paused: bool) -> str | None:
    saved = await home.newest(thread)
    if saved is None or time_of(saved) >= before or not await home.is_ours(thread):
        return ""
    if not include_paused and any(pauses_among(saved)):
        return "it waits for an answer"
    return None
