"""Leases: one run of a thread at a time, in this process and among processes. Held by file locks, which the kernel drops with the process.

LangGraph keeps nobody out: two runs of one thread write over each other's results, and each has the whole budget for itself.
"""

import asyncio
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.savers import ThreadedSaver

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
        return Database(_postgres(connection), Path(tempfile.gettempdir(), f"langgraph-rlm-{_user()}.lock"))
    return Database(f"{id(own)}", None)


def _user() -> int:
    return 0 if sys.platform == "win32" else os.getuid()


def _attached(saver: Any) -> Any:
    with saver.lock:
        return saver.conn.execute("PRAGMA database_list").fetchall()


def _sqlite(saver: Any, rows: Any) -> Database:
    file = next(str(file) for _, name, file in rows if name == "main")
    return Database(file, Path(f"{file}-rlm-lock")) if file else Database(f"{id(saver)}", None)


def _postgres(connection: Any) -> str:
    """Server and database, as the connection string says."""
    from psycopg.conninfo import conninfo_to_dict

    given = getattr(connection, "conninfo", None)
    parts: dict[str, Any] = dict(conninfo_to_dict(given if isinstance(given, str) else connection.info.dsn))
    return f"{parts.get('host', '')}:{parts.get('port', '5432')}/{parts.get('dbname', '')}"


_held: set[tuple[str, str]] = set()
_open: dict[Path, tuple[int, int]] = {}
"""Open lock files: descriptor, and how many threads it locks. Closing one drops all its locks, so only the last lease does."""
_mutex = threading.Lock()


@contextmanager
def lease(database: Database, thread: str) -> Generator[None]:
    """Hold a thread.

    Raises:
        ThreadBusyError: somebody else does.
    """
    key = (database.name, thread)
    with _mutex:
        if key in _held or not _lock(database.lock, key):
            raise ThreadBusyError(f"Thread {thread!r} is running already: wait for that call, or use another thread_id.")
        _held.add(key)
    try:
        yield
    finally:
        with _mutex:
            _held.discard(key)
            _unlock(database.lock, key)


def _lock(path: Path | None, key: tuple[str, str]) -> bool:
    """Take the byte of a thread; False when another process has it."""
    if path is None or sys.platform == "win32":  # there only callers in one process are kept apart
        return True
    descriptor, count = _open.get(path) or (os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), 0)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _byte(key))
    except (BlockingIOError, PermissionError):
        if not count:
            os.close(descriptor)
        return False
    _open[path] = (descriptor, count + 1)
    return True


def _unlock(path: Path | None, key: tuple[str, str]) -> None:
    if path not in _open or sys.platform == "win32":
        return
    descriptor, count = _open.pop(path)
    if count == 1:
        os.close(descriptor)
        return
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _byte(key))
    _open[path] = (descriptor, count - 1)


def _byte(key: tuple[str, str]) -> int:
    """Where in the file a thread is: nothing is written there."""
    return int.from_bytes(hashlib.sha256("\0".join(key).encode("utf-8", "surrogatepass")).digest()[:8], "big") >> 2
