"""The cache of blobs from elsewhere: bounded, private, checked, and nothing is lost with it."""

import os
import shutil
import time
from pathlib import Path
from uuid import uuid4

import pytest

from langgraph_rlm import BlobStore, ConfigurationError
from langgraph_rlm.storage import cache as caches
from langgraph_rlm.storage.cache import Cache, open_cache

MB = 1 << 20


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def folder() -> Path:
    return Path(os.environ["LANGGRAPH_RLM_CACHE"])


@pytest.fixture
def store() -> BlobStore:
    return BlobStore.open(f"memory://{uuid4()}")


def test_a_file_that_was_altered_or_deleted_is_downloaded_anew(
    store: BlobStore, folder: Path
) -> None:
    digest, _ = store.put_stream([b"right" * 1000])
    for harm in (
        lambda path: path.write_bytes(b"wrong"),
        Path.unlink,
        lambda _: shutil.rmtree(folder),
    ):
        harm(store.path(digest))
        assert store.path(digest).read_bytes() == b"right" * 1000


def test_it_is_private_to_the_user(store: BlobStore, folder: Path) -> None:
    store.put_stream([b"secret"])
    assert files(folder)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [folder, *folder.rglob("*")])


def test_what_was_not_used_for_longest_goes_when_it_is_full(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "small", 10 * MB)
    digests = []
    for number in range(30):
        digest, _ = cache.write(lambda writer, n=number: writer.write(bytes([n]) * MB))
        digests.append(digest)
        path = cache.found(digest)
        assert path is not None, "what was just written is there, however full it is"
        long_ago = time.time() - 3600 + number
        os.utime(path, (long_ago, long_ago))
        assert sum(file.stat().st_size for file in files(tmp_path)) <= 11 * MB
    assert cache.found(digests[0]) is None
    assert cache.found(digests[-1]) is not None


def test_what_is_in_use_stays_and_what_nobody_used_for_a_week_goes(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "small", MB)
    old, _ = cache.write(lambda writer: writer.write(b"old"))
    path = cache.found(old)
    assert path is not None
    os.utime(path, (0, time.time() - 8 * 24 * 3600))
    in_use = [cache.write(lambda writer, n=n: writer.write(bytes([n]) * MB))[0] for n in range(5)]
    assert all(cache.found(digest) for digest in in_use)
    assert cache.found(old) is None


def test_where_it_cannot_be_a_temporary_folder_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LANGGRAPH_RLM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="LANGGRAPH_RLM_CACHE"):
        cache = open_cache()
    assert open_cache() is cache
    digest, _ = cache.write(lambda writer: writer.write(b"x"))
    assert cache.found(digest)


def test_its_size_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGGRAPH_RLM_CACHE_MB", "2048")
    assert caches._max_bytes(tmp_path) == 2048 * MB
    monkeypatch.setenv("LANGGRAPH_RLM_CACHE_MB", "2 GB")
    with pytest.raises(ConfigurationError, match="whole number"):
        caches._max_bytes(tmp_path)
    monkeypatch.delenv("LANGGRAPH_RLM_CACHE_MB")
    assert 0 < caches._max_bytes(tmp_path) <= 10 << 30
