"""Users: who uses a store, so that what deletes blobs knows whom to ask. Deletes no blob.

Several databases may share a store, and a run keeps things in memory before it saves them. So
before a run first puts something, it leaves two tags in the store: the name of its database, which
stays, and a claim, which is gone when the run ends, or its process. Threads that only memory has
are claimed for as long as their saver lives.
"""

import hashlib
import json
import os
import socket
import sys
import threading
import uuid
import weakref
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from langgraph_rlm.errors import BlobError
from langgraph_rlm.lazy import warn_once
from langgraph_rlm.storage.tags import USERS

if TYPE_CHECKING:
    from langgraph_rlm.pregel.databases import Identity
    from langgraph_rlm.storage.backends import BlobBackend
    from langgraph_rlm.storage.tags import Release

DATABASE, CLAIM, BEGUN = "database-", "claim-", "begun"
"""How the names of tags start: of a database, of a claim; and the tag that says whether there
were blobs before the first tag."""

EARLIER = 1.0
"""Seconds by which a claim is dated back: file systems round times."""


@dataclass(frozen=True)
class Known:
    """What the tags of a store say."""

    databases: "Collection[Identity]"
    """All that have threads whose blobs are here."""
    claims: Collection["Claim"]
    is_complete: bool
    """Whether nothing was put before there were tags, by a version that left none."""


@dataclass(frozen=True)
class Claim:
    """Somebody who needs what was put since a time."""

    since: float
    """Seconds since 1970."""
    host: str
    pid: int
    what: Literal["run", "memory"]
    """A run that works now, or threads that only memory has."""
    name: str = ""
    """Of its tag."""


class Users:
    """The users of one store in this process, and the tags of all."""

    def __init__(self, backend: "BlobBackend") -> None:
        self._backend = backend
        self._tags = backend.tags
        self._lock = threading.Lock()
        self._untold: list[_Use] = []
        self._told: set[Identity] = set()
        self._has_begun = False

    def begin(self, database: "Identity | None", saver: Any) -> "_Use":
        """Keep what is put from now on, until `end`.

        Args:
            database: of the run's thread; None where nothing saves it.
            saver: of the thread, which is claimed for as long as it lives, if only memory has it.
        """
        use = _Use(database, saver)
        with self._lock:
            self._untold.append(use)
        return use

    def end(self, use: "_Use") -> None:
        """End what `begin` began. Blocks."""
        with self._lock:
            if use in self._untold:
                self._untold.remove(use)
        self._release(use)

    def _release(self, use: "_Use") -> None:
        for release in use.releases:
            try:
                release()
            except OSError as error:  # it is kept for too long, which costs space alone
                _warn(self._backend.location, error)

    def tell(self) -> None:
        """Leave the tags of those who have left none. To be called before anything is put.

        Where that fails, a warning says so, and the run goes on: a store that cannot be written
        cannot be pruned from here either.
        """
        if self._has_begun and not self._untold:
            return
        with self._lock:
            try:
                self._begin()
                for use in self._untold:
                    self._tell(use)
            except OSError as error:
                if self._untold:  # else what is put now says itself what is wrong
                    _warn(self._backend.location, error)
            self._untold.clear()

    def _tell(self, use: "_Use") -> None:
        tags = dict(self._tags.read()) if use.database not in self._told else None
        use.releases.append(self._claim(f"{uuid.uuid4().hex}", "run"))
        if use.database is not None and use.database.kind == "memory":
            self._claim_memory(use.saver)
        elif use.database is not None and tags is not None:
            self._add(use.database, tags)
        if use.database is not None:
            self._told.add(use.database)

    def _begin(self) -> None:
        """Say, once, whether there are blobs of before stores had tags.

        That is done before the first blob of all, also one that is put ahead of a run. Another
        process may begin at the same moment. It says so before it puts anything: so if there are
        blobs of its, its word is there by the time that they are seen.
        """
        if self._has_begun or BEGUN in dict(self._tags.read()):
            self._has_begun = True
            return
        is_complete = self._backend.is_empty()
        if BEGUN not in dict(self._tags.read()):
            self._tags.write(BEGUN, json.dumps({"is_complete": is_complete}).encode())
        self._has_begun = True

    def _add(self, database: "Identity", tags: dict[str, bytes]) -> None:
        name = _name_of(database)
        data = json.dumps(asdict(database)).encode()
        if tags.get(name) != data:
            self._tags.write(name, data)

    def _claim(self, id: str, what: str) -> "Release":
        about = {
            "since": self._backend.clock() - EARLIER,
            "host": host(),
            "pid": os.getpid(),
            "what": what,
        }
        return self._tags.claim(f"{CLAIM}{id}", json.dumps(about).encode())

    def _claim_memory(self, saver: Any) -> None:
        """Claim what is put for threads in memory, until their saver is gone."""
        key = (self._backend.location, id(saver))
        if key not in _claimed:
            release = self._claim(memory_name(saver), "memory")
            _claimed.add(key)
            weakref.finalize(saver, _let_go, key, release)

    def known(self) -> Known:
        """Read the tags of all users. Claims of processes that have died are deleted.

        Raises:
            OSError: the store cannot be read.
            BlobError: a tag is of another version, or nobody's.
        """
        from langgraph_rlm.pregel.databases import Identity

        databases: list[Identity] = []
        claims: list[Claim] = []
        is_complete = False
        for name, data in self._tags.read():
            try:
                about = json.loads(data)
                if name == BEGUN:
                    is_complete = about["is_complete"]
                elif name.startswith(DATABASE):
                    databases.append(Identity(**about))
                else:
                    claims += self._alive(Claim(**about, name=name))
            except (ValueError, TypeError, KeyError) as error:
                raise BlobError(
                    f"The tag {name!r} in {self._backend.location}/{USERS} cannot be read: "
                    f"{error}. Nothing was deleted: another version has written it, or delete it."
                ) from error
        return Known(databases, claims, is_complete)

    def _alive(self, claim: Claim) -> list[Claim]:
        """Give a claim whose process lives. The tag of another one is deleted."""
        if _is_dead(claim) or not self._tags.is_claimed(claim.name):
            self._tags.delete(claim.name)
            return []
        return [claim]

    def vouch(self, databases: "Collection[Identity]", forgotten: "Collection[Identity]") -> None:
        """Remember that a user says which databases there are.

        Args:
            databases: all that there are.
            forgotten: those of the tags that are no more.
        """
        tags = dict(self._tags.read())
        for database in databases:
            if database.kind != "memory":
                self._add(database, tags)
        for database in forgotten:
            self._tags.delete(_name_of(database))
        self._tags.write(BEGUN, json.dumps({"is_complete": True}).encode())


@dataclass(eq=False)
class _Use:
    """A run that works in this process."""

    database: "Identity | None"
    saver: Any
    releases: list["Release"] = field(default_factory=list["Release"])


_claimed: set[tuple[str, int]] = set()
"""Savers in memory that are claimed: the store's location, and the saver's id."""

_names: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()


def memory_name(saver: Any) -> str:
    """Name the claim of a saver whose threads are in memory: the same one in every store."""
    return _names.setdefault(saver, f"memory-{uuid.uuid4().hex}")


def _let_go(key: tuple[str, int], release: "Release") -> None:
    _claimed.discard(key)
    with suppress(OSError):  # it is kept for too long, which costs space alone
        release()


def _name_of(database: "Identity") -> str:
    key = f"{database.kind} {database.name}"
    return f"{DATABASE}{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def host() -> str:
    """Name the place where process ids mean what they mean here: a machine, or a container."""
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(namespace) if namespace.is_symlink() else ''}"


def _is_dead(claim: Claim) -> bool:
    """Whether the process of a claim was here, and is no more."""
    if sys.platform == "win32" or claim.host != host():
        return False
    try:
        os.kill(claim.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _warn(location: str, error: OSError) -> None:
    warn_once(
        ("users", location),
        f"The blob store {location} cannot be told that a run uses it ({error}), so `prune` by "
        "another process may delete what the run stores. Make it writable for this user.",
    )
