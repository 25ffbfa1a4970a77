"""Freeing: delete threads, and then the blobs that no thread of any database needs.

It decides which threads refer to what. How blobs are deleted beside running processes is
`storage/sweep.py`'s.
"""

import asyncio
import os
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.errors import BlobError, ConfigurationError
from langgraph_rlm.history.homes import Home, saver_of
from langgraph_rlm.pregel.databases import Identity, Rows, SqliteRows, identity_of, rows_of
from langgraph_rlm.storage.backends import BlobBackend
from langgraph_rlm.storage.digests import digests_in
from langgraph_rlm.storage.sweep import Inventory, Sweep, Swept
from langgraph_rlm.storage.users import Claim, memory_name

GRACE = timedelta(hours=1)
"""How young a blob may be that is kept although nobody refers to it: somebody may be about to."""


@dataclass(frozen=True)
class Freed:
    """What `forget` or `prune` deleted, and what it did not."""

    threads: tuple[str, ...] = ()
    """The threads that are gone."""
    checkpoints: int = 0
    """Their checkpoints, in all namespaces."""
    database_bytes: int = 0
    """Bytes of these checkpoints and their writes. The file of a database may stay as large."""
    blobs: int = 0
    bytes: int = 0
    """Bytes of the deleted blobs."""
    aside_blobs: int = 0
    """Blobs of a remote store that a later `prune` deletes, after the grace, if still nobody needs
    them."""
    aside_bytes: int = 0
    kept_blobs: int = 0
    """Blobs that nobody is known to need, and that stay; `kept_because` says why."""
    kept_bytes: int = 0
    kept_because: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    """Threads that were old enough and stay, each with the reason."""


@dataclass(frozen=True)
class Others:
    """What a caller says of a store's other databases."""

    databases: Sequence[Any] = ()
    """Graphs or checkpointers."""
    all_databases: bool = False
    """Whether these, and the one of the threads, are all that there are."""
    grace: timedelta = GRACE


class Freeing:
    """One run of `forget` or `prune`."""

    def __init__(self, home: Home, others: Others, *, is_trial: bool = False) -> None:
        """Begin; nothing is read yet.

        Args:
            home: of the threads.
            others: who else may need their blobs.
            is_trial: nothing is deleted.
        """
        self._home = home
        self._others = others
        self._is_trial = is_trial
        self._backend: BlobBackend = home.blobs.backend
        self._threads: list[str] = []
        self._checkpoints = 0
        self._database_bytes = 0
        self._seeds: set[str] = set()

    async def begin(self) -> None:
        """Look at the store.

        Raises:
            BlobError: the store cannot be read.
            ConfigurationError: the store cannot be swept.
        """
        try:
            now = await asyncio.to_thread(self._backend.clock)
            self._before = now - self._others.grace.total_seconds()
            self._known = await asyncio.to_thread(self._home.blobs.users.known)
            self._inventory = await asyncio.to_thread(Inventory, self._backend)
        except OSError as error:
            raise _unreadable(self._backend, error) from error

    async def delete(self, thread: str) -> None:
        """Delete a thread, which nobody may run meanwhile. Its blobs are `finish`'s."""
        rows = await self._home.rows.of(thread)
        self._seeds |= await asyncio.to_thread(self._digests, rows.values)
        self._threads.append(thread)
        self._checkpoints += rows.checkpoints
        self._database_bytes += rows.bytes
        if not self._is_trial:
            await self._home.saver.adelete_thread(thread)

    async def finish(self, *, skipped: Mapping[str, str], everything: bool) -> Freed:
        """Delete blobs.

        Args:
            skipped: threads that stay, for the report.
            everything: whether all blobs of the store are looked at, not only those that the
                deleted threads refer to.
        """
        readable, reasons = await self._databases()
        needed = await self._needed(readable)
        before, claims = self._from(readable)
        try:
            swept = await asyncio.to_thread(
                self._sweep, needed, before, everything, self._is_trial or bool(reasons)
            )
            if self._others.all_databases and not self._is_trial:
                await asyncio.to_thread(self._vouch, readable)
        except OSError as error:
            raise _unreadable(self._backend, error) from error
        if reasons:
            swept = _all_kept(swept)
        elif swept.kept_blobs:
            reasons = [*claims, f"What was put after {_shown(before)} stays: it may be in use."]
        return self._freed(swept, reasons if swept.kept_blobs else [], skipped)

    # Which databases there are

    async def _databases(self) -> tuple[dict[Identity, Rows], list[str]]:
        """Give the databases that can be read, and the reasons why others may need blobs."""
        readable: dict[Identity, Rows] = {self._home.identity: self._home.rows}
        for given in self._others.databases:
            saver = saver_of(given)
            readable[await identity_of(saver)] = await rows_of(saver)
        reasons: list[str] = []
        for identity in self._known.databases:
            if identity in readable and identity.kind != "other":
                continue
            file = identity.file if identity.is_plain else None
            if file is not None:
                readable[identity] = SqliteRows(file)
            else:
                reasons.append(_missing(identity))
        if not self._known.is_complete and not self._backend.is_empty():
            reasons.append(
                f"The store {self._backend.location} has values of before it kept a list of its "
                "databases, so that others may need them. If those that you give are all, say so "
                "once with all_databases=True (--all-databases)."
            )
        return readable, [] if self._others.all_databases else reasons

    def _vouch(self, readable: Mapping[Identity, Rows]) -> None:
        gone = [
            each
            for each in self._known.databases
            if each.kind == "sqlite" and each not in readable and not os.path.exists(each.name)
        ]
        self._home.blobs.users.vouch([*readable], gone)

    # What is needed

    async def _needed(self, readable: Mapping[Identity, Rows]) -> set[str]:
        """Give the blobs that threads refer to, directly or over other blobs.

        Raises:
            ConfigurationError: a database cannot be read.
        """
        found: set[str] = set()
        for identity, rows in readable.items():
            try:
                threads = await rows.threads()
                for thread in threads:
                    if identity == self._home.identity and thread in self._threads:
                        continue  # in a trial it is still there
                    values = (await rows.of(thread)).values
                    found |= await asyncio.to_thread(self._digests, values)
            except sqlite3.Error as error:
                raise ConfigurationError(
                    f"The database {identity} uses the same blob store and cannot be read: "
                    f"{error}. No blob was deleted."
                ) from error
        return await asyncio.to_thread(self._inventory.reached, found)

    def _digests(self, values: Collection[bytes]) -> set[str]:
        known = self._inventory.digests
        return {digest for value in values for digest in digests_in(value, known)}

    def _from(self, readable: Mapping[Identity, Rows]) -> tuple[float, list[str]]:
        """Say since when blobs stay, and which claims are the reason."""
        savers = [self._home.saver, *map(saver_of, self._others.databases)]
        own = {f"claim-{memory_name(_unwrapped(saver))}" for saver in savers}
        claims = [claim for claim in self._known.claims if claim.name not in own]
        reasons = [_claimed(claim) for claim in claims if claim.since < self._before]
        return min([self._before, *(claim.since for claim in claims)]), reasons

    def _sweep(self, needed: set[str], before: float, everything: bool, is_trial: bool) -> Swept:
        candidates = None if everything else self._inventory.reached(self._seeds)
        sweep = Sweep(self._backend, self._inventory, before=before, is_trial=is_trial)
        return sweep.run(needed, candidates)

    def _freed(self, swept: Swept, reasons: Sequence[str], skipped: Mapping[str, str]) -> Freed:
        return Freed(
            threads=tuple(self._threads),
            checkpoints=self._checkpoints,
            database_bytes=self._database_bytes,
            blobs=swept.blobs,
            bytes=swept.bytes,
            aside_blobs=swept.aside_blobs,
            aside_bytes=swept.aside_bytes,
            kept_blobs=swept.kept_blobs,
            kept_bytes=swept.kept_bytes,
            kept_because=tuple(reasons),
            skipped=skipped,
        )


def _unwrapped(saver: BaseCheckpointSaver[Any]) -> Any:
    return getattr(saver, "wrapped", saver)


def _all_kept(swept: Swept) -> Swept:
    return Swept(
        kept_blobs=swept.blobs + swept.aside_blobs + swept.kept_blobs,
        kept_bytes=swept.bytes + swept.aside_bytes + swept.kept_bytes,
    )


def _missing(identity: Identity) -> str:
    what = "is not here" if identity.kind == "sqlite" else "was not given"
    if identity.kind == "other":
        what = "cannot be told from others of its kind"
    elif not identity.is_plain:
        what = "is read by a serializer of its own, and was not given"
    return (
        f"The database {identity} uses the same store and {what}: give it in databases=[...] "
        "(--with-db). If it is no more, give those that are, and all_databases=True "
        "(--all-databases)."
    )


def _claimed(claim: Claim) -> str:
    what = "A run" if claim.what == "run" else "Threads that only memory has,"
    return (
        f"{what} of process {claim.pid} on {claim.host.split()[0]} may need what was put since "
        f"{_shown(claim.since)}."
    )


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _unreadable(backend: BlobBackend, error: OSError) -> BlobError:
    return BlobError(
        f"The blob store {backend.location} cannot be swept: {error}. What was deleted is deleted; "
        "call prune when the cause is gone."
    )
