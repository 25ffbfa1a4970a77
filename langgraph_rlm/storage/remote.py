"""Remote: blobs in a folder of an fsspec file system, such as a bucket of several machines, or in a
LangGraph store."""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.backends import (
    BLOB_FOLDER,
    NOTES,
    Fill,
    Stored,
    chunks_of,
    unusable,
)
from langgraph_rlm.storage.cache import open_cache
from langgraph_rlm.storage.locations import masked
from langgraph_rlm.storage.remote_files import Files, file_system
from langgraph_rlm.storage.tags import RemoteTags, Tags

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

RENEW_AFTER = 30 * 60.0
"""Age in seconds from which a blob that is put again is also written again. That is the only way
in which every file system gives it a new time, and costs an upload."""

ASIDE = "aside"
"""The folder of what was set aside."""

TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
"""Where file systems keep the time of a file, in what they tell of it: s3fs, adlfs, local and sftp,
several, gcsfs, memory."""


class Remote:
    """A folder of an fsspec file system.

    Files for `mmap`, and large blobs that were read, are in the cache of this machine.

    A bucket cannot rename, so between a look at a blob's time and its deletion it may be put again.
    What is set aside therefore stays for a later sweep, which knows whether it is needed.
    """

    slack = RENEW_AFTER + 60  # and what two machines' clocks may differ by
    deletes_at_once = False

    def __init__(self, files: Any, root: str, location: str) -> None:
        """Use a folder.

        Args:
            files: has the methods of an fsspec file system.
            root: the folder's path in it.
            location: what messages call it.
        """
        self._fs = files
        self._root = root
        self._cache = open_cache()
        self.location = location
        self.tags: Tags = RemoteTags(self._fs, self._root)

    @staticmethod
    def open(url: str) -> "Remote":
        """Open the folder of a URL.

        Raises:
            ConfigurationError: a package is missing, or the URL is of no known kind.
        """
        files, root = file_system(url)
        return Remote(files, root, masked(url))

    @staticmethod
    def of_store(store: "BaseStore") -> "Remote":
        """Use a LangGraph store, whose items are files here."""
        from langgraph_rlm.storage.store_files import StoreFiles

        location = f"langgraph-store:{type(store).__name__}-{id(store):x}"
        return Remote(Files(StoreFiles(store), location), "", location)

    def clock(self) -> float:
        return time.time()

    def where(self, digest: str) -> str:
        return f"{self.location.rstrip('/')}/{digest[:2]}/{digest[2:]}"

    def has(self, digest: str) -> bool:
        return bool(self._fs.exists(self._key(digest)))

    def renewed(self, digest: str, size: int | None = None) -> bool:
        key = self._key(digest)
        self._fs.invalidate_cache(key.rpartition("/")[0])
        try:
            info = self._fs.info(key)
        except FileNotFoundError:
            return size is None and self._found_aside(digest)
        if size is not None and info["size"] != size:
            return False
        used = self._time(info, key)
        is_young = used is None or time.time() - used < RENEW_AFTER
        if is_young or size is not None:
            return is_young
        self._fs.put_file(str(self.local(digest)), key)
        return True

    def read(self, digest: str) -> bytes:
        return self._cache.read(digest, self._pieces(digest))

    def local(self, digest: str) -> Path:
        path = self._cache.path(digest, self._pieces(digest))
        if path is None:
            raise unusable("altered", digest, self)
        return path

    def _pieces(self, digest: str) -> Iterator[bytes]:
        """Give the bytes of a blob, a chunk at a time."""
        try:
            file = self._fs.open(self._key(digest), "rb")
        except FileNotFoundError:
            self._found_aside(digest)
            file = self._fs.open(self._key(digest), "rb")
        with file:
            yield from chunks_of(file)

    def keep(self, digest: str, data: bytes) -> None:
        if not self.renewed(digest, len(data)):
            self._make_folder(digest)
            self._fs.pipe_file(self._key(digest), data)

    def write(self, fill: Fill) -> tuple[str, int]:
        digest, size = self._cache.write(fill)
        if not self.renewed(digest, size):
            path = self._cache.path(digest, ())
            if path is None:
                raise OSError(f"the cache has lost {digest} while it was stored")
            self._make_folder(digest)
            self._fs.put_file(str(path), self._key(digest))
        return digest, size

    def read_note(self, key: str) -> bytes:
        return self._fs.cat_file(self._note(key))

    def write_note(self, key: str, data: bytes) -> None:
        note = self._note(key)
        self._fs.makedirs(note.rpartition("/")[0], exist_ok=True)
        self._fs.pipe_file(note, data)

    def noted(self) -> Iterator[tuple[str, bytes]]:
        for path, _ in self._found(f"{self._root}/{NOTES}"):
            yield path, self._fs.cat_file(path)

    def delete_note(self, name: str) -> None:
        self._fs.rm_file(name)

    def reader(self, digest: str) -> BinaryIO:
        key = self._key(digest)
        return self._fs.open(key if self._fs.exists(key) else self._aside(digest), "rb")

    def is_empty(self) -> bool:
        try:
            found = self._fs.ls(self._root, detail=False)
        except FileNotFoundError:
            return True
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return not any(map(BLOB_FOLDER.fullmatch, names))

    def blobs(self) -> Iterator[Stored]:
        for path, info in self._found(self._root):
            folder, _, rest = path.rpartition("/")
            start = folder.rpartition("/")[2]
            if BLOB_FOLDER.fullmatch(start) and folder.rpartition("/")[0] == self._root:
                yield self._stored(f"{start}{rest}", path, info)

    def aside(self) -> Iterator[Stored]:
        for path, info in self._found(f"{self._root}/{ASIDE}"):
            yield self._stored(path.rpartition("/")[2], path, info)

    def set_aside(self, digest: str, before: float) -> str | None:
        key = self._key(digest)
        aside = self._aside(digest)
        self._fs.invalidate_cache()
        try:
            used = self._time(self._fs.info(key), key)
            if used is None or used >= before:
                return None
            self._fs.makedirs(f"{self._root}/{ASIDE}", exist_ok=True)
            self._fs.cp_file(key, aside)
            self._fs.rm_file(key)
        except FileNotFoundError:  # somebody else has set it aside
            return None
        return aside

    def put_back(self, name: str) -> None:
        digest = name.rpartition("/")[2]
        if not self._fs.exists(self._key(digest)):
            self._make_folder(digest)
            self._fs.cp_file(name, self._key(digest))
        self._fs.rm_file(name)

    def delete_aside(self, name: str) -> None:
        self._fs.rm_file(name)
        self._cache.drop(name.rpartition("/")[2])

    def delete_unfinished(self, before: float) -> int:
        return 0  # a bucket shows no file before it is whole

    def _found_aside(self, digest: str) -> bool:
        """Whether a blob that is not in its place was set aside. It is copied back."""
        aside = self._aside(digest)
        if not self._fs.exists(aside):
            return False
        self._make_folder(digest)
        self._fs.cp_file(aside, self._key(digest))
        return True

    def _found(self, folder: str) -> list[tuple[str, Mapping[str, Any]]]:
        self._fs.invalidate_cache()
        try:
            found: dict[str, Mapping[str, Any]] = self._fs.find(folder, detail=True)
        except FileNotFoundError:
            return []
        return [*found.items()]

    def _stored(self, digest: str, path: str, info: Mapping[str, Any]) -> Stored:
        used = self._time(info, path)
        if used is None:
            raise ConfigurationError(
                f"The file system of the blob store {self.location} does not say how old a file "
                "is, so nothing can be deleted from it safely. A saver's own delete_thread deletes "
                "a thread alone."
            )
        return Stored(digest, int(info["size"]), used, path)

    def _time(self, info: Mapping[str, Any], path: str) -> float | None:
        """When a file was written, in seconds since 1970; None where that is not known."""
        found: Any = next((info[name] for name in TIMES if info.get(name)), None)
        if found is None:
            try:
                found = self._fs.modified(path)
            except NotImplementedError:
                return None
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        return found.timestamp() if isinstance(found, datetime) else float(found)

    def _make_folder(self, digest: str) -> None:
        self._fs.makedirs(f"{self._root}/{digest[:2]}", exist_ok=True)

    def _key(self, digest: str) -> str:
        return f"{self._root}/{digest[:2]}/{digest[2:]}"

    def _note(self, key: str) -> str:
        return f"{self._root}/{NOTES}/{key[:2]}/{key[2:]}"

    def _aside(self, digest: str) -> str:
        return f"{self._root}/{ASIDE}/{digest}"
