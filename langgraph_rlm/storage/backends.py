"""Homes: where the bytes of blobs live, a local folder or an fsspec file system. They know files, not what is kept in memory."""

import hashlib
import importlib
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from langgraph_rlm.errors import BlobError, ConfigurationError

STORE_VARIABLE = "LANGGRAPH_RLM_STORE"
CHUNK = 1 << 20  # bytes read at a time, wherever a file is streamed


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes, at most `CHUNK` at a time."""
    return iter(lambda: file.read(CHUNK), b"")


def home_of(place: str) -> "Home":
    """The home at a folder or URL; nothing is written yet. Raises `ConfigurationError` as `BlobStore.open` does."""
    if "://" not in place or place.startswith("file://"):
        return Folder(Path(place.removeprefix("file://")))
    return Remote(place)


class Home(Protocol):
    """Where blobs live. Reads raise FileNotFoundError for a blob that is not there, any other OSError for a broken place."""

    place: str

    def where(self, digest: str) -> str: ...
    def has(self, digest: str) -> bool: ...
    def sound(self, digest: str, size: int) -> bool:
        """Whether the blob is there and, as far as can be known cheaply, whole; if not, it is written again."""
        ...

    def read(self, digest: str) -> bytes: ...
    def local(self, digest: str) -> Path: ...
    def keep(self, digest: str, data: bytes) -> None: ...
    def write(self, chunks: Iterable[bytes]) -> tuple[str, int]: ...


class Folder:
    """A folder `ab/cdef...`, private to its user. A blob appears whole or not at all; it need not survive a power cut."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_made = False
        self.place = str(root)

    def where(self, digest: str) -> str:
        return str(self._file(digest))

    def has(self, digest: str) -> bool:
        return self._file(digest).is_file()

    def sound(self, digest: str, size: int) -> bool:
        file = self._file(digest)
        try:
            return file.stat().st_size == size and is_verified(file, digest)
        except OSError:
            return False

    def read(self, digest: str) -> bytes:
        return self._file(digest).read_bytes()

    def local(self, digest: str) -> Path:
        return self._file(digest)

    def keep(self, digest: str, data: bytes) -> None:
        with self._new_file() as file:
            file.write_bytes(data)
            self._adopt(file, digest)

    def write(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        with self._new_file() as file:
            digest, size = _copied(chunks, file)
            if not self.sound(digest, size):
                self._adopt(file, digest)
        return digest, size

    @contextmanager
    def _new_file(self) -> Generator[Path]:
        """A file that goes away unless it is adopted."""
        if (
            not self._is_made
        ):  # one that goes away later is unmounted, and must not be hidden behind a new one
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._is_made = True
        number, name = tempfile.mkstemp(prefix=".new-", dir=self._root)
        os.close(number)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _adopt(self, new: Path, digest: str) -> None:
        file = self._file(digest)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        new.replace(file)
        _note_verified(file)

    def _file(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]


class Remote:
    """A folder of an fsspec file system. Files for `mmap` are kept in a temporary folder until the process ends."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = _file_system(url)
        self._temporary = tempfile.TemporaryDirectory(
            prefix="langgraph-rlm-", ignore_cleanup_errors=True
        )
        self._cache = Folder(Path(self._temporary.name))
        self.place = url

    def where(self, digest: str) -> str:
        return f"{self.place.rstrip('/')}/{digest[:2]}/{digest[2:]}"

    def has(self, digest: str) -> bool:
        return bool(self._fs.exists(self._key(digest)))

    def sound(self, digest: str, size: int) -> bool:
        try:
            return self._fs.info(self._key(digest))["size"] == size
        except FileNotFoundError:
            return False

    def read(self, digest: str) -> bytes:
        return self._fs.cat_file(self._key(digest))

    def local(self, digest: str) -> Path:
        if not self._cache.has(digest):
            with self._fs.open(self._key(digest), "rb") as file:
                found, _ = self._cache.write(chunks_of(file))
            if found != digest:
                raise unusable("altered", digest, self)
        return self._cache.local(digest)

    def keep(self, digest: str, data: bytes) -> None:
        self._fs.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)
        self._fs.pipe_file(self._key(digest), data)

    def write(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        digest, size = self._cache.write(chunks)
        if not self.sound(digest, size):
            self._fs.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)
            self._fs.put_file(str(self._cache.local(digest)), self._key(digest))
        return digest, size

    def _key(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"


_verified: dict[str, tuple[int, int]] = {}
"""Local files whose bytes this process has hashed: path to (mtime in ns, size). A cache, so it may be cleared at any time."""


def _note_verified(path: Path) -> None:
    if len(_verified) > 100_000:
        _verified.clear()
    status = path.stat()
    _verified[str(path.absolute())] = (status.st_mtime_ns, status.st_size)


def is_verified(path: Path, digest: str) -> bool:
    """Whether a file has the bytes of a digest: hashed once in a process, and again when its time or size changes. Raises `OSError`."""
    status = path.stat()
    if _verified.get(str(path.absolute())) == (status.st_mtime_ns, status.st_size):
        return True
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            return False
    _note_verified(path)
    return True


def _copied(chunks: Iterable[bytes], to: Path) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    with to.open("wb") as file:
        for chunk in chunks:
            hasher.update(chunk)
            size += file.write(chunk)
    return hasher.hexdigest(), size


def _file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it, without a slash at its end."""
    try:
        core: Any = importlib.import_module("fsspec.core")
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"The blob store {url!r} needs fsspec: pip install 'langgraph-rlm[fsspec]'"
        ) from None
    try:
        fs, root = core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"The blob store {url!r} cannot be opened: {error}. Install the fsspec package for {scheme!r}."
        ) from error
    return fs, str(root).rstrip("/")


def unusable(what: str, digest: str, home: Home) -> BlobError:
    """The error of a blob that cannot be read, and what to do."""
    return BlobError(
        f"Blob {digest} is {what} in the store {home.place}. Ask the same question with the same file again, "
        f"restore the blob to {home.where(digest)}, or set {STORE_VARIABLE} to the store that holds it."
    )
