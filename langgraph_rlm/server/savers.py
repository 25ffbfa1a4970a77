"""Savers: the database of a server, opened on the loop that uses it."""

import asyncio
import os
import re
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.locations import STORE_VARIABLE

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

CONNECTIONS = 16
"""Connections to PostgreSQL of one run process, at most."""
SETUP_LOCK = 0x726C6D
"""Number of the lock that is held while tables are made."""
SETUP_PAUSE = 0.1
"""Seconds between two looks at it."""


@asynccontextmanager
async def open_saver(db: str | None) -> AsyncGenerator["BaseCheckpointSaver[Any]"]:
    """Give the saver of a database, with its tables made.

    Args:
        db: a SQLite file or a PostgreSQL URL; None is `default_db`.

    Raises:
        ConfigurationError: the database cannot be opened, or a package is missing.
    """
    async with _opened(db) as saver:
        yield saver


def _opened(db: str | None) -> AbstractAsyncContextManager["BaseCheckpointSaver[Any]"]:
    if not db:
        return _sqlite(default_db())
    if is_postgres(db):
        return _postgres(db)
    return _sqlite(Path(db))


def is_postgres(db: str | None) -> bool:
    """Say whether a database is a PostgreSQL server."""
    return db is not None and db.startswith(("postgresql://", "postgres://"))


def store_beside(db: str | None) -> str | None:
    """Give the blob store of the threads of a database, where nobody named one.

    It is a PostgreSQL database itself, so that servers on several machines share it. None is the
    default one.
    """
    if os.environ.get(STORE_VARIABLE) or not is_postgres(db):
        return None
    return db


def default_db() -> Path:
    """Give the path of `server.db` in the user's data folder."""
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "server.db"


@asynccontextmanager
async def _sqlite(path: Path) -> AsyncGenerator["BaseCheckpointSaver[Any]"]:
    import sqlite3

    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    async with AsyncExitStack() as until_done:
        try:
            await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
            opened = AsyncSqliteSaver.from_conn_string(str(path))
            saver = await until_done.enter_async_context(opened)
            await saver.setup()
        except (OSError, sqlite3.Error) as error:  # the connection's thread ends with the stack
            raise ConfigurationError(
                f"db={str(path)!r} cannot be opened: {error}. "
                "Give another file, or a PostgreSQL URL."
            ) from error
        yield saver


@asynccontextmanager
async def _postgres(url: str) -> AsyncGenerator["BaseCheckpointSaver[Any]"]:
    try:
        import psycopg
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import AsyncConnectionPool
    except ImportError as error:
        raise ConfigurationError(
            "A PostgreSQL database needs its client: pip install 'langgraph-rlm[postgres]'"
        ) from error
    settings: Any = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
    pool: Any = AsyncConnectionPool(
        url, kwargs=settings, min_size=1, max_size=CONNECTIONS, open=False, timeout=30
    )
    try:
        # the pool would try for long, and say less about what is wrong
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=10):
            pass
        await pool.open(wait=True, timeout=30)
        saver = AsyncPostgresSaver(pool)
        async with _alone(pool):
            await saver.setup()
    except (psycopg.Error, OSError) as error:
        await pool.close()
        raise ConfigurationError(
            f"The PostgreSQL database cannot be opened: {_without_password(str(error))}"
        ) from error
    try:
        yield saver
    finally:
        await pool.close()


@asynccontextmanager
async def _alone(pool: Any) -> AsyncGenerator[None]:
    """Be the only one who makes tables: of two servers that start at once, one would fail.

    Nobody waits within a statement, since the index that is made waits for all statements.
    """
    async with pool.connection() as connection:
        while True:
            sql = "SELECT pg_try_advisory_lock(%s) AS is_ours"
            row = await (await connection.execute(sql, (SETUP_LOCK,))).fetchone()
            if row["is_ours"]:
                break
            await asyncio.sleep(SETUP_PAUSE)
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (SETUP_LOCK,))


def _without_password(text: str) -> str:
    return re.sub(r"://([^:/@\s]+):[^@\s]+@", r"://\1:[secret]@", text)
