"""Blobs: values too large for state, stored once under the sha256 of their bytes. Never knows what they mean."""

import asyncio
import hashlib
import importlib
import os
import re
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from typing_extensions import TypedDict

from langgraph_rlm.errors import BlobError, ConfigurationError

STORE_VARIABLE = "LANGGRAPH_RLM_STORE"
INLINE_CHARS = 2000
"""Longest text that stays in state; a longer one becomes a blob."""
RECENT_BYTES, RECENT_BLOB_BYTES = 32 << 20, 16 << 20
CHUNK = 1 << 20  # bytes read at a time, wherever a file is streamed


class Text(TypedDict, total=False):
    """A string in state: `{"text": ...}` when short, else `{"blob": digest, "chars": length}`."""

    text: str
    blob: str
    chars: int


def to_bytes(text: str) -> bytes:
    """UTF-8 that also takes lone surrogates, which models do emit; the stored form of every text."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """The inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogatepass")


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes, at most `CHUNK` at a time."""
    return iter(lambda: file.read(CHUNK), b"")


class BlobStore:
    """A content-addressed store: a folder, or any fsspec URL. Safe to use from several threads and processes.

    Every method blocks. What is in the store never changes, so a digest in a checkpoint always means the same bytes.
    """

    def __init__(self, home: "_Home") -> None:
        """Use `BlobStore.open`."""
        self._home = home
        self._recent = _Recent()

    @staticmethod
    def open(where: "str | Path | BlobStore | None" = None) -> "BlobStore":
        """Open a store; nothing is written before the first `put`.

        Args:
            where: a folder, a URL such as `"s3://bucket/rlm"`, a store (given back as it is), or None for
                `$LANGGRAPH_RLM_STORE`, else the user's data folder.

        Raises:
            ConfigurationError: the URL needs a package that is not installed, or names no known file system.
        """
        if isinstance(where, BlobStore):
            return where
        place = str(where or os.environ.get(STORE_VARIABLE) or _default_folder())
        if "://" not in place or place.startswith("file://"):
            return BlobStore(_Folder(Path(place.removeprefix("file://"))))
        return BlobStore(_Remote(place))

    @property
    def place(self) -> str:
        """Where the blobs are: a folder or a URL."""
        return self._home.place

    def put(self, data: bytes) -> str:
        """Store bytes once, and give their sha256 in hex.

        Raises:
            BlobError: the store cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        if not self._home.sound(digest, len(data)):
            with _writing(self._home.place):
                self._home.keep(digest, data)
        self._recent.put(digest, data)
        return digest

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store bytes that never are in memory whole.

        Args:
            chunks: the bytes in order; what it raises passes through, unless it is an OSError, and leaves nothing behind.

        Returns:
            The sha256 in hex, and the size in bytes.

        Raises:
            BlobError: the store cannot be written.
        """
        with _writing(self._home.place):
            return self._home.write(chunks)

    def get(self, digest: str) -> bytes:
        """The blob's bytes, checked against its digest.

        Raises:
            BlobError: the blob is missing or altered.
        """
        data = self._recent.get(digest)
        if data is None:
            with _reading(digest, self._home):
                data = self._home.read(digest)
            if hashlib.sha256(data).hexdigest() != digest:
                raise _unusable("altered", digest, self._home)
            self._recent.put(digest, data)
        return data

    def path(self, digest: str) -> Path:
        """A local file with the blob's bytes, for `mmap`; do not write to it.

        A file is hashed once in a process, and again when its time or size changes. A remote blob is downloaded once.

        Raises:
            BlobError: the blob is missing or altered.
        """
        with _reading(digest, self._home):
            path = self._home.local(digest)
            if not _is_verified(path, digest):
                raise _unusable("altered", digest, self._home)
        return path

    def has(self, digest: str) -> bool:
        """Whether the blob is stored; its bytes are not checked."""
        with _reading(digest, self._home):
            return self._home.has(digest)

    def put_text(self, text: str, *, inline: int = INLINE_CHARS) -> Text:
        """Keep a text for state: itself up to `inline` characters, else as a blob.

        A text with lone surrogates is always a blob, as a checkpoint cannot encode it.
        """
        if len(text) <= inline and not _has_surrogates(text):
            return {"text": text}
        return {"blob": self.put(to_bytes(text)), "chars": len(text)}

    async def keep(self, text: str) -> Text:
        """As `put_text`, without blocking the event loop when it has to write."""
        is_small = len(text) <= INLINE_CHARS and not _has_surrogates(text)
        return self.put_text(text) if is_small else await asyncio.to_thread(self.put_text, text)

    async def fetch(self, text: Text) -> str:
        """As `get_text`, without blocking the event loop when it has to read."""
        must_read = "blob" in text and self._recent.get(text["blob"]) is None
        return await asyncio.to_thread(self.get_text, text) if must_read else self.get_text(text)

    def get_text(self, text: Text) -> str:
        """The string that `put_text` was given.

        Raises:
            BlobError: its blob is missing or altered.
        """
        if "text" in text:
            return text["text"]
        if "blob" not in text:
            raise BlobError(f"{text!r} is no stored text: it has neither 'text' nor 'blob'. The checkpoint is of another version.")
        return to_text(self.get(text["blob"]))


class _Home(Protocol):
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


class _Folder:
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
            return file.stat().st_size == size and _is_verified(file, digest)
        except OSError:
            return False

    def read(self, digest: str) -> bytes:
        return self._file(digest).read_bytes()

    def local(self, digest: str) -> Path:
        return self._file(digest)

    def keep(self, digest: str, data: bytes) -> None:
        self.write((data,))

    def write(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        if not self._is_made:  # one that goes away later is unmounted, and must not be hidden behind a new one
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._is_made = True
        number, name = tempfile.mkstemp(prefix=".new-", dir=self._root)
        try:
            with os.fdopen(number, "wb") as file:
                digest, size = _copy(chunks, file)
            if not self.sound(digest, size):
                self._adopt(name, digest)
        finally:
            Path(name).unlink(missing_ok=True)
        return digest, size

    def _adopt(self, name: str, digest: str) -> None:
        file = self._file(digest)
        file.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(name, file)
        _note_verified(file)

    def _file(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]


class _Remote:
    """A folder of an fsspec file system. Files for `mmap` are kept in a temporary folder until the process ends."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = _file_system(url)
        self._temporary = tempfile.TemporaryDirectory(prefix="langgraph-rlm-", ignore_cleanup_errors=True)
        self._cache = _Folder(Path(self._temporary.name))
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
                raise _unusable("altered", digest, self)
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


class _Recent:
    """The blobs last put or got, at most `RECENT_BYTES` in all."""

    def __init__(self) -> None:
        self._blobs: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        with self._lock:
            if digest in self._blobs:
                self._blobs.move_to_end(digest)
            return self._blobs.get(digest)

    def put(self, digest: str, data: bytes) -> None:
        if len(data) > RECENT_BLOB_BYTES:
            return
        with self._lock:
            self._size += len(data) - len(self._blobs.pop(digest, b""))
            self._blobs[digest] = data
            while self._size > RECENT_BYTES:
                self._size -= len(self._blobs.popitem(last=False)[1])


_verified: dict[str, tuple[int, int]] = {}
"""Local files whose bytes this process has hashed: path to (mtime in ns, size). A cache, so it may be cleared at any time."""


def _note_verified(path: Path) -> None:
    if len(_verified) > 100_000:
        _verified.clear()
    status = path.stat()
    _verified[str(path.absolute())] = (status.st_mtime_ns, status.st_size)


def _is_verified(path: Path, digest: str) -> bool:
    status = path.stat()
    if _verified.get(str(path.absolute())) == (status.st_mtime_ns, status.st_size):
        return True
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            return False
    _note_verified(path)
    return True


def _copy(chunks: Iterable[bytes], file: BinaryIO) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += file.write(chunk)
    return hasher.hexdigest(), size


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "blobs"


def _file_system(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it, without a slash at its end."""
    try:
        core: Any = importlib.import_module("fsspec.core")
    except ModuleNotFoundError:
        raise ConfigurationError(f"The blob store {url!r} needs fsspec: pip install 'langgraph-rlm[fsspec]'") from None
    try:
        fs, root = core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = url.partition("://")[0]
        raise ConfigurationError(f"The blob store {url!r} cannot be opened: {error}. Install the fsspec package for {scheme!r}.") from error
    return fs, str(root).rstrip("/")


@contextmanager
def _reading(digest: str, home: _Home) -> Generator[None]:
    """Turn what a broken place raises into a BlobError that says how to supply the blob."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise BlobError(f"{digest!r} is no digest of a blob: it must be 64 hex digits. The checkpoint is of another version.")
    try:
        yield
    except FileNotFoundError:
        raise _unusable("missing", digest, home) from None
    except OSError as error:
        raise _unusable(f"unreadable ({error})", digest, home) from error


@contextmanager
def _writing(place: str) -> Generator[None]:
    """Turn an OSError of a write into a BlobError that says where else the store can be."""
    try:
        yield
    except OSError as error:
        raise BlobError(f"The blob store {place} cannot be written: {error}. Set {STORE_VARIABLE} to another place.") from error


def _unusable(what: str, digest: str, home: _Home) -> BlobError:
    return BlobError(
        f"Blob {digest} is {what} in the store {home.place}. Ask the same question with the same file again, "
        f"restore the blob to {home.where(digest)}, or set {STORE_VARIABLE} to the store that holds it."
    )
