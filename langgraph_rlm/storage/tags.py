"""Tags: small files in a blob store that say who uses it, beside the blobs.

A claim is a tag that is there for as long as its process lives. What they say is `users.py`'s.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

if sys.platform != "win32":
    import fcntl

USERS = "users"
"""The folder of the tags in a store. No blob's folder has such a name."""

Release = Callable[[], None]
"""Ends a claim."""


class Tags(Protocol):
    """The tags of one store. Every method blocks, and raises OSError where it cannot be done."""

    def read(self) -> Iterator[tuple[str, bytes]]:
        """Give the name and the bytes of each tag."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Write a tag, or write it anew."""
        ...

    def claim(self, name: str, data: bytes) -> Release:
        """Write a tag that is deleted by what is returned."""
        ...

    def is_claimed(self, name: str) -> bool:
        """Whether the process of a claim lives, or cannot be known not to."""
        ...

    def delete(self, name: str) -> None:
        """Delete a tag, if it is there."""
        ...


class FolderTags:
    """Tags in a folder. The kernel knows which claims have a process: each holds a lock."""

    def __init__(self, root: Path, make_root: Callable[[], None]) -> None:
        self._folder = root / USERS
        self._make_root = make_root

    def read(self) -> Iterator[tuple[str, bytes]]:
        if not self._folder.is_dir():
            return
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith("."):
                continue
            try:
                yield path.name, path.read_bytes()
            except FileNotFoundError:
                continue  # its run has ended

    def write(self, name: str, data: bytes) -> None:
        os.close(self._written(name, data, is_locked=False))

    def claim(self, name: str, data: bytes) -> Release:
        owner = os.getpid()
        number = self._written(name, data, is_locked=True)

        def release() -> None:
            os.close(number)
            if os.getpid() == owner:  # else this is a forked child, and the claim its parent's
                self.delete(name)

        return release

    def is_claimed(self, name: str) -> bool:
        if sys.platform == "win32":
            return True
        try:
            number = os.open(self._folder / name, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:  # somebody holds it, or this file system has no locks
            return True
        finally:
            os.close(number)
        return False

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def _written(self, name: str, data: bytes, *, is_locked: bool) -> int:
        """Write a tag that appears whole and, if wanted, locked; give the open file."""
        self._make_root()
        self._folder.mkdir(mode=0o700, exist_ok=True)
        number, path = tempfile.mkstemp(prefix=".", dir=self._folder)
        try:
            os.write(number, data)
            if is_locked and sys.platform != "win32":
                fcntl.flock(number, fcntl.LOCK_EX)
            Path(path).replace(self._folder / name)
        except BaseException:
            os.close(number)
            Path(path).unlink(missing_ok=True)
            raise
        return number


class RemoteTags:
    """Tags in a folder of an fsspec file system. Whether a claim's process lives is not known."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._folder = f"{root}/{USERS}"

    def read(self) -> Iterator[tuple[str, bytes]]:
        self._fs.invalidate_cache()
        try:
            found = sorted(self._fs.find(self._folder))
        except FileNotFoundError:
            return
        for path in found:
            try:
                yield str(path).rpartition("/")[2], self._fs.cat_file(path)
            except FileNotFoundError:
                continue  # its run has ended

    def write(self, name: str, data: bytes) -> None:
        self._fs.makedirs(self._folder, exist_ok=True)
        self._fs.pipe_file(f"{self._folder}/{name}", data)

    def claim(self, name: str, data: bytes) -> Release:
        owner = os.getpid()
        self.write(name, data)

        def release() -> None:
            if os.getpid() == owner:
                self.delete(name)

        return release

    def is_claimed(self, name: str) -> bool:
        return True

    def delete(self, name: str) -> None:
        path = f"{self._folder}/{name}"
        if self._fs.exists(path):
            self._fs.rm_file(path)
