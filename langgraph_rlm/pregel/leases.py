"""Leases: at most one run of a thread at a time, in this process, among processes, over machines.

LangGraph keeps nobody out: two runs of one thread overwrite each other's results, and each spends
the whole budget. What a lease is depends on the database: a locked byte of a file beside SQLite
(`file_leases.py`), a row of PostgreSQL (`postgres_leases.py`), else a note in this process.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.pregel import file_leases
from langgraph_rlm.pregel.clock import seconds
from langgraph_rlm.pregel.held import PATIENCE, Held, Place
from langgraph_rlm.pregel.lease_homes import Database, database_of

__all__ = ["Database", "Held", "database_of", "holds", "how_many_held", "is_leased", "lease"]

Key = tuple[str, str]
"""A database's name, and that of a lease in it: a thread's id, or `Place.key`."""

LOOK = 0.1
"""Seconds between two looks whether a caller of this process has let go."""


@dataclass
class _Claim:
    """What one caller of this process has of a thread: it takes the lease, or holds it."""

    run_id: str | None
    is_held: bool = False


@dataclass
class _Claims:
    """The claims of one process. A child of `fork` starts with none."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    of: dict[Key, _Claim] = field(default_factory=dict[Key, _Claim])

    def add(self, key: Key, claim: _Claim) -> _Claim | None:
        """Take a key, or give the claim that is there."""
        with self.mutex:
            return None if self.of.setdefault(key, claim) is claim else self.of[key]

    def remove(self, key: Key) -> None:
        """Let others take a key."""
        with self.mutex:
            self.of.pop(key, None)


@per_process
def _claims() -> _Claims:
    return _Claims()


@asynccontextmanager
async def lease(
    database: Database,
    thread: str,
    run_id: str | None = None,
    *,
    namespace: str = "",
    wait: bool = True,
) -> AsyncGenerator[Held]:
    """Hold a thread, or a namespace in it.

    Args:
        database: of the thread.
        thread: its id.
        run_id: of the run that wants it, where a server has named it. If the same run holds it, as
            when a server tries a run again whose worker was silent, it is waited for.
        namespace: of a graph within another one's task. It alone is held, whoever holds the thread
            or other namespaces.
        wait: whether to wait for the end of a lease of another machine, of which it is not known
            whether its holder is still there. It takes as long as a lease lasts at most.

    Raises:
        ThreadBusyError: somebody else holds it.
        psycopg.Error: the database cannot be asked.
    """
    place, claims = Place(thread, namespace), _claims()
    key = (database.name, place.key)
    claim = await _claimed(claims, key, run_id)
    if claim is None:
        raise busy(thread)
    try:
        held = await _taken(database, place, run_id, wait=wait)
        claim.is_held = True
        try:
            yield held
        finally:
            if claims is _claims():  # else this is a forked child, and the lease its parent's
                await held.release()
    finally:
        claims.remove(key)


async def _claimed(claims: _Claims, key: Key, run_id: str | None) -> _Claim | None:
    """Keep other callers of this process off a place; None where one of them has it."""
    claim, until = _Claim(run_id), seconds() + PATIENCE
    while (other := claims.add(key, claim)) is not None:
        if run_id is None or other.run_id != run_id or seconds() > until:
            return None
        await asyncio.sleep(LOOK)
    return claim


async def _taken(database: Database, place: Place, run_id: str | None, *, wait: bool) -> Held:
    """Keep other processes off a place, as far as the database can."""
    held: Held | None
    if database.saver is not None:
        from langgraph_rlm.pregel import postgres_leases

        held = await postgres_leases.take(database.saver, place, run_id, wait=wait)
    elif database.lock is not None:
        held = file_leases.take(database, place)
    else:
        held = Held(place)
    if held is None:
        raise busy(place.thread)
    return held


def holds(database: Database, thread: str) -> bool:
    """Whether this process holds a thread."""
    claim = _claims().of.get((database.name, thread))
    return claim is not None and claim.is_held


def how_many_held() -> int:
    """Count the leases that this process holds."""
    claims = _claims()
    with claims.mutex:
        return sum(claim.is_held for claim in claims.of.values())


async def is_leased(database: Database, thread: str) -> bool:
    """Whether somebody holds a thread, as far as that can be seen without taking it.

    With SQLite, other processes can be seen on Linux alone. With PostgreSQL, one that died on
    another machine is seen until its lease ends.
    """
    if (database.name, thread) in _claims().of:
        return True
    if database.saver is not None:
        from langgraph_rlm.pregel import postgres_leases

        return await postgres_leases.is_taken(database.saver, thread)
    return file_leases.is_locked(database, thread)


async def sweep(database: Database) -> None:
    """Remove what processes that died have left of leases."""
    if database.saver is not None:
        from langgraph_rlm.pregel import postgres_leases

        await postgres_leases.sweep(database.saver)


def busy(thread: str) -> ThreadBusyError:
    """Make the error of a thread that somebody else holds."""
    return ThreadBusyError(
        f"Thread {thread!r} is running already: wait for that call, or use another thread_id."
    )
