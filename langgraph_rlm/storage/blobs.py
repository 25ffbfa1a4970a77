"""Blobs: values too large for state, stored once under the sha256 of their bytes.

Never knows what they mean.
"""

import asyncio
import hashlib
import mmap
import os
import re
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache
from typing_extensions import TypedDict

from langgraph_rlm.errors import BlobError
from langgraph_rlm.processes.folder import link_or_copy
from langgraph_rlm.storage.backends import (
    BlobBackend,
    Fill,
    backend_at,
    copying,
    is_verified,
    unusable,
)
from langgraph_rlm.storage.folder import Folder
from langgraph_rlm.storage.locations import STORE_VARIABLE
from langgraph_rlm.storage.users import Users

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

INLINE_CHARS = 2000
"""Longest text that stays in state; a longer one becomes a blob."""

RECENT_BYTES = 32 << 20
"""Most bytes of recent blobs that a store keeps in memory."""

RECENT_BLOB_BYTES = 16 << 20
"""Largest blob that is kept in memory."""


class Text(TypedDict, total=False):
    """A string in state: `{"text": ...}` when short, else `{"blob": digest, "chars": length}`."""

    text: str
    blob: str
    chars: int


def to_bytes(text: str) -> bytes:
    """Encode a text as it is stored: UTF-8, with the lone surrogates that models do emit."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """Decode a stored text: the inverse of `to_bytes`."""
    return data.decode("utf-8", "surrogatepass")


class BlobStore:
    """A content-addressed store: a folder, a PostgreSQL database, or any fsspec URL.

    Every method blocks, and may be called from several threads and processes at once. What is in
    the store never changes, so a digest in a checkpoint always means the same bytes.
    """

    def __init__(self, backend: BlobBackend) -> None:
        """Use `BlobStore.open`."""
        self.backend = backend
        """The files, for what deletes blobs."""
        self.users = Users(backend)
        """Who uses the store, as it is told there before anything is put."""
        self._recent = _Recent()

    @staticmethod
    def open(where: "str | Path | BlobStore | BaseStore | None" = None) -> "BlobStore":
        """Open a store; nothing is written before the first `put`.

        Args:
            where: a folder, a URL such as `"postgresql://host/db"` or `"s3://bucket/rlm"`, a store
                (given back as it is), a LangGraph store, or None for `$LANGGRAPH_RLM_STORE`, else
                the user's data folder.

        Raises:
            ConfigurationError: the URL needs a package that is not installed, or names no known
                file system.
        """
        if isinstance(where, BlobStore):
            return where
        if where is not None and not isinstance(where, str | Path):
            from langgraph_rlm.storage.remote import Remote

            return BlobStore(Remote.of_store(where))
        location = where or os.environ.get(STORE_VARIABLE) or _default_folder()
        return BlobStore(backend_at(str(location)))

    @property
    def location(self) -> str:
        """The folder or URL that holds the blobs, with `***` for a password.

        In this process it can be opened again under this name.
        """
        return self.backend.location

    def put(self, data: bytes) -> str:
        """Store bytes once, and give their sha256 in hex.

        What is there already gets younger: `prune` deletes nothing that was put a moment ago.

        Raises:
            BlobError: the store cannot be written.
        """
        digest = hashlib.sha256(data).hexdigest()
        self.users.tell()
        with _writing(self.location):
            self.backend.keep(digest, data)
        self._recent.put(digest, data)
        return digest

    def put_stream(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store bytes that are never in memory whole.

        Args:
            chunks: the bytes in order. What it raises passes through, unless it is an OSError, and
                then nothing is stored.

        Returns:
            The sha256 in hex, and the size in bytes.

        Raises:
            BlobError: the store cannot be written.
        """
        return self.put_written(copying(chunks))

    def put_written(self, fill: Fill) -> tuple[str, int]:
        """Store what a function writes, piece by piece; it may take pieces back.

        Args:
            fill: gets a `Writer`. What it raises passes through, unless it is an OSError, and then
                nothing is stored.

        Returns:
            The sha256 in hex, and the size in bytes.

        Raises:
            BlobError: the store cannot be written.
        """
        self.users.tell()
        with _writing(self.location):
            return self.backend.write(fill)

    def get(self, digest: str) -> bytes:
        """Give the blob's bytes, checked against its digest.

        Raises:
            BlobError: the blob is missing or altered.
        """
        data = self._recent.get(digest)
        if data is None:
            with _reading(digest, self.backend):
                data = self.backend.read(digest)
            if hashlib.sha256(data).hexdigest() != digest:
                raise unusable("altered", digest, self.backend)
            self._recent.put(digest, data)
        return data

    def part(self, digest: str, start: int, end: int) -> bytes:
        """Give the bytes `[start:end]` of a blob, which is not in memory whole.

        Raises:
            BlobError: the blob is missing or altered.
        """
        path = self.path(digest)
        with _reading(digest, self.backend), path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def path(self, digest: str) -> Path:
        """Give a local file with the blob's bytes, for `mmap`; do not write to it.

        A file is hashed once in a process, and again when its time or size changes. A blob of
        elsewhere is downloaded once, into the cache of this machine.

        Raises:
            BlobError: the blob is missing or altered.
        """
        with _reading(digest, self.backend):
            path = self.backend.local(digest)
            if not is_verified(path, digest):
                raise unusable("altered", digest, self.backend)
        return path

    @contextmanager
    def opened(self, digest: str, size: int) -> Generator[bytes | mmap.mmap]:
        """Give the blob's bytes; those of a large one lie in its file, and are not copied.

        Args:
            digest: of the blob.
            size: its bytes.

        Raises:
            BlobError: the blob is missing or altered.
        """
        if size <= RECENT_BLOB_BYTES:
            yield self.get(digest)
            return
        with (
            self.path(digest).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data

    @property
    def folder(self) -> Path | None:
        """The folder that holds the blobs; None where they are not in a folder of this machine."""
        return Path(self.location) if isinstance(self.backend, Folder) else None

    def put_at(self, target: Path, digest: str, *, may_link: bool) -> None:
        """Make a file with a blob's bytes.

        Args:
            target: where nothing is yet.
            digest: of the blob.
            may_link: whether it may be the blob's own file, by another name: only where nobody can
                write to `target`.

        Raises:
            BlobError: the blob is missing or altered.
            OSError: the file cannot be made.
        """
        link_or_copy(self.path(digest), target, may_link=may_link)

    def has(self, digest: str) -> bool:
        """Whether the blob is stored; its bytes are not checked.

        If it is, it gets younger, as if it was put: who asks is about to use it.
        """
        self.users.tell()
        with _reading(digest, self.backend):
            return self.backend.renewed(digest)

    def note(self, key: str, data: bytes) -> None:
        """Keep something that is known of blobs, such as which one has the text of which.

        Args:
            key: 64 hex digits, such as a sha256 of what the note is about.
            data: the note. It may be gone at any time, and what it says has to be checked.

        Raises:
            BlobError: the store cannot be written.
        """
        with _writing(self.location):
            self.backend.write_note(key, data)

    def noted(self, key: str) -> bytes | None:
        """Give what was noted; None if nothing was, or it is gone."""
        try:
            return self.backend.read_note(key)
        except OSError:
            return None

    def put_text(self, text: str, *, inline: int = INLINE_CHARS) -> Text:
        """Make a text fit for state: itself up to `inline` characters, else as a blob.

        A text with lone surrogates is always a blob, because a checkpoint cannot encode it.

        Raises:
            BlobError: the store cannot be written.
        """
        if _stays_inline(text, inline):
            return {"text": text}
        return {"blob": self.put(to_bytes(text)), "chars": len(text)}

    def get_text(self, text: Text) -> str:
        """Give the string that `put_text` was given.

        Raises:
            BlobError: its blob is missing or altered.
        """
        if "text" in text:
            return text["text"]
        if "blob" not in text:
            raise BlobError(
                f"{text!r} is not a stored text: it has neither 'text' nor 'blob'. "
                "The checkpoint is of another version."
            )
        return to_text(self.get(text["blob"]))

    async def keep(self, text: str) -> Text:
        """Do what `put_text` does, without blocking the event loop when it has to write."""
        if _stays_inline(text, INLINE_CHARS):
            return self.put_text(text)
        return await asyncio.to_thread(self.put_text, text)

    async def fetch(self, text: Text) -> str:
        """Do what `get_text` does, without blocking the event loop when it has to read."""
        if "blob" in text and self._recent.get(text["blob"]) is None:
            return await asyncio.to_thread(self.get_text, text)
        return self.get_text(text)


class _Recent:
    """The blobs last put or got, at most `RECENT_BYTES` in all; none over `RECENT_BLOB_BYTES`."""

    def __init__(self) -> None:
        self._blobs: LRUCache[str, bytes] = LRUCache(RECENT_BYTES, getsizeof=len)
        self._lock = threading.Lock()

    def get(self, digest: str) -> bytes | None:
        with self._lock:
            return self._blobs.get(digest)

    def put(self, digest: str, data: bytes) -> None:
        if len(data) <= RECENT_BLOB_BYTES:
            with self._lock:
                self._blobs[digest] = data


def _stays_inline(text: str, inline: int) -> bool:
    return len(text) <= inline and not _has_surrogates(text)


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "blobs"


@contextmanager
def _reading(digest: str, backend: BlobBackend) -> Generator[None]:
    """Turn what a failed read raises into a BlobError that says how to supply the blob."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise BlobError(
            f"{digest!r} is not the digest of a blob: it must be 64 hex digits. "
            "The checkpoint is of another version."
        )
    try:
        yield
    except FileNotFoundError:
        raise unusable("missing", digest, backend) from None
    except OSError as error:
        raise unusable(f"unreadable ({error})", digest, backend) from error


@contextmanager
def _writing(location: str) -> Generator[None]:
    """Turn an OSError of a write into a BlobError that says where else the store can be."""
    try:
        yield
    except OSError as error:
        raise BlobError(
            f"The blob store {location} cannot be written: {error}. "
            f"Set {STORE_VARIABLE} to another folder or URL."
        ) from error
