"""Leases: one run of a thread at a time, in this process and among processes. Held by file locks, which the kernel drops with the process.

LangGraph keeps nobody out: two runs of one thread write over each other's results, and each has the whole budget for itself.
"""

import asyncio
import hashlib
import inspect
import os
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.pregel.savers import ThreadedSaver

if sys.platform != "win32":
    import fcntl


@dataclass(frozen=True)
class Database:
    """What two savers of the same threads have in common."""

    name: str
    lock: Path | None
    """The file whose bytes stand for its threads; None where only this process can have it open, or is known to."""


async def database_of(saver: BaseCheckpointSaver[Any]) -> Database:
    """The database of a saver: a SQLite file, a PostgreSQL server's, or for any other kind the saver itself."""
    own: Any = saver.wrapped if isinstance(saver, ThreadedSaver) else saver
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
        return Database(f"{id(own)}", None) if name is None else Database(name, _shared_lock())
    return Database(f"{id(own)}", None)


def _shared_lock() -> Path:
    """The lock file of this user on this machine."""
    user = 0 if sys.platform == "win32" else os.getuid()
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:  # a machine without a writable folder: said when it is opened
        folder = "/tmp"
    return Path(folder, f"langgraph-rlm-{user}.lock")


def _attached(saver: Any) -> Any:
    with saver.lock:
        return saver.conn.execute("PRAGMA database_list").fetchall()


def _sqlite(saver: Any, rows: Any) -> Database:
    file = next(str(file) for _, name, file in rows if name == "main")
    return Database(file, Path(f"{file}-rlm-lock")) if file else Database(f"{id(saver)}", None)


async def _postgres(connection: Any) -> str | None:
    """Server and database, as the connection string says; a pool may have a function that makes one, also an async one."""
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


@dataclass
class _Mine:
    """What one process holds. A child of `fork` has none of its parent's locks, and so starts with nothing."""

    process: int = field(default_factory=os.getpid)
    mutex: threading.Lock = field(default_factory=threading.Lock)
    held: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    open: dict[Path, tuple[int, int]] = field(default_factory=dict[Path, tuple[int, int]])
    """Open lock files: descriptor, and how many threads it locks. Closing one drops all its locks, so only the last lease does."""


_mine = _Mine()
_unlockable: set[Path] = set()
"""Files that were warned of."""


def _of_this_process() -> _Mine:
    global _mine
    if _mine.process != os.getpid():
        _mine = _Mine()
    return _mine


@contextmanager
def lease(database: Database, thread: str) -> Generator[None]:
    """Hold a thread.

    Raises:
        ThreadBusyError: somebody else does.
    """
    key, mine = (database.name, thread), _of_this_process()
    with mine.mutex:
        locked = key not in mine.held and _lock(database.lock, key, mine.open)
        if not locked:
            raise ThreadBusyError(
                f"Thread {thread!r} is running already: wait for that call, or use another thread_id."
            )
        mine.held.add(key)
    try:
        yield
    finally:
        if mine is _of_this_process():
            with mine.mutex:
                mine.held.discard(key)
                if locked == "here and elsewhere":
                    _unlock(database.lock, key, mine.open)


Locked = Literal["here and elsewhere", "here", ""]
"""Whom a lease keeps off: callers in other processes too, callers in this one, nobody as somebody else has it."""


def _lock(path: Path | None, key: tuple[str, str], files: dict[Path, tuple[int, int]]) -> Locked:
    """Take the byte of a thread. Where there can be no such lock, only callers in this process are kept apart, with one warning."""
    if path is None or sys.platform == "win32":
        return "here"
    descriptor, count = files.get(path) or (None, 0)
    try:
        if descriptor is None:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        took = _take(descriptor, _byte(key))
    except OSError as error:
        _warn(path, error)
        took = None
    if took:
        files[path] = (cast(int, descriptor), count + 1)
        return "here and elsewhere"
    if descriptor is not None and not count:
        os.close(descriptor)
    return "here" if took is None else ""


def _take(descriptor: int, byte: int) -> bool:
    """False when another process has it. Raises `OSError` where the file system has no locks."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, byte)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _warn(path: Path, error: OSError) -> None:
    if path in _unlockable:
        return
    _unlockable.add(path)
    warnings.warn(
        f"The lock file {path} cannot be used ({error.strerror}), so that another process is not kept off a thread that runs here: two "
        "would pay twice. Make the file writable for this user, or see to it that one process runs a thread.",
        RuntimeWarning,
        stacklevel=2,
    )


def _unlock(path: Path | None, key: tuple[str, str], files: dict[Path, tuple[int, int]]) -> None:
    if path is None or sys.platform == "win32":
        return
    descriptor, count = files.pop(path)
    if count == 1:
        os.close(descriptor)
        return
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _byte(key))
    files[path] = (descriptor, count - 1)


def _byte(key: tuple[str, str]) -> int:
    """Where in the file a thread is: nothing is written there."""
    return (
        int.from_bytes(
            hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()[:8], "big"
        )
        >> 2
    )
