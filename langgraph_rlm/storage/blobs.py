"""Blobs: values too large for state, stored once under the sha256 of their bytes. Never knows what they mean."""

import asyncio
import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import TypedDict

from langgraph_rlm.errors import BlobError
from langgraph_rlm.storage.backends import STORE_VARIABLE, Home, home_of, is_verified, unusable

INLINE_CHARS = 2000
"""Longest text that stays in state; a longer one becomes a blob."""
RECENT_BYTES, RECENT_BLOB_BYTES = 32 << 20, 16 << 20


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


class BlobStore:
    """A content-addressed store: a folder, or any fsspec URL. Safe to use from several threads and processes.

    Every method blocks. What is in the store never changes, so a digest in a checkpoint always means the same bytes.
    """

    def __init__(self, home: Home) -> None:
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
        return BlobStore(home_of(place))

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
                raise unusable("altered", digest, self._home)
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
            if not is_verified(path, digest):
                raise unusable("altered", digest, self._home)
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
            raise BlobError(
                f"{text!r} is no stored text: it has neither 'text' nor 'blob'. The checkpoint is of another version."
            )
        return to_text(self.get(text["blob"]))


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


def _has_surrogates(text: str) -> bool:
    return not text.isascii() and re.search("[\ud800-\udfff]", text) is not None


def _default_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path("langgraph-rlm") / "blobs"


@contextmanager
def _reading(digest: str, home: Home) -> Generator[None]:
    """Turn what a broken place raises into a BlobError that says how to supply the blob."""
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise BlobError(
            f"{digest!r} is no digest of a blob: it must be 64 hex digits. The checkpoint is of another version."
        )
    try:
        yield
    except FileNotFoundError:
        raise unusable("missing", digest, home) from None
    except OSError as error:
        raise unusable(f"unreadable ({error})", digest, home) from error


@contextmanager
def _writing(place: str) -> Generator[None]:
    """Turn an OSError of a write into a BlobError that says where else the store can be."""
    try:
        yield
    except OSError as error:
        raise BlobError(
            f"The blob store {place} cannot be written: {error}. Set {STORE_VARIABLE} to another place."
        ) from error
