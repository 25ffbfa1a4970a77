"""Blobs in buckets: what clients of clouds do otherwise than a file system, over HTTP to moto's S3."""

from pathlib import Path
from typing import Any

import pytest

from langgraph_rlm import BlobError, BlobStore, ConfigurationError
from langgraph_rlm.errors import RLMError
from langgraph_rlm.storage.locations import masked

from .stores import new_store, s3_server

__all__ = ["s3_server"]


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return new_store("s3", request, tmp_path)


def uses(store: BlobStore) -> list[Any]:
    """All that writes and reads."""
    digest = "0" * 64
    return [
        lambda: store.put(b"x"),
        lambda: store.put_stream([b"x"]),
        lambda: store.get(digest),
        lambda: store.path(digest),
        lambda: store.has(digest),
        lambda: store.note(digest, b"x"),
    ]


def test_a_listing_has_more_pages_than_one(url: str, s3_server: str) -> None:
    """S3 lists a thousand at a time."""
    store = BlobStore.open(url)
    store.put(b"x")
    bucket = url.split("/")[2]
    backend: Any = store.backend
    _copy_in_moto(bucket, 1_050)
    assert len([*backend.blobs()]) == 1_051


def _copy_in_moto(bucket: str, count: int) -> None:
    from moto.s3.models import s3_backends

    [backend] = [each["aws"] for each in s3_backends.values() if bucket in each["aws"].buckets]
    for number in range(count):
        backend.put_object(bucket, f"blobs/{number % 256:02x}/{number:062x}", b"y")


def test_what_one_machine_puts_another_one_sees_at_once(url: str) -> None:
    """fsspec keeps listings: what was not there a moment ago may be there now."""
    one, other = BlobStore.open(url), BlobStore.open(f"{url}/")
    digest = one.put(b"first")
    assert len([*other.backend.blobs()]) == 1
    second = one.put(b"second")
    assert not other.backend.is_empty()
    assert {found.digest for found in other.backend.blobs()} == {digest, second}
    assert other.has(second)
    assert other.get(second) == b"second"


def test_a_bucket_that_is_not_there_is_told(url: str) -> None:
    store = BlobStore.open(f"s3://{url.split('/')[2]}-nosuch/blobs")
    with pytest.raises(BlobError, match="nosuch"):
        store.put(b"x")


@pytest.mark.parametrize("wrong", ["keys", "address"])
def test_errors_of_the_client_say_what_to_check(
    url: str, wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import s3fs

    if wrong == "keys":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 0)
    s3fs.S3FileSystem.clear_instance_cache()
    try:
        for use in uses(BlobStore.open(url)):
            with pytest.raises(BlobError, match=r"[Cc]redentials|address"):
                use()
    finally:
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("ftp://ann:secret@host/blobs", "ftp://ann:***@host/blobs"),
        ("postgres://ann:s%40@h:5432/db?a=b", "postgres://ann:***@h:5432/db?a=b"),
        ("postgresql://h/db?user=ann&password=secret", "postgresql://h/db?user=ann&password=***"),
        ("postgresql://ann:p@ss:w/rd@h/db", "postgresql://ann:***@h/db"),
        ("s3://bucket/blobs", "s3://bucket/blobs"),
        ("simplecache::ftp://ann:secret@h/b", "simplecache::ftp://ann:***@h/b"),
        ("az://c/b?sas_token=abc&x=1", "az://c/b?sas_token=***&x=1"),
        ("/a/folder:with@signs", "/a/folder:with@signs"),
    ],
)
def test_no_secret_of_a_location_is_shown(location: str, shown: str) -> None:
    assert masked(location) == shown


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened") as caught:
        BlobStore.open("ftp://ann:secret@127.0.0.1:9/blobs")
    assert "secret" not in str(caught.value)


def test_an_error_of_any_kind_is_one_of_ours(url: str) -> None:
    """A client's own error, in the middle of a read."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class Odd(MemoryFileSystem):
        protocol = "odd"

        def __getattribute__(self, name: str) -> Any:
            if name in ("info", "open", "exists", "pipe_file", "makedirs", "ls", "find"):

                def fail(*args: Any, **kwargs: Any) -> Any:
                    raise RuntimeError("of a client, with ann:secret@ in it")

                return fail
            return super().__getattribute__(name)

    fsspec.register_implementation("odd", Odd, clobber=True)
    for use in uses(BlobStore.open("odd://ann:secret@b/c")):
        with pytest.raises(RLMError) as caught:
            use()
        assert "RuntimeError: of a client" in str(caught.value)
        assert "secret" not in str(caught.value)
