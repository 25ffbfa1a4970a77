"""Backends: where the bytes of blobs live, a local folder or an fsspec file system.

They know files, not what a blob means or what is kept in memory.
"""

import hashlib
import importlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from langgraph_rlm.errors import BlobError, ConfigurationError

STORE_VARIABLE = "LANGGRAPH_RLM_STORE"
"""The environment variable that names the blob store."""

CHUNK = 1 << 20
"""Bytes read at a time, wherever a file is streamed."""

NOTES = "notes"
"""The folder, beside those of the blobs, of what was noted about blobs. It may be deleted."""

MAX_VERIFIED = 100_000
"""Files that a process remembers to have hashed."""


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Give the file's bytes, at most `CHUNK` at a time."""
    return iter(lambda: file.read(CHUNK), b"")


def backend_at(location: str) -> "BlobBackend":
    """Open the backend at a folder or URL; nothing is written yet.

    Raises:
        ConfigurationError: the URL needs a package that is not installed, or names no known file
            system.
    """
    if "://" not in location or location.startswith("file://"):
        return Folder(Path(location.removeprefix("file://")))
    return Remote(location)


class BlobBackend(Protocol):
    """Where blobs live. Every method blocks.

    Reads raise FileNotFoundError for a blob that is not there, and any other OSError where the
    location cannot be read.
    """

    location: str
    """The folder or URL that holds the blobs."""

    def where(self, digest: str) -> str:
        """Give the path or URL of a blob, for messages."""
        ...

    def has(self, digest: str) -> bool:
        """Whether the blob is there; its bytes are not checked."""
        ...

    def sound(self, digest: str, size: int) -> bool:
        """Whether the blob is there and, as far as can be known cheaply, whole.

        One that is not is written again.
        """
        ...

    def read(self, digest: str) -> bytes:
        """Read a blob whole. The caller checks the bytes."""
        ...

    def local(self, digest: str) -> Path:
        """Give a local file with the blob's bytes. The caller checks them."""
        ...

    def keep(self, digest: str, data: bytes) -> None:
        """Write a blob under a digest that the caller has made of its bytes."""
        ...

    def write(self, fill: "Fill") -> tuple[str, int]:
        """Write a blob in pieces, and give its sha256 in hex and its size in bytes.

        Args:
            fill: writes them. What it raises passes through, and then nothing is stored.
        """
        ...

    def read_note(self, key: str) -> bytes:
        """Read what was noted under a key of 64 hex digits."""
        ...

    def write_note(self, key: str, data: bytes) -> None:
        """Note something under a key, in place of what was noted before."""
        ...


class Writer:
    """A file on its way to be a blob: pieces in order, of which the last ones can be taken back."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._hasher = hashlib.sha256()
        self.size = 0
        """Bytes written so far."""

    def write(self, chunk: bytes) -> None:
        """Write one more piece."""
        self._hasher.update(chunk)
        self.size += self._file.write(chunk)

    def mark(self) -> "Mark":
        """Remember this place, for `back`."""
        return self.size, self._hasher.copy()

    def back(self, mark: "Mark") -> None:
        """Take back what was written since a mark."""
        self.size, hasher = mark
        self._hasher = hasher.copy()
        self._file.seek(self.size)
        self._file.truncate()

    @property
    def digest(self) -> str:
        """The sha256, in hex, of what was written."""
        return self._hasher.hexdigest()


Mark = tuple[int, Any]
Fill = Callable[[Writer], None]


class Folder:
    """A folder `ab/cdef...`, private to its user.

    A blob appears whole or not at all; it need not survive a power cut.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_made = False
        self.location = str(root)

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

    def write(self, fill: Fill) -> tuple[str, int]:
        with self._new_file() as file:
            with file.open("wb") as opened:
                writer = Writer(opened)
                fill(writer)
            if not self.sound(writer.digest, writer.size):
                self._adopt(file, writer.digest)
        return writer.digest, writer.size

    def read_note(self, key: str) -> bytes:
        return self._note(key).read_bytes()

    def write_note(self, key: str, data: bytes) -> None:
        with self._new_file() as file:
            file.write_bytes(data)
            note = self._note(key)
            note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.replace(note)

    @contextmanager
    def _new_file(self) -> Generator[Path]:
        """Make a file that is deleted unless it is adopted.

        The folder is made once. One that vanishes later was unmounted, and a new folder must not
        hide it.
        """
        if not self._is_made:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._is_made = True
        number, name = tempfile.mkstemp(prefix=".new-", dir=self.root)
        os.close(number)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    def _adopt(self, new: Path, digest: str) -> None:
        """Move a new file to where its blob belongs."""
        file = self._file(digest)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        new.replace(file)
        _note_verified(file)

    def _file(self, digest: str) -> Path:
        return self.root / digest[:2] / digest[2:]

    def _note(self, key: str) -> Path:
        return self.root / NOTES / key[:2] / key[2:]


class Remote:
    """A folder of an fsspec file system.

    Files for `mmap` are kept in a temporary folder until the process ends.
    """

    def __init__(self, url: str) -> None:
        self._fs, self._root = _file_system(url)
        self._temporary = tempfile.TemporaryDirectory(
            prefix="langgraph-rlm-", ignore_cleanup_errors=True
        )
        self._cache = Folder(Path(self._temporary.name))
        self.location = url

    def where(self, digest: str) -> str:
        return f"{self.location.rstrip('/')}/{digest[:2]}/{digest[2:]}"

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
                found, _ = self._cache.write(copying(chunks_of(file)))
            if found != digest:
                raise unusable("altered", digest, self)
        return self._cache.local(digest)

    def keep(self, digest: str, data: bytes) -> None:
        self._make_folder(digest)
        self._fs.pipe_file(self._key(digest), data)

    def write(self, fill: Fill) -> tuple[str, int]:
        digest, size = self._cache.write(fill)
        if not self.sound(digest, size):
            self._make_folder(digest)
            self._fs.put_file(str(self._cache.local(digest)), self._key(digest))
        return digest, size

    def read_note(self, key: str) -> bytes:
        return self._fs.cat_file(self._note(key))

    def write_note(self, key: str, data: bytes) -> None:
        note = self._note(key)
        self._fs.makedirs(note.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(note, data)

    def _note(self, key: str) -> str:
        return f"{self._root}/{NOTES}/{key[:2]}/{key[2:]}"

    def _make_folder(self, digest: str) -> None:
        self._fs.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)

    def _key(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"


_verified: dict[str, tuple[int, int]] = {}
"""Local files whose bytes this process has hashed: path to (mtime in ns, size).

A cache, so it may be cleared at any time.
"""


def _note_verified(path: Path) -> None:
    if len(_verified) > MAX_VERIFIED:
        _verified.clear()
    _verified[str(path.absolute())] = _stamp(path)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def is_verified(path: Path, digest: str) -> bool:
    """Whether a file has the bytes of a digest.

    It is hashed once in a process, and again when its time or size changes.

    Raises:
        OSError: the file cannot be read.
    """
    stamp = _stamp(path)
    if _verified.get(str(path.absolute())) == stamp:
        return True
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            return False
    _note_verified(path)
    return True


def copying(chunks: Iterable[bytes]) -> Fill:
    """Make what writes these chunks."""

    def fill(writer: Writer) -> None:
        for chunk in chunks:
            writer.write(chunk)

    return fill


def _file_system(url: str) -> tuple[Any, str]:
    """Open the fsspec file system of a URL, and give the path in it, without a slash at its end."""
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
            f"The blob store {url!r} cannot be opened: {error}. "
            f"Install the fsspec package for {scheme!r}."
        ) from error
    return fs, str(root).rstrip("/")


def unusable(what: str, digest: str, backend: BlobBackend) -> BlobError:
    """Make the error of a blob that cannot be read, which says what to do."""
    return BlobError(
        f"Blob {digest} is {what} in the store {backend.location}. Ask the same question with the "
        f"same file again, restore the blob to {backend.where(digest)}, or set {STORE_VARIABLE} to "
        "the store that holds it."
    )
