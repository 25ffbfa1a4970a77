"""Backends: where the bytes of blobs live: `folder.py`, `remote.py` and `postgres.py`.

They know files, not what a blob means or what is kept in memory.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from langgraph_rlm.errors import BlobError
from langgraph_rlm.storage.locations import STORE_VARIABLE, remember, whole
from langgraph_rlm.storage.tags import Tags

CHUNK = 1 << 20
"""Bytes read at a time, wherever a file is streamed."""

MAX_VERIFIED = 100_000
"""Files that a process remembers to have hashed."""


NOTES = "notes"
"""The folder, beside those of the blobs, of what was noted about blobs. It may be deleted."""

BLOB_FOLDER = re.compile("[0-9a-f]{2}")
"""The name of a folder of blobs: the first two digits of their digests."""


def chunks_of(file: BinaryIO) -> Iterator[bytes]:
    """Give the file's bytes, at most `CHUNK` at a time."""
    return iter(lambda: file.read(CHUNK), b"")


def backend_at(location: str) -> "BlobBackend":
    """Open the backend at a folder or URL; nothing is written yet.

    Raises:
        ConfigurationError: the URL needs a package that is not installed, names no known file
            system, or was kept without its password.
    """
    location = whole(location)
    remember(location)
    if "://" not in location or location.startswith("file://"):
        from langgraph_rlm.storage.folder import Folder

        return Folder(Path(location.removeprefix("file://")))
    if location.startswith(("postgresql://", "postgres://")):
        from langgraph_rlm.storage.postgres import Postgres

        return Postgres(location)
    from langgraph_rlm.storage.remote import Remote

    return Remote.open(location)


class Stored(NamedTuple):
    """A blob in a listing."""

    digest: str
    size: int
    """Bytes."""
    used: float
    """When it was last put, in seconds since 1970."""
    name: str
    """What the backend calls its file."""


class BlobBackend(Protocol):
    """Where blobs live. Every method blocks.

    Reads raise FileNotFoundError for a blob that is not there, and any other OSError where the
    location cannot be read.

    A blob is deleted in two steps, beside processes that use the store: it is set aside under
    another name, where a reader that misses it finds it, and then deleted or put back.
    """

    location: str
    """The folder or URL that holds the blobs, without a password."""
    tags: Tags
    """Who uses the store."""
    slack: float
    """By how many seconds `Stored.used` may be too early."""
    deletes_at_once: bool
    """Whether what was set aside may be deleted in the same sweep, because setting it aside and
    putting it are seen by all in the same order."""

    def where(self, digest: str) -> str:
        """Give the path or URL of a blob, for messages."""
        ...

    def clock(self) -> float:
        """Give the seconds since 1970 by the clock that says when blobs were put."""
        ...

    def has(self, digest: str) -> bool:
        """Whether the blob is in its place; its bytes are not checked."""
        ...

    def renewed(self, digest: str, size: int | None = None) -> bool:
        """Whether the blob is there and, as far as can be known cheaply, whole. If so, its age
        begins anew.

        Args:
            digest: of the blob.
            size: its bytes; None where they are not known and nothing is checked.
        """
        ...

    def read(self, digest: str) -> bytes:
        """Read a blob whole. The caller checks the bytes."""
        ...

    def local(self, digest: str) -> Path:
        """Give a local file with the blob's bytes. The caller checks them."""
        ...

    def keep(self, digest: str, data: bytes) -> None:
        """Write a blob under a digest that the caller has made of its bytes, unless it is there:
        then its age begins anew."""
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

    def noted(self) -> Iterator[tuple[str, bytes]]:
        """Give the name and the bytes of each note."""
        ...

    def delete_note(self, name: str) -> None:
        """Delete a note."""
        ...

    def reader(self, digest: str) -> BinaryIO:
        """Open a blob, set aside or not, for a look that does not count as use."""
        ...

    def is_empty(self) -> bool:
        """Whether there is no blob at all."""
        ...

    def blobs(self) -> Iterator[Stored]:
        """List the blobs, in any order.

        Raises:
            ConfigurationError: the file system keeps no times.
        """
        ...

    def aside(self) -> Iterator[Stored]:
        """List what is set aside; `used` is when that was, or when the blob was last put."""
        ...

    def set_aside(self, digest: str, before: float) -> str | None:
        """Set a blob aside, unless it was put at `before` or later, also while this is done.

        Returns:
            Its new name; None where it stays, or is not there.
        """
        ...

    def put_back(self, name: str) -> None:
        """Undo `set_aside`."""
        ...

    def delete_aside(self, name: str) -> None:
        """Delete what was set aside under a name."""
        ...

    def delete_unfinished(self, before: float) -> int:
        """Delete what killed processes have begun to write before a time, and give its bytes."""
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


_verified: dict[str, tuple[int, int]] = {}
"""Local files whose bytes this process has hashed: path to (mtime in ns, size).

A cache, so it may be cleared at any time.
"""


def note_verified(path: Path) -> None:
    """Remember that the bytes of a file are as its digest says."""
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
    note_verified(path)
    return True


def copying(chunks: Iterable[bytes]) -> Fill:
    """Make what writes these chunks."""

    def fill(writer: Writer) -> None:
        for chunk in chunks:
            writer.write(chunk)

    return fill


def unusable(what: str, digest: str, backend: BlobBackend) -> BlobError:
    """Make the error of a blob that cannot be read, which says what to do."""
    return BlobError(
        f"Blob {digest} is {what} in the store {backend.location}. Ask the same question with the "
        f"same file again, restore the blob to {backend.where(digest)}, or set {STORE_VARIABLE} to "
        "the store that holds it."
    )
