"""Folder: blobs in a folder of this machine."""

import errno
import os
import tempfile
import time
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from langgraph_rlm.storage.backends import (
    BLOB_FOLDER,
    NOTES,
    Fill,
    Stored,
    Writer,
    is_verified,
    note_verified,
)
from langgraph_rlm.storage.tags import FolderTags, Tags

NEW = ".new-"
"""The start of the name of a file that is being written."""

ASIDE = ".aside"
"""The end of the name of a file that was set aside: `cdef....UNIQUE.aside`."""


class Folder:
    """A folder `ab/cdef...`, private to its user.

    A blob appears whole or not at all; it need not survive a power cut. When it was last put is
    the file's time of access, as the time of change says that the bytes are as they were hashed.
    Readers may move the time of access too: then a blob is kept for longer.
    """

    slack = 1.0  # file systems round times
    deletes_at_once = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._is_made = False
        self.location = str(root)
        self.tags: Tags = FolderTags(root, self._make)

    def where(self, digest: str) -> str:
        return str(self._file(digest))

    def clock(self) -> float:
        return time.time()

    def has(self, digest: str) -> bool:
        return self._file(digest).is_file()

    def renewed(self, digest: str, size: int | None = None) -> bool:
        file = self._file(digest)
        try:
            if size is None:
                return self._renew(file) or (self._found_aside(digest) and self._renew(file))
            is_whole = file.stat().st_size == size and is_verified(file, digest)
            return is_whole and self._renew(file)
        except OSError:  # it is written again, which says what is wrong
            return False

    def _renew(self, file: Path) -> bool:
        """Begin the age of a file anew; False where it is not there."""
        try:
            os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno != errno.EROFS:  # where nothing can be written, nobody deletes
                raise
        return True

    def read(self, digest: str) -> bytes:
        return self._met(digest).read_bytes()

    def local(self, digest: str) -> Path:
        return self._met(digest)

    def _met(self, digest: str) -> Path:
        """Find the file of a blob, also one that is being set aside at this moment."""
        file = self._file(digest)
        if not file.exists():
            self._found_aside(digest)
        return file

    def _found_aside(self, digest: str) -> bool:
        """Whether a blob that is not in its place was set aside. It is put back."""
        file = self._file(digest)
        for path in file.parent.glob(f"{file.name}.*{ASIDE}"):
            self.put_back(str(path))
        return file.is_file()

    def keep(self, digest: str, data: bytes) -> None:
        if self.renewed(digest, len(data)):
            return
        with self._new_file() as file:
            file.write_bytes(data)
            self._adopt(file, digest)

    def write(self, fill: Fill) -> tuple[str, int]:
        with self._new_file() as file:
            with file.open("wb") as opened:
                writer = Writer(opened)
                fill(writer)
            if not self.renewed(writer.digest, writer.size):
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

    def noted(self) -> Iterator[tuple[str, bytes]]:
        for path in (self._root / NOTES).glob("*/*"):
            try:
                yield str(path), path.read_bytes()
            except FileNotFoundError:
                continue  # another prune has deleted it

    def delete_note(self, name: str) -> None:
        Path(name).unlink(missing_ok=True)

    def reader(self, digest: str) -> BinaryIO:
        file = self._file(digest)
        aside = file.parent.glob(f"{file.name}.*{ASIDE}")
        path = file if file.exists() else next(aside, file)
        try:
            number = os.open(path, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
        except PermissionError:  # only the file's owner may look without leaving a time
            return path.open("rb")
        return os.fdopen(number, "rb")

    def is_empty(self) -> bool:
        return next(self._folders(), None) is None

    def blobs(self) -> Iterator[Stored]:
        return (found for found in self._files() if not found.name.endswith(ASIDE))

    def aside(self) -> Iterator[Stored]:
        return (found for found in self._files() if found.name.endswith(ASIDE))

    def _folders(self) -> Iterator[Path]:
        if self._root.is_dir():
            with os.scandir(self._root) as entries:
                yield from (Path(each) for each in entries if BLOB_FOLDER.fullmatch(each.name))

    def _files(self) -> Iterator[Stored]:
        for folder in self._folders():
            for path in folder.iterdir():
                digest = f"{folder.name}{path.name.partition('.')[0]}"
                try:
                    status = path.stat()
                except FileNotFoundError:  # deleted or renamed since it was listed
                    continue
                yield Stored(digest, status.st_size, _used(status), str(path))

    def set_aside(self, digest: str, before: float) -> str | None:
        file = self._file(digest)
        aside = file.with_name(f"{file.name}.{uuid.uuid4().hex[:12]}{ASIDE}")
        try:
            if _used(file.stat()) >= before:
                return None
            file.rename(aside)
            if _used(aside.stat()) < before:
                return str(aside)
        except FileNotFoundError:  # somebody else has deleted it, or put it back
            return None
        self.put_back(str(aside))
        return None

    def put_back(self, name: str) -> None:
        aside = Path(name)
        file = aside.with_name(aside.name.partition(".")[0])
        try:
            if file.exists():
                aside.unlink()
            else:
                aside.rename(file)
        except FileNotFoundError:
            return  # somebody else has done it

    def delete_aside(self, name: str) -> None:
        Path(name).unlink(missing_ok=True)

    def delete_unfinished(self, before: float) -> int:
        freed = 0
        for path in self._root.glob(f"{NEW}*"):
            try:
                status = path.stat()
                if _used(status) < before:
                    path.unlink()
                    freed += status.st_size
            except FileNotFoundError:
                continue  # its writer has ended
        return freed

    def _make(self) -> None:
        """Make the folder, once. One that vanishes later was unmounted, and a new folder must not
        hide it."""
        if not self._is_made:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._is_made = True

    @contextmanager
    def _new_file(self) -> Generator[Path]:
        """Make a file that is deleted unless it is adopted."""
        self._make()
        number, name = tempfile.mkstemp(prefix=NEW, dir=self._root)
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
        note_verified(file)

    def _file(self, digest: str) -> Path:
        return self._root / digest[:2] / digest[2:]

    def _note(self, key: str) -> Path:
        return self._root / NOTES / key[:2] / key[2:]


def _used(status: os.stat_result) -> float:
    return max(status.st_atime, status.st_mtime)
