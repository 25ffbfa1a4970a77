"""Stores: blob stores of every kind, with the servers that they need, and how to age what is in them."""

import datetime
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from langgraph.store.memory import InMemoryStore

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.postgres import Postgres
from langgraph_rlm.storage.remote import Remote

from .faults.databases import CannotStart
from .faults.databases import Postgres as Server

KINDS = ["folder", "memory", "local", "s3", "postgresql", "store"]
"""A folder; fsspec in memory, on the disk and over HTTP to a server of S3; a database; a LangGraph
store."""

REMOTE = ["memory", "local", "s3", "store"]
"""Those that cannot rename."""


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL server."""
    try:
        server = Server()
    except CannotStart as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server of S3: moto's, over HTTP."""
    pytest.importorskip("moto.server", reason="pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="pip install s3fs")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def new_store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A location of a kind where nothing is yet."""
    if kind == "folder":
        return str(tmp_path / "blobs")
    if kind == "store":
        return InMemoryStore()
    if kind == "local":
        return f"local://{tmp_path}/remote"
    if kind == "s3":
        _name_s3(request.getfixturevalue("s3_server"), request.getfixturevalue("monkeypatch"))
        return _new_bucket()
    if kind == "postgresql":
        server: Server = request.getfixturevalue("postgres_server")
        return f"{server.url}&table=blobs_{uuid4().hex[:12]}"
    return f"memory://{uuid4()}"


def _name_s3(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": address,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)


def _new_bucket() -> str:
    import s3fs

    bucket = f"rlm-{uuid4()}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    return f"s3://{bucket}/blobs"


def stored(where: Any) -> set[str]:
    """The digests of the blobs of a store."""
    return {found.digest for found in BlobStore.open(where).backend.blobs()}


def alter(where: Any, digest: str, data: bytes) -> None:
    """Put other bytes where a blob is."""
    backend: Any = BlobStore.open(where).backend
    if isinstance(backend, Postgres):
        backend._pool.ask(
            "UPDATE {blobs} SET data = %b WHERE digest = %b", (data, bytes.fromhex(digest))
        )
    elif isinstance(backend, Remote):
        backend._fs.pipe_file(backend._key(digest), data)
    else:
        (Path(where) / digest[:2] / digest[2:]).write_bytes(data)


def age(where: Any, hours: float = 3) -> None:
    """As if all was put some hours ago."""
    then = time.time() - hours * 3600
    backend: Any = BlobStore.open(where).backend
    if isinstance(backend, Postgres):
        backend._pool.ask(
            "UPDATE {blobs} SET used = clock_timestamp() - %s::interval", (f"{hours} hours",)
        )
        return
    for found in [*backend.blobs(), *backend.aside()]:
        if isinstance(where, InMemoryStore):
            backend._fs._files._head(found.name).updated_at = datetime.datetime.fromtimestamp(
                then, datetime.UTC
            )
        elif str(where).startswith("s3:"):
            _in_moto(found.name).last_modified = datetime.datetime.fromtimestamp(then)
        elif str(where).startswith("memory:"):
            file = backend._fs._files.store[found.name]
            file.created = file.modified = datetime.datetime.fromtimestamp(then, datetime.UTC)
        else:
            os.utime(found.name, (then, then))


def _in_moto(name: str) -> Any:
    from moto.s3.models import s3_backends

    bucket, _, key = name.partition("/")
    [backend] = [each["aws"] for each in s3_backends.values() if bucket in each["aws"].buckets]
    return backend.buckets[bucket].keys[key]
