"""Sources: files of an input before they are stored, wherever their bytes are. Reads only ends."""

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from langgraph_rlm.documents.kinds import HEAD_BYTES, TAIL_BYTES, Kind, kind_of
from langgraph_rlm.documents.outcome import Part
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.files import File

HAS_LIST = (b"PK", b"\xd0\xcf\x11\xe0")
"""What files begin with whose last bytes tell their kind too."""


@dataclass(frozen=True)
class Source:
    """One file of an input."""

    name: str
    """Its path in the context."""
    shown: str
    """What errors call it."""
    open: Callable[[], BinaryIO]
    """Opens it at its start; may raise OSError or ValueError."""
    path: Path | None = None
    """The local file that has these bytes and no others; None where there is none."""
    encoding: str | None = None
    errors: str = "strict"

    def kind(self, file: BinaryIO) -> Kind | None:
        """Tell what it is, and go back to the start; None for text, and for what is not known."""
        head = file.read(HEAD_BYTES)
        tail = b""
        if head.startswith(HAS_LIST):
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - TAIL_BYTES, 0))
            tail = file.read(TAIL_BYTES)
        file.seek(0)
        return kind_of(head, tail, self.name)


def of_file(file: File, name: str) -> Source:
    """Give a file of a folder or a list, which must be a regular one when it is opened."""
    return Source(
        name,
        str(file.path),
        lambda: _open_regular(file.path),
        file.path,
        file.encoding,
        file.errors,
    )


def _open_regular(path: Path) -> BinaryIO:
    """Open a file that may have become something else since it was found."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(number, "rb")
    if not stat.S_ISREG(os.fstat(number).st_mode):
        file.close()
        raise ValueError("it is not a regular file")
    return file


def of_part(out: BinaryIO, part: Part, name: str) -> Source:
    """Give a file that came out of another."""
    return Source(name, name, lambda: io.BufferedReader(_Slice(out, part.start, part.size), CHUNK))


class _Slice(io.RawIOBase):
    """A part of a file, as a file. Others may read the same file at the same time."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._number = file.fileno()
        self._start = start
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: "memoryview[int] | bytearray") -> int:  # pyright: ignore
        wanted = min(len(buffer), max(0, self._size - self._at))
        data = os.pread(self._number, wanted, self._start + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def pieces(out: BinaryIO, part: Part) -> Iterator[bytes]:
    """Read the bytes of a part."""
    file = _Slice(out, part.start, part.size)
    return iter(lambda: file.read(CHUNK) or b"", b"")


def spooled(chunks: Iterable[bytes], to: Any) -> None:
    """Copy a stream into a file, and go to its start."""
    for chunk in chunks:
        to.write(chunk)
    to.flush()
    to.seek(0)
