"""Postgres pool: the connections of this process to the database of a blob store, and its tables.

What goes wrong is an OSError here, as with any other place for files.
"""

import atexit
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.locations import masked, scrubbed

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

T = TypeVar("T")

CONNECTIONS = 4
"""Connections of a process to one database, at most, however many stores it opens there."""

WAIT_SECONDS = 30.0
"""How long a connection is waited for, also while the database restarts."""

CLOSE_SECONDS = 1.0
"""How long a process that ends waits for the threads of its pool."""

TRIES = 3
"""How often a statement is sent, where its connection was lost. Each may be sent twice."""

TABLE = "langgraph_rlm_blobs"
"""The table of blobs, unless the URL has `table=`. Others begin with its name."""

NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,39}")
"""A name of a table or of a schema. What is longer does not fit with what is added to it."""

PARAMETERS = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""What libpq is told unless the URL does: a database that was cut off is noticed in half a
minute, and not in two hours."""

TABLES = """
CREATE TABLE IF NOT EXISTS {blobs} (
    digest bytea PRIMARY KEY,
    size bigint NOT NULL,
    used timestamptz NOT NULL DEFAULT clock_timestamp(),
    aside text,
    data bytea
);
CREATE TABLE IF NOT EXISTS {chunks} (
    digest bytea NOT NULL REFERENCES {blobs} ON DELETE CASCADE,
    number integer NOT NULL,
    data bytea NOT NULL,
    PRIMARY KEY (digest, number)
);
CREATE TABLE IF NOT EXISTS {notes} (key text PRIMARY KEY, data bytea NOT NULL);
CREATE TABLE IF NOT EXISTS {users} (
    name text PRIMARY KEY, data bytea NOT NULL, seen timestamptz NOT NULL
);
"""
"""`data` of a blob is null where it lies in chunks."""


STORED = "ALTER TABLE {chunks} ALTER COLUMN data SET STORAGE EXTERNAL"
"""Chunks are not compressed: that would save 40 % of the bytes of texts, and cost the database
25 ms a MB, three times the rest. Of small blobs the same costs 0.15 ms each, and is done."""


class Pool:
    """Statements over the connections of this process, each tried again where one was lost."""

    def __init__(self, url: str) -> None:
        """Take a URL of PostgreSQL's, as libpq does, with `table=NAME` or `table=SCHEMA.NAME`.

        Raises:
            ConfigurationError: the client is not installed, or the URL is wrong.
        """
        try:
            from psycopg import sql
            from psycopg.conninfo import conninfo_to_dict

            import_module("psycopg_pool")
        except ImportError:
            raise ConfigurationError(
                f"The blob store {masked(url)!r} needs the client of PostgreSQL: "
                "pip install 'langgraph-rlm[postgres]'"
            ) from None
        self._whole = url
        self.location = masked(url)
        self._url, table = _without_table(url)
        self._names = {
            each: sql.Identifier(*_named(table, end, self.location))
            for each, end in (("blobs", ""), ("chunks", "_chunks"), ("notes", "_notes"))
        }
        self._names["users"] = sql.Identifier(*_named(table, "_users", self.location))
        try:
            conninfo_to_dict(self._url)
        except Exception as error:  # noqa: BLE001
            raise ConfigurationError(
                f"The blob store {self.location!r} is no URL of PostgreSQL: "
                f"{scrubbed(str(error), url)}"
            ) from None
        self._is_made = False
        self._lock = threading.Lock()

    def ask(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Send a statement, in which `{blobs}` and the like stand for tables, and give its rows.

        Where the tables are not there yet, there are no rows.

        Raises:
            OSError: the database cannot be used.
        """
        from psycopg.errors import UndefinedTable

        try:
            return self.run(lambda connection: self.sent(connection, text, values))
        except _Refused as error:
            if isinstance(error.__cause__, UndefinedTable):
                return []
            raise

    def tell(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Do what `ask` does, with tables that are made where there are none."""
        self.make()
        return self.run(lambda connection: self.sent(connection, text, values))

    def sent(
        self, connection: "Connection[Any]", text: str, values: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Send a statement over a connection, and give its rows."""
        cursor = connection.execute(self.statement(text), values, binary=True)
        return cursor.fetchall() if cursor.description else []

    def statement(self, text: str) -> Any:
        """Give a statement with the names of the tables in it."""
        from psycopg import sql

        composed: Any = sql.SQL(text)  # pyright: ignore[reportArgumentType]
        return composed.format(**self._names)

    def run(self, work: "Callable[[Connection[Any]], T]") -> T:
        """Do something with a connection, again where that was lost.

        Raises:
            OSError: the database cannot be used.
        """
        import psycopg

        for left in reversed(range(TRIES)):
            try:
                pool = self._pool()
                if left < TRIES - 1:
                    pool.check()  # all that were idle may be lost too
                with pool.connection() as connection:
                    return work(connection)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not left or not _is_lost(error):
                    raise self._refused(error) from error
            except psycopg.Error as error:
                raise self._refused(error) from error
        raise AssertionError("the last try has returned or raised")

    def make(self) -> None:
        """Make the tables, once in a process."""
        if self._is_made:
            return
        with self._lock:
            if not self._is_made:
                self.run(self._make)
                self._is_made = True

    def _make(self, connection: "Connection[Any]") -> None:
        """Make the tables where there are none: who may not make any can use those that are."""
        there = "SELECT to_regclass(%s) IS NOT NULL"
        last = self._names["users"].as_string(connection)
        if self.sent(connection, there, (last,)) == [(True,)]:
            return
        with connection.transaction():
            # two that make a table at once would collide, in spite of IF NOT EXISTS
            self.sent(connection, "SELECT pg_advisory_xact_lock(hashtext(%s))", (last,))
            for text in TABLES.split(";"):
                if text.strip():
                    self.sent(connection, text)
            self.sent(connection, STORED)

    def _pool(self) -> "ConnectionPool[Any]":
        return _pool_of(self._url, self._why_not)

    def _why_not(self) -> None:
        """Connect by hand, which says what is wrong; a pool only says that it waited."""
        import psycopg

        with psycopg.connect(self._url):
            pass

    def _refused(self, error: Exception) -> "_Refused":
        from psycopg_pool import PoolTimeout, TooManyRequests

        if isinstance(error, PoolTimeout | TooManyRequests):
            try:
                self._why_not()
            except Exception as reason:  # noqa: BLE001
                error = reason
        return _Refused(scrubbed(str(error).strip(), self._whole))


class _Refused(OSError):
    """The database does not do it, or is not there."""


def _is_lost(error: Exception) -> bool:
    """Whether a connection was lost, rather than a statement refused."""
    import psycopg
    from psycopg_pool import PoolTimeout

    is_shutdown = isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown)
    has_code = getattr(error, "sqlstate", None) is not None
    return is_shutdown or not (has_code or isinstance(error, PoolTimeout))


_pools: dict[tuple[int, str], "ConnectionPool[Any]"] = {}
"""By process and URL. Those of a parent stay here, unused: they are not to be closed."""

_pools_lock = threading.Lock()


def _pool_of(url: str, try_first: Callable[[], None]) -> "ConnectionPool[Any]":
    from psycopg_pool import ConnectionPool

    key = (os.getpid(), url)
    found = _pools.get(key)
    if found is not None:
        return found
    try_first()
    with _pools_lock:
        if key not in _pools:
            # nothing is prepared, so that PgBouncer may give each transaction another connection
            settings = {"autocommit": True, "prepare_threshold": None}
            _pools[key] = ConnectionPool(
                url,
                kwargs=settings,
                min_size=0,
                max_size=CONNECTIONS,
                timeout=WAIT_SECONDS,
                reconnect_timeout=WAIT_SECONDS,
                open=True,
                name="langgraph-rlm-blobs",
            )
        return _pools[key]


@atexit.register
def _close_pools() -> None:
    """Close the pools of this process while their threads can still end: later, the process would
    wait seconds for each of them."""
    for (process, _), pool in [*_pools.items()]:
        if process == os.getpid():
            with suppress(Exception):
                pool.close(timeout=CLOSE_SECONDS)


def _forget_locks() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()  # a thread that is not here may have held the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _without_table(url: str) -> tuple[str, str]:
    """Split a URL into what libpq takes, and the name of the table."""
    address, _, query = url.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    table = given.pop("table", TABLE)
    return f"{address}?{urlencode({**PARAMETERS, **given}, quote_via=quote)}", table


def _named(table: str, end: str, location: str) -> tuple[str, ...]:
    """Give the parts of a table's name."""
    parts = table.split(".")
    if len(parts) > 2 or not all(map(NAME.fullmatch, parts)):
        raise ConfigurationError(
            f"table={table!r} in the blob store {location!r} is no name: letters, digits and _ "
            "alone, at most 40, with or without a schema before it: rlm.blobs"
        )
    return (*parts[:-1], f"{parts[-1]}{end}")
