"""Lease homes: where the leases of a saver's threads are taken. Takes none."""

import asyncio
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from langgraph_rlm.pregel.savers import own_saver


@dataclass(frozen=True)
class Database:
    """What two savers of the same threads have in common."""

    name: str
    lock: Path | None
    """The lock file of SQLite; each thread locks one byte of it."""
    saver: Any = field(default=None, compare=False, repr=False)
    """The user's saver of PostgreSQL, in whose database leases are rows. Where there is neither, no
    other process can open the database, or we cannot tell."""


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
        return Database(await _postgres(connection) or f"{id(own)}", None, own)
    return Database(f"{id(own)}", None)


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
