"""Kept threads: list, forget and prune the threads of a database of the command or the server.

Never parses or prints.
"""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.cli.kept_options import REMEMBERED, default_db
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.suggestions import did_you_mean
from langgraph_rlm.errors import ConfigurationError

if TYPE_CHECKING:
    from langgraph_rlm.history.freeing import Freed
    from langgraph_rlm.history.threads import Thread


@dataclass(frozen=True)
class Place:
    """A database, and what the user says of the others that share its blob stores."""

    db: str
    """A SQLite file or a PostgreSQL URL."""
    with_db: Sequence[str] = ()
    all_databases: bool = False
    grace: timedelta = timedelta(hours=1)

    @staticmethod
    def of(db: str | None, **others: Any) -> "Place":
        """Give the place of a database; None is the command's own."""
        return Place(db or str(default_db()), **others)


@dataclass(frozen=True)
class Opened:
    """A database that is open."""

    saver: Any
    others: dict[str, Any]
    """What `aforget` and `aprune` are told of the other users of its blob stores."""
    beside: str | None = None
    """The blob store of threads that remember none; None is the default one."""


@asynccontextmanager
async def opened(place: Place) -> AsyncGenerator[Opened]:
    """Open a database, and those that share its blob stores.

    Raises:
        ConfigurationError: one of them is not there, or cannot be opened.
    """
    from langgraph_rlm.server.savers import is_postgres, open_saver, store_beside

    async with AsyncExitStack() as until_done:
        savers: list[Any] = []
        for db in (place.db, *place.with_db):
            if not is_postgres(db) and not Path(db).exists():  # noqa: ASYNC240 - nothing else runs
                raise ConfigurationError(f"There is no database {db}: nothing was saved there.")
            savers.append(await until_done.enter_async_context(open_saver(db)))
        others = {
            "databases": savers[1:],
            "all_databases": place.all_databases,
            "grace": place.grace,
        }
        yield Opened(savers[0], others, store_beside(place.db))


async def list_threads(place: Place) -> "list[Thread]":
    """List the threads of a database, the newest first."""
    async with opened(place) as at:
        return await threads_in(at.saver, at.beside)


async def threads_in(saver: Any, beside: str | None) -> "list[Thread]":
    """List the threads of an open database, the newest first, each by its own blob store.

    Args:
        saver: of the database.
        beside: as `store_of` takes it.
    """
    from langgraph_rlm.history.threads import athreads

    found: dict[str, Thread] = {}
    for store in await _stores(saver, beside):
        for thread in await athreads(saver, blob_store=store):
            older = found.get(thread.id)
            if older is None or (thread.bytes, thread.question) > (older.bytes, older.question):
                found[thread.id] = thread
    return sorted(found.values(), key=lambda each: each.updated, reverse=True)


def unknown_thread(thread: str, place: Place) -> ConfigurationError:
    """Make the error of a thread that a database does not have, with the likeliest other names."""
    known: list[str] = []
    if Path(place.db).exists():
        known = run_until_ctrl_c(_thread_ids(place), lambda: None)
    return ConfigurationError(
        f"There is no thread {thread!r} in {place.db}: nothing was saved under that name, "
        f"or it is in another --db.{did_you_mean(thread, known)}"
    )


async def _thread_ids(place: Place) -> list[str]:
    from langgraph_rlm.pregel.databases import rows_of

    async with opened(place) as at:
        return [*await (await rows_of(at.saver)).threads()]


async def missing(place: Place, threads: Sequence[str]) -> list[str]:
    """Give those of some threads that a database does not have."""
    from langgraph_rlm.pregel.databases import rows_of

    async with opened(place) as at:
        there = {*await (await rows_of(at.saver)).threads()}
        return [thread for thread in threads if thread not in there]


async def forget_threads(place: Place, threads: Sequence[str]) -> "Freed":
    """Forget threads. The blob store of each is the one that it was run with."""
    from langgraph_rlm.history.forget import aforget

    async with opened(place) as at:
        by_store: dict[str | None, list[str]] = {}
        for thread in threads:
            by_store.setdefault(await store_of(at.saver, thread, at.beside), []).append(thread)
        freed = [
            await aforget(at.saver, group, blob_store=store, **at.others)
            for store, group in by_store.items()
        ]
        return _sum(freed)


async def prune_threads(
    place: Place, older_than: timedelta, *, include_paused: bool, dry_run: bool
) -> "Freed":
    """Prune a database, and each blob store that its threads were run with."""
    from langgraph_rlm.history.prune import aprune

    async with opened(place) as at:
        freed: list[Freed] = []
        for store in await _stores(at.saver, at.beside):
            done = await aprune(
                at.saver,
                older_than,
                include_paused=include_paused,
                dry_run=dry_run,
                blob_store=store,
                **at.others,
            )
            freed.append(done)
        return _sum(freed)


async def _stores(saver: Any, beside: str | None) -> list[str | None]:
    """Give the blob stores of a database's threads; the default one where there are none."""
    from langgraph_rlm.pregel.databases import rows_of

    threads = await (await rows_of(saver)).threads()
    found = [await store_of(saver, thread, beside) for thread in threads]
    return [*dict.fromkeys(found)] or [beside]


async def store_of(saver: Any, thread: str, beside: str | None) -> str | None:
    """Give the blob store that a thread's options name.

    Args:
        saver: of its database.
        thread: its id.
        beside: the one of threads that name none; None for the default one, also as a result.
    """
    from langgraph_rlm.storage.blobs import BlobStore

    saved = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    metadata: dict[str, Any] = saved.metadata if saved else {}
    options: dict[str, Any] = json.loads(metadata.get(REMEMBERED, "{}"))
    store = options.get("blob_store") or options.get("store")  # its name in threads of 0.1
    if store is None:
        return beside
    return None if store == BlobStore.open().location else store


def _sum(freed: "Sequence[Freed]") -> "Freed":
    """Add up what was freed in several stores. The threads are the same ones in a trial."""
    first, *more = freed
    for each in more:
        is_same = first.threads == each.threads
        first = replace(
            first,
            threads=first.threads if is_same else first.threads + each.threads,
            checkpoints=first.checkpoints + (0 if is_same else each.checkpoints),
            database_bytes=first.database_bytes + (0 if is_same else each.database_bytes),
            blobs=first.blobs + each.blobs,
            bytes=first.bytes + each.bytes,
            aside_blobs=first.aside_blobs + each.aside_blobs,
            aside_bytes=first.aside_bytes + each.aside_bytes,
            kept_blobs=first.kept_blobs + each.kept_blobs,
            kept_bytes=first.kept_bytes + each.kept_bytes,
            kept_because=tuple(dict.fromkeys(first.kept_because + each.kept_because)),
            skipped={**first.skipped, **each.skipped},
        )
    return first
