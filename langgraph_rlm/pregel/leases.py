"""Leases: at most one run of a thread at a time, in this process and among processes.

LangGraph keeps nobody out: two runs of one thread overwrite each other's results, and each spends
the whole budget. Between processes a lease is a lock on one byte of a file, which the kernel drops
when the process ends, however it ends.
"""

import asyncio
import hashlib
import inspect
import os
import struct
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.lazy import per_process, warn_once
from langgraph_rlm.pregel.savers import own_saver

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Database:
    """What two savers of the same threads have in common."""

    name: str
    lock: Path | None
    """The lock file; each thread locks one byte of it. None if no other process can open the
    database, or if we cannot tell."""


async def database_of(saver: BaseCheckpointSaver[Any]) -> Database:
    """Find the database of a saver: a SQLite file, a PostgreSQL database, or for any other kind the
    saver itself."""
    own: Any = own_saver(saver)
    connection: Any = getattr(own, "conn", None)
    kind = type(connection).__module__.partition(".")[0]
    if kind == "aiosqlite":
        await own.setup()
        rows = await connection.execute_fetchall("PRAGMA database_list")
        return _sqlite(own, rows)
    if kind == "sqlite3":
        return _sqlite(own, await asyncio.to_thread(_attached, own))
    if kind in ("psycopg", "psycopg_pool"):
        name = await _postgres(connection)
        if name is not None:
            return Database(name, _shared_lock())
    return Database(f"{id(own)}", None)


def _shared_lock() -> Path:
    """The lock file that all processes of this user on this machine share."""
    user = 0 if sys.platform == "win32" else os.getuid()
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # no folder can be written; opening the file tells the user
        folder = "/tmp"
    return Path(folder, f"langgraph-rlm-{user}.lock")


def _attached(saver: Any) -> Any:
    with saver.lock:
        return saver.conn.execute("PRAGMA database_list").fetchall()


def _sqlite(saver: Any, rows: Any) -> Database:
    file = next(str(file) for _, name, file in rows if name == "main")
    if not file:  # in memory
        return Database(f"{id(saver)}", None)
    return Database(file, Path(f"{file}-rlm-lock"))


async def _postgres(connection: Any) -> str | None:
    """Server and database of a connection or pool. A pool's connection string may be a function,
    also an async one."""
    from psycopg.conninfo import conninfo_to_dict

    given = getattr(connection, "conninfo", None)
    if callable(given):
        given = given()
    if inspect.isawaitable(given):
        given = await given
    if given is None:
        given = getattr(getattr(connection, "info", None), "dsn", None)
    if not isinstance(given, str):
        return None
    parts: dict[str, Any] = dict(conninfo_to_dict(given))
    return f"{parts.get('host', '')}:{parts.get('port', '5432')}/{parts.get('dbname', '')}"


LOCK = "@hhqqi4x"
"""Linux' `struct flock`: kind, from where, first byte, bytes, process."""

Key = tuple[str, str]
"""A database's name and a thread's id."""

Locked = Literal["here and elsewhere", "here", ""]
"""Whom a lease keeps out: callers in other processes too; callers in this one; nobody, as somebody
else holds the thread."""


@dataclass
class _LockFile:
    """An open lock file. Closing it would drop all of its locks, so the last lease does."""

    descriptor: int
    leases: int = 0


@dataclass
class _Held:
    """What one process holds. A child of `fork` has none of its parent's locks, and starts with
    nothing."""

    mutex: threading.Lock = field(default_factory=threading.Lock)
    threads: set[Key] = field(default_factory=set[Key])
    files: dict[Path, _LockFile] = field(default_factory=dict[Path, _LockFile])


@per_process
def _held() -> _Held:
    return _Held()


@contextmanager
def lease(database: Database, thread: str) -> Generator[None]:
    """Hold a thread.

    Args:
        database: of the thread.
        thread: its id.

    Raises:
        ThreadBusyError: somebody else holds it.
    """
    key, held = (database.name, thread), _held()
    with held.mutex:
        locked = "" if key in held.threads else _lock(database.lock, key, held.files)
        if not locked:
            raise ThreadBusyError(
                f"Thread {thread!r} is running already: wait for that call, or use another "
                "thread_id."
            )
        held.threads.add(key)
    try:
        yield
    finally:
        if held is _held():  # else this is a forked child, and the lease its parent's
            with held.mutex:
                held.threads.discard(key)
                if locked == "here and elsewhere":
                    _unlock(database.lock, key, held.files)


def holds(database: Database, thread: str) -> bool:
    """Whether this process holds a thread."""
    return (database.name, thread) in _held().threads


def is_leased(database: Database, thread: str) -> bool:
    """Whether somebody holds a thread, as far as that can be seen without taking it.

    Other processes can be seen on Linux alone.
    """
    key = (database.name, thread)
    if key in _held().threads:
        return True
    if database.lock is None or sys.platform != "linux" or not database.lock.exists():
        return False
    asked = struct.pack(LOCK, fcntl.F_WRLCK, os.SEEK_SET, _byte(key), 1, 0)
    with _held().mutex:  # to close the file drops the locks that this process has on it
        file = _held().files.get(database.lock)
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
