"""Blobs: what is stored once can be read again whole, or the error says how to supply it."""

import hashlib
import os
import random
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langgraph_rlm.errors import BlobError, ConfigurationError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import INLINE_CHARS, RECENT_BLOB_BYTES, BlobStore
from langgraph_rlm.storage.remote import Remote

from .stores import KINDS, alter, new_store, postgres_server, s3_server, stored

__all__ = ["postgres_server", "s3_server"]


@pytest.fixture(params=KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return new_store(request.param, request, tmp_path)


def blob_file(root: Path, digest: str) -> Path:
    return root / digest[:2] / digest[2:]


def stored_files(root: Path) -> list[Path]:
    """All but the notes on who uses the store."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [path for path in files if path.parent.name != "users"]


def test_another_store_at_the_same_location_reads_what_was_put(where: Any) -> None:
    digest = BlobStore.open(where).put(b"hello")
    again = BlobStore.open(where)
    assert digest == hashlib.sha256(b"hello").hexdigest()
    assert again.has(digest)
    assert again.get(digest) == b"hello"
    assert again.path(digest).read_bytes() == b"hello"


@pytest.mark.parametrize("size", [0, 100_000, CHUNK, CHUNK + 1, 20 * CHUNK + 7])
def test_a_stream_is_stored_under_the_digest_of_its_bytes(where: Any, size: int) -> None:
    store = BlobStore.open(where)
    whole = random.Random(size).randbytes(size)
    parts = [whole[at : at + 70_001] for at in range(0, size, 70_001)]
    assert store.put_stream(parts) == (hashlib.sha256(whole).hexdigest(), size)
    digest = hashlib.sha256(whole).hexdigest()
    assert store.get(digest) == store.path(digest).read_bytes() == whole
    shutil.rmtree(os.environ["LANGGRAPH_RLM_CACHE"], ignore_errors=True)  # another machine
    other = BlobStore.open(where)
    assert other.part(digest, size // 2, size) == whole[size // 2 :]
    assert other.get(digest) == other.path(digest).read_bytes() == whole


def test_a_stream_that_fails_leaves_nothing(where: Any) -> None:
    def chunks():
        yield b"half"
        raise KeyError("stop")

    with pytest.raises(KeyError):
        BlobStore.open(where).put_stream(chunks())
    assert stored(where) == set()
    assert [*Path(os.environ["LANGGRAPH_RLM_CACHE"]).rglob(".new-*")] == []


def test_the_same_bytes_are_stored_once_and_not_written_again(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path)
    digest = store.put(b"x" * 5000)
    before = blob_file(tmp_path, digest).stat()
    assert store.put(b"x" * 5000) == store.put_stream([b"x" * 5000])[0] == digest
    assert blob_file(tmp_path, digest).stat().st_ino == before.st_ino
    assert len(stored_files(tmp_path)) == 1


def test_a_missing_blob_names_its_digest_its_location_and_the_ways_to_supply_it(where: Any) -> None:
    digest = hashlib.sha256(b"never put").hexdigest()
    for read in (BlobStore.open(where).get, BlobStore.open(where).path):
        with pytest.raises(BlobError, match="missing") as caught:
            read(digest)
        for part in (
            digest,
            BlobStore.open(where).location,
            "same file again",
            f"{digest[:2]}/{digest[2:]}",
            "LANGGRAPH_RLM_STORE",
        ):
            assert part in str(caught.value)
    assert not BlobStore.open(where).has(digest)


@pytest.mark.parametrize("altered", [b"other", b"longer than it was"])
def test_an_altered_blob_is_an_error_until_it_is_put_again(where: Any, altered: bytes) -> None:
    digest = BlobStore.open(where).put(b"right")
    alter(where, digest, altered)
    store = BlobStore.open(where)
    with pytest.raises(BlobError, match=f"{digest} is altered"):
        store.get(digest)
    with pytest.raises(BlobError, match=f"{digest} is altered"):
        store.path(digest)
    assert store.put(b"right") == digest
    if len(altered) == len(b"right") and isinstance(store.backend, Remote):
        return  # files that are elsewhere are known by their size alone, until they are read
    assert BlobStore.open(where).get(digest) == b"right"


def test_what_was_just_put_is_read_from_memory_but_a_large_blob_is_not_held(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path)
    small, large = store.put(b"small"), store.put(b"L" * (RECENT_BLOB_BYTES + 1))
    for digest in (small, large):
        blob_file(tmp_path, digest).unlink()
    assert store.get(small) == b"small"
    with pytest.raises(BlobError):
        store.get(large)


def test_memory_is_bounded(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path)
    digests = [store.put(bytes([n]) * (8 << 20)) for n in range(6)]
    for digest in digests:
        blob_file(tmp_path, digest).unlink()
    with pytest.raises(BlobError):
        store.get(digests[0])
    assert len(store.get(digests[-1])) == 8 << 20


@given(st.text(st.characters(), max_size=50), st.sampled_from([1, INLINE_CHARS]))
def test_any_text_comes_back(text: str, times: int) -> None:
    store = BlobStore.open(f"memory://{uuid4()}")
    assert store.get_text(store.put_text(text * times)) == text * times


def test_a_long_text_or_one_that_a_checkpoint_cannot_encode_goes_by_reference(
    tmp_path: Path,
) -> None:
    store = BlobStore.open(tmp_path)
    assert store.put_text("é" * INLINE_CHARS) == {"text": "é" * INLINE_CHARS}
    assert store.put_text("é" * (INLINE_CHARS + 1)).get("chars") == INLINE_CHARS + 1
    broken = store.put_text("half a pair: \ud83d")
    assert "text" not in broken
    assert store.get_text(broken) == "half a pair: \ud83d"


def test_nothing_is_written_before_the_first_put_and_the_folder_is_private(tmp_path: Path) -> None:
    store = BlobStore.open(tmp_path / "deep" / "blobs")
    assert not (tmp_path / "deep").exists()
    store.put(b"x")
    assert (tmp_path / "deep" / "blobs").stat().st_mode & 0o777 == 0o700
    assert all(
        path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "deep" / "blobs").rglob("*")
    )


def test_the_location_is_the_argument_else_the_variable_else_the_users_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_STORE", str(tmp_path / "variable"))
    assert BlobStore.open().location == str(tmp_path / "variable")
    assert BlobStore.open(tmp_path).location == str(tmp_path)
    assert BlobStore.open(f"file://{tmp_path}").location == str(tmp_path)
    monkeypatch.delenv("LANGGRAPH_RLM_STORE")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert BlobStore.open().location.endswith("langgraph-rlm/blobs")
    store = BlobStore.open(tmp_path)
    assert BlobStore.open(store) is store


def test_a_url_without_fsspec_names_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'langgraph-rlm\[fsspec\]'"):
        BlobStore.open("s3://bucket/blobs")


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'nosuch://x'"):
        BlobStore.open("nosuch://x")


def test_a_location_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = BlobStore.open(tmp_path / "file")
    for put in (lambda: store.put(b"x"), lambda: store.put_stream([b"x"])):
        with pytest.raises(BlobError, match="cannot be written"):
            put()


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_digest_never_leads_out_of_the_store(tmp_path: Path, digest: str) -> None:
    store = BlobStore.open(tmp_path)
    for read in (store.get, store.path, store.has):
        with pytest.raises(BlobError, match="not the digest"):
            read(digest)


def test_threads_may_put_and_get_the_same_blobs(where: Any) -> None:
    store = BlobStore.open(where)

    def work(n: int) -> bool:
        data = bytes([n % 5]) * 100_000
        digest = store.put(data)
        return (
            store.put_stream([data])[0] == digest
            and store.get(digest) == data == store.path(digest).read_bytes()
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(200)))
