"""Sweep: delete the blobs of a store that nobody needs, beside processes that use it.

What is needed is a question of who asks: the caller gives the bytes that may refer to blobs. Blobs
refer to further blobs, such as a folder's manifest.

It is safe because of two orders. Who uses a blob puts it first, which makes it young, and refers to
it later; who sweeps takes the time first, and reads what refers to blobs later. So what is neither
referred to nor young is not needed. And a blob is looked at again after it was set aside.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from langgraph_rlm.storage.backends import BlobBackend, Stored
from langgraph_rlm.storage.digests import digests_of

DIGEST = re.compile(b"[0-9a-f]{64}")

UNFINISHED = 24 * 3600.0
"""Seconds after which a file that was begun and never finished is nobody's."""


@dataclass
class Swept:
    """What a sweep did, or would do."""

    blobs: int = 0
    """Deleted."""
    bytes: int = 0
    aside_blobs: int = 0
    """Set aside, for a later sweep to delete."""
    aside_bytes: int = 0
    kept_blobs: int = 0
    """Needed by nobody that is known, and kept: they are too young."""
    kept_bytes: int = 0


class Inventory:
    """The blobs of a store at one moment."""

    def __init__(self, backend: BlobBackend) -> None:
        """List them.

        Raises:
            ConfigurationError: the file system keeps no times.
            OSError: the store cannot be read.
        """
        self._backend = backend
        self.aside = [*backend.aside()]
        self.blobs = {found.digest: found for found in backend.blobs()}
        self.digests: Collection[str] = {*self.blobs, *(found.digest for found in self.aside)}
        self._refers: dict[str, list[str]] = {}

    def reached(self, digests: Iterable[str]) -> set[str]:
        """Give blobs and all that they refer to, over any number of steps."""
        reached: set[str] = set()
        ahead = [digest for digest in digests if digest in self.digests]
        while ahead:
            digest = ahead.pop()
            if digest not in reached:
                reached.add(digest)
                ahead += self._referred(digest)
        return reached

    def size_of(self, digests: Iterable[str]) -> int:
        """Add up the bytes of blobs that are there."""
        return sum(self.blobs[digest].size for digest in digests if digest in self.blobs)

    def _referred(self, digest: str) -> list[str]:
        if digest not in self._refers:
            try:
                with self._backend.reader(digest) as file:
                    self._refers[digest] = [*{*digests_of(file, self.digests)}]
            except FileNotFoundError:  # it was deleted by somebody else
                self._refers[digest] = []
        return self._refers[digest]


class Sweep:
    """One sweep over an inventory."""

    def __init__(
        self, backend: BlobBackend, inventory: Inventory, *, before: float, is_trial: bool
    ) -> None:
        """Plan a sweep.

        Args:
            backend: of the store.
            inventory: of the same store, made after `before`.
            before: a time, in seconds since 1970. What was put since stays.
            is_trial: nothing is deleted or moved.
        """
        self._backend = backend
        self._inventory = inventory
        self._before = before - backend.slack
        self._is_trial = is_trial
        self.done = Swept()

    def run(self, needed: Collection[str], candidates: Collection[str] | None = None) -> Swept:
        """Delete what is not needed.

        Args:
            needed: digests of blobs that stay, with all that they refer to.
            candidates: what may be deleted; None for everything.

        Raises:
            OSError: the store cannot be written.
        """
        for found in self._inventory.aside:
            self._settle(found, found.digest in needed)
        for found in self._unneeded(needed, candidates):
            self._delete(found)
        if candidates is None and not self._is_trial:
            self.done.bytes += self._backend.delete_unfinished(self._before - UNFINISHED)
        if self.done.blobs and not self._is_trial:
            self._delete_notes()
        return self.done

    def _unneeded(
        self, needed: Collection[str], candidates: Collection[str] | None
    ) -> Iterator[Stored]:
        for digest, found in self._inventory.blobs.items():
            if digest not in needed and (candidates is None or digest in candidates):
                yield found

    def _delete_notes(self) -> None:
        """Delete the notes of blobs that are gone: they may name files."""
        for name, data in self._backend.noted():
            named = {found.decode() for found in DIGEST.findall(data)}
            if not any(map(self._backend.has, named)):
                self._backend.delete_note(name)

    def _settle(self, found: Stored, is_needed: bool) -> None:
        """Decide about what an earlier sweep has set aside."""
        is_old = found.used < self._before
        if is_needed and not self._is_trial:
            self._backend.put_back(found.name)
        elif not is_needed and is_old:
            if not self._is_trial:
                self._backend.delete_aside(found.name)
            self._count_deleted(found)
        elif not is_needed:
            self._count_kept(found)

    def _delete(self, found: Stored) -> None:
        if found.used >= self._before:
            self._count_kept(found)
        elif self._is_trial:
            self._count_gone(found)
        else:
            name = self._backend.set_aside(found.digest, self._before)
            if name is None:
                self._count_kept(found)
                return
            if self._backend.deletes_at_once:
                self._backend.delete_aside(name)
            self._count_gone(found)

    def _count_gone(self, found: Stored) -> None:
        if self._backend.deletes_at_once:
            self._count_deleted(found)
        else:
            self.done.aside_blobs += 1
            self.done.aside_bytes += found.size

    def _count_deleted(self, found: Stored) -> None:
        self.done.blobs += 1
        self.done.bytes += found.size

    def _count_kept(self, found: Stored) -> None:
        self.done.kept_blobs += 1
        self.done.kept_bytes += found.size
