"""File leases: locks on bytes of a file beside a SQLite database. The kernel drops those of a
process that ends, however it ends.
"""

import hashlib
import os
import struct
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from langgraph_rlm.lazy import per_process, warn_once
from langgraph_rlm.pregel.held import Held, Place
from langgraph_rlm.pregel.lease_homes import Database

if sys.platform != "win32":
    import fcntl

LOCK = "@hhqqi4x"
"""Linux' `struct flock`: kind, from where, first byte, bytes, process."""

Key = tuple[str, str]
"""A database's name, and that of a lease in it."""

Locked = Literal["here and elsewhere", "here", ""]
"""Whom a lease keeps out: callers in other processes too; callers in this one; nobody, as somebody
else holds the thread."""


@dataclass
class _LockFile:
    """An open lock file. Closing it would drop all of its locks, so the last lease does."""

    descriptor: int
    leases: int = 0


@dataclass
class _Locks:
    """The locks of one process. A child of `fork` has none of its parent's, and starts with
    nothing."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    files: dict[Path, _LockFile] = field(default_factory=dict[Path, _LockFile])


@per_process
def _locks() -> _Locks:
    return _Locks()


class FileLease(Held):
    """A place whose byte is locked, where it can be."""

    def __init__(self, database: Database, place: Place, locked: Locked) -> None:
        super().__init__(place)
        self._path = database.lock
        self._key = (database.name, place.key)
        self._locked = locked

    async def release(self) -> None:
        """Unlock the byte."""
        locks = _locks()
        with locks.mutex:
            if self._locked == "here and elsewhere":
                _unlock(self._path, self._key, locks.files)


def take(database: Database, place: Place) -> FileLease | None:
    """Lock the byte of a place that nobody in this process holds; None where another process has
    it."""
    locks = _locks()
    with locks.mutex:
        locked = _lock(database.lock, (database.name, place.key), locks.files)
    return FileLease(database, place, locked) if locked else None


def is_locked(database: Database, thread: str) -> bool:
    """Whether another process has the byte of a thread. That can be seen on Linux alone."""
    if database.lock is None or sys.platform != "linux" or not database.lock.exists():
        return False
    byte = _byte((database.name, thread))
    asked = struct.pack(LOCK, fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    with _locks().mutex:  # to close the file drops the locks that this process has on it
        file = _locks().files.get(database.lock)
        number = file.descriptor if file else os.open(database.lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            told = fcntl.fcntl(number, fcntl.F_GETLK, asked)
        finally:
            if file is None:
                os.close(number)
    return struct.unpack(LOCK, told)[0] != fcntl.F_UNLCK


def _lock(path: Path | None, key: Key, files: dict[Path, _LockFile]) -> Locked:
    """Lock the byte of a thread. Where no such lock can be had, a warning says so and only this
    process is kept in order."""
    if path is None or sys.platform == "win32":
        return "here"
    try:
        file = files.get(path) or _LockFile(_opened(path))
    except OSError as error:
        _warn(path, error)
        return "here"
    took: bool | None = None
    try:
        took = _take(file.descriptor, _byte(key))
    except OSError as error:
        _warn(path, error)
    if took:
        file.leases += 1
        files[path] = file
        return "here and elsewhere"
    if not file.leases:
        os.close(file.descriptor)
    return "here" if took is None else ""


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _take(descriptor: int, byte: int) -> bool:
    """Lock a byte; False when another process has it. Raises `OSError` where the file system has no
    locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _warn(path: Path, error: OSError) -> None:
    warn_once(
        path,
        f"The lock file {path} cannot be used ({error.strerror}), so that another process is not "
        "kept off a thread that runs here: two would pay twice. Make the file writable for this "
        "user, or see to it that one process runs a thread.",
    )


def _unlock(path: Path | None, key: Key, files: dict[Path, _LockFile]) -> None:
    if path is None or sys.platform == "win32":
        return
    file = files[path]
    file.leases -= 1
    if file.leases:
        fcntl.lockf(file.descriptor, fcntl.LOCK_UN, 1, _byte(key))
    else:
        os.close(file.descriptor)
        del files[path]


def _byte(key: Key) -> int:
    """Where in the file the byte of a thread is. Nothing is written there, so the file stays
    empty."""
    digest = hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") >> 2
