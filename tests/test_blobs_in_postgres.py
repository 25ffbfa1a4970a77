"""Blobs in PostgreSQL: what a database adds to what every store promises."""

import os
import sys
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from langgraph_rlm import BlobError, BlobStore, ConfigurationError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.postgres_pool import CONNECTIONS

from .faults.databases import Postgres
from .stores import new_store, postgres_server

__all__ = ["postgres_server"]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_store("postgresql", request, tmp_path)


def in_forked_child(work: Any) -> None:
    """Do something in a fork of this process, which must end well."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def rows(url: str, table: str) -> int:
    backend: Any = BlobStore.open(url).backend
    [(count,)] = backend._pool.ask(f"SELECT count(*) FROM {{{table}}}")
    return count


def test_the_same_bytes_are_stored_once_also_by_two_processes_at_once(url: str) -> None:
    data = os.urandom(3 * CHUNK)

    def put() -> None:
        BlobStore.open(url).put(data)
        BlobStore.open(url).put_stream([data])

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(put) for _ in range(4)]:
            done.result()
    in_forked_child(put)
    assert (rows(url, "blobs"), rows(url, "chunks")) == (1, 3)


def test_a_large_blob_is_never_in_memory_whole(url: str) -> None:
    store = BlobStore.open(url)
    store.put(b"the first imports modules")
    part = os.urandom(CHUNK)
    tracemalloc.start()
    digest, size = store.put_stream(part for _ in range(64))
    store.backend._cache.drop(digest)  # as on another machine
    assert store.path(digest).stat().st_size == size
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 24 * CHUNK


def test_a_large_blob_whose_writer_is_killed_is_not_there(url: str) -> None:
    store = BlobStore.open(url)
    store.put(b"tables are there")
    data = os.urandom(40 * CHUNK)

    class Killed(Exception):
        pass

    backend: Any = store.backend
    sent = backend._pool.sent

    def killed(connection: Any, text: str, values: Any = ()) -> Any:
        if text.startswith("UPDATE"):
            raise Killed
        return sent(connection, text, values)

    backend._pool.sent = killed
    backend.renewed = lambda *_: False
    with pytest.raises(Killed):
        store.put(data)
    assert (rows(url, "blobs"), rows(url, "chunks")) == (1, 0)
    assert BlobStore.open(url).put(data)
    assert rows(url, "chunks") == 40


def test_altered_chunks_are_an_error_until_the_file_is_given_again(url: str) -> None:
    data = os.urandom(2 * CHUNK)
    store = BlobStore.open(url)
    digest = store.put(data)
    backend: Any = store.backend
    backend._pool.ask("DELETE FROM {chunks} WHERE number = 1")
    backend._cache.drop(digest)
    for read in (BlobStore.open(url).get, BlobStore.open(url).path):
        with pytest.raises(BlobError, match=f"{digest} is altered"):
            read(digest)


def test_a_blob_that_is_put_again_between_the_two_steps_of_a_prune_stays(url: str) -> None:
    store = BlobStore.open(url)
    digests = [store.put(data) for data in (b"small", os.urandom(2 * CHUNK))]
    names = [store.backend.set_aside(digest, time.time() + 60) for digest in digests]
    assert store.put(b"small") == digests[0]
    for name in names:
        assert name is not None
        store.backend.delete_aside(name)
    assert [BlobStore.open(url).has(digest) for digest in digests] == [True, False]
    assert rows(url, "chunks") == 0


def test_no_more_connections_than_said_and_a_restart_is_survived(
    url: str, postgres_server: Postgres
) -> None:
    stores = [BlobStore.open(f"{url}&application_name=counted") for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        [*pool.map(lambda store: store.put(os.urandom(3000)), stores)]
    with psycopg.connect(postgres_server.url) as connection:
        counted = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'counted'"
        [(count,)] = connection.execute(counted).fetchall()
    assert 1 <= count <= CONNECTIONS
    postgres_server.stop()
    postgres_server.start()
    digest = stores[0].put(b"after the restart")
    assert BlobStore.open(url).get(digest) == b"after the restart"


def test_a_database_that_is_away_is_told_with_its_reason_and_no_password(tmp_path: Path) -> None:
    url = f"postgresql://ann:very%40secret@/db?host={tmp_path}&sslpassword=hidden"
    store = BlobStore.open(url)
    assert store.location == f"postgresql://ann:***@/db?host={tmp_path}&sslpassword=***"
    assert BlobStore.open(store.location).location == store.location  # this process knows the rest
    for use in (lambda: store.put(b"x"), lambda: store.get("0" * 64), lambda: store.has("0" * 64)):
        with pytest.raises(BlobError, match="No such file") as caught:
            use()
        assert "secret" not in str(caught.value)
        assert "hidden" not in str(caught.value)


def test_a_store_that_was_kept_without_its_password_needs_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = f"postgresql://ann:{uuid4()}@db.example/rlm"
    with pytest.raises(ConfigurationError, match="LANGGRAPH_RLM_STORE to its whole URL"):
        BlobStore.open("postgresql://ann:***@db.example/rlm")
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", whole)
    assert BlobStore.open("postgresql://ann:***@db.example/rlm").location.count("***") == 1


@pytest.mark.parametrize("table", ["a;b", 'a"b', "a.b.c", "1a", "a" * 41, "", "a b"])
def test_a_table_has_a_plain_name(table: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name"):
        BlobStore.open(f"postgresql://host/db?table={quote(table)}")


def test_tables_may_be_in_a_schema_and_their_names_are_quoted(
    postgres_server: Postgres,
) -> None:
    schema = f"Select_{uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{schema}"')
    store = BlobStore.open(f"{postgres_server.url}&table={schema}.Blobs")
    assert not store.has("0" * 64)  # nothing is made to look
    assert store.get(store.put(b"x")) == b"x"


def test_a_claim_is_over_when_its_process_is_silent(url: str) -> None:
    store = BlobStore.open(url)
    use = store.users.begin(None, None)
    store.put(b"x")
    [claim] = store.users.known().claims
    assert claim.what == "run"
    backend: Any = store.backend
    backend._pool.ask("UPDATE {users} SET seen = seen - interval '29 minutes'")
    assert len(store.users.known().claims) == 1
    backend.tags._beat._renew(dict(backend.tags._beat._claims))
    backend._pool.ask("UPDATE {users} SET seen = seen - interval '29 minutes'")
    assert len(store.users.known().claims) == 1
    backend._pool.ask("UPDATE {users} SET seen = seen - interval '31 minutes'")
    assert not store.users.known().claims
    store.users.end(use)


def test_times_are_the_databases(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose clock is a day off deletes nothing that is young."""
    store = BlobStore.open(url)
    digest = store.put(b"young")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 24 * 3600)
    assert abs(store.backend.clock() - now) < 60
    assert store.backend.set_aside(digest, store.backend.clock() - 3600) is None


def test_without_the_client_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg_pool", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'langgraph-rlm\[postgres\]'"):
        BlobStore.open("postgresql://host/db")
