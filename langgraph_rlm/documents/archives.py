"""Archives: the files of a zip, a tar or a compressed file, one after the other.

Runs in the worker. Never writes a file under a name of the archive's, and stops at the limits of
bytes, files and compression that a bomb would pass.
"""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, BinaryIO, Protocol, cast

from langgraph_rlm.documents.kinds import BZIP2, GZIP, TAR, ZIP, Kind
from langgraph_rlm.documents.names import Distinct, is_hidden, plain
from langgraph_rlm.documents.outcome import Parts, Unreadable

CHUNK = 1 << 20


class Stream(Protocol):
    """What can be read once, from its start to its end."""

    def read(self, size: int, /) -> bytes:
        """Read at most so many bytes; none at its end."""
        ...


FREE_BYTES = 64 << 20
"""Bytes that may come out of an archive of any size before the ratio counts."""
MAX_RATIO = 200
"""Bytes out for each byte in, beyond `FREE_BYTES`. Logs reach 50, a zip bomb 1,000."""
MAX_DIRECTORY = 64 << 20
"""Bytes of a zip's list of files, 500,000 of them: it is held in memory."""

BROKEN = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    NotImplementedError,
    zlib.error,
    lzma.LZMAError,
    zipfile.BadZipFile,
    tarfile.TarError,
)
"""What the standard library raises for archives that are broken or of a kind it cannot read."""


def read_archive(kind: Kind, file: BinaryIO, size: int, name: str, parts: Parts) -> None:
    """Write every file of an archive.

    Args:
        size: bytes of the archive, to judge what comes out of it.
        name: its base name, which a compressed file's own name follows from.

    Raises:
        Unreadable: it is broken, or passes a limit.
    """
    bounded = _Bounded(parts, FREE_BYTES + MAX_RATIO * size)
    try:
        if kind is ZIP:
            _read_zip(file, bounded)
        elif kind is TAR:
            _read_tar(file, bounded)
        else:
            _read_stream(_opened(kind, file), name, bounded)
    except BROKEN as error:
        raise Unreadable(f"broken: {str(error) or type(error).__name__}") from error


def _opened(kind: Kind, file: BinaryIO) -> Stream:
    """Open a compressed file."""
    if kind is GZIP:
        return gzip.GzipFile(fileobj=file)
    if kind is BZIP2:
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file)


class _Bounded:
    """Copies files into parts, as long as they are not absurdly larger than their archive."""

    def __init__(self, parts: Parts, most: int) -> None:
        self._parts = parts
        self._most = most
        self._names = Distinct()
        self.skip = parts.skip

    def copy(self, name: str, file: Stream) -> None:
        start = self._parts.size
        while chunk := file.read(CHUNK):
            if self._parts.size + len(chunk) > self._most:
                raise Unreadable(f"a zip bomb: unpacks to over {MAX_RATIO} times its size")
            self._parts.write(chunk)
        self._parts.end(self._names.name(name), start, is_text=False)


def _read_zip(file: BinaryIO, bounded: _Bounded) -> None:
    _check_directory(file)
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = plain(info.filename)
            if info.is_dir():
                continue
            if reason := _reason_to_skip(info, name):
                bounded.skip(name, reason)
                continue
            try:
                with archive.open(info) as member:
                    bounded.copy(name, member)
            except BROKEN as error:
                bounded.skip(name, f"broken: {str(error) or type(error).__name__}")


def _check_directory(file: BinaryIO) -> None:
    """Refuse a list of files that does not fit in memory. Its size is 10 bytes before the end."""
    file.seek(0, 2)
    end = max(file.tell() - (1 << 16) - 22, 0)
    file.seek(end)
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    size = int.from_bytes(tail[at + 12 : at + 16], "little") if at >= 0 else 0
    if MAX_DIRECTORY < size < 0xFFFFFFFF:
        raise Unreadable(f"its list of files has {size:,} bytes, over {MAX_DIRECTORY:,}")
    file.seek(0)


def _reason_to_skip(info: zipfile.ZipInfo, name: str) -> str:
    if is_hidden(name):
        return "hidden"
    if info.flag_bits & 1:
        return "encrypted"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "a link"
    return ""


def _read_tar(file: Stream, bounded: _Bounded) -> None:
    with tarfile.open(fileobj=cast("IO[bytes]", file), mode="r|") as archive:
        for info in _members(archive):
            name = plain(info.name)
            if info.isdir():
                continue
            member = archive.extractfile(info) if info.isreg() else None
            if is_hidden(name):
                bounded.skip(name, "hidden")
            elif member is None:
                bounded.skip(name, "not a regular file")
            else:
                bounded.copy(name, member)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Give each member, and forget it: a list of all would be in memory."""
    while (info := archive.next()) is not None:
        yield info
        archive.members = []  # pyright: ignore


def _read_stream(stream: Stream, name: str, bounded: _Bounded) -> None:
    """Read a compressed file, which is often a tar."""
    start = stream.read(512)
    inner = _Prefixed(start, stream)
    if start[257:262] == b"ustar":
        _read_tar(inner, bounded)
    else:
        bounded.copy(_inner_name(name), inner)


class _Prefixed:
    """A stream of which some bytes were read already. `tarfile` and copies only read."""

    def __init__(self, start: bytes, rest: Stream) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        given, self._start = self._start[:size], self._start[size:]
        return given or self._rest.read(size)


def _inner_name(name: str) -> str:
    """Name the file in `a.csv.gz`: `a.csv`."""
    path = PurePosixPath(name)
    if path.suffix.lower() in (".gz", ".bz2", ".xz"):
        return path.stem
    if path.suffix.lower() in (".tgz", ".tbz2", ".txz"):
        return f"{path.stem}.tar"
    return path.name or "unnamed"
