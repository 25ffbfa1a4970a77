"""Files: bytes from outside, streamed, checked to be UTF-8 text, and counted.

Never holds a whole file, and does not know of handles.
"""

import codecs
import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import CHUNK, chunks_of
from langgraph_rlm.storage.blobs import to_bytes


class Utf8:
    """Passes chunks on, without a byte order mark, and checks that they are UTF-8 text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._mark = 0
        """Bytes of the byte order mark."""
        self.chars = 0
        """Characters passed on so far."""
        self.size = 0
        """Bytes passed on so far."""

    def check(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on.

        Raises:
            ContextError: at the first byte that is not text.
        """
        for number, chunk in enumerate(_with_full_start(chunks)):
            text = chunk if number else self._after_mark(chunk)
            self._refuse_binary(text)
            self.chars += self._count(text)
            self.size += len(text)
            yield text
        self.chars += self._count(b"", final=True)

    def _after_mark(self, chunk: bytes) -> bytes:
        """Remove the byte order mark from the first chunk."""
        if chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise self._not_utf8(0, "UTF-16")
        text = chunk.removeprefix(codecs.BOM_UTF8)
        self._mark = len(chunk) - len(text)
        return text

    def _refuse_binary(self, text: bytes) -> None:
        zero = text.find(b"\0")
        if zero >= 0:
            offset = self._mark + self.size + zero
            raise ContextError(
                f"{self._name} is binary: a zero byte at offset {offset}. Extract its text first."
            )

    def _count(self, text: bytes, *, final: bool = False) -> int:
        """Count the characters that end in a chunk. One that is cut there waits for the next."""
        pending = len(self._decoder.getstate()[0])
        if not pending and text.isascii():
            return len(text)
        try:
            return len(self._decoder.decode(text, final))
        except UnicodeDecodeError as error:
            raise self._not_utf8(self._mark + self.size - pending + error.start, "LATIN1") from None

    def _not_utf8(self, offset: int, guess: str) -> ContextError:
        return ContextError(
            f"{self._name} is not UTF-8: see the byte at offset {offset}. "
            f"Convert it first, with its own encoding's name: iconv -f {guess} -t UTF-8 IN > OUT"
        )


def _with_full_start(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Give the same bytes, with a first chunk that is long enough for a whole byte order mark."""
    start = b""
    rest = iter(chunks)
    for chunk in rest:
        start += chunk
        if len(start) >= len(codecs.BOM_UTF8):
            break
    if start:
        yield start
    yield from rest


def read_open(file: Any, name: str) -> Iterator[bytes]:
    """Read what is left of an open file of text or bytes.

    Raises:
        ContextError: it cannot be read.
    """
    with _explained(name):
        while chunk := file.read(CHUNK):
            if isinstance(chunk, str):
                yield to_bytes(chunk)
            elif isinstance(chunk, bytes):
                yield chunk
            else:
                kind = type(chunk).__name__
                raise ContextError(f"{name}.read() gave a {kind}, not str or bytes.")


def read_file(path: Path) -> Iterator[bytes]:
    """Read a file.

    Raises:
        ContextError: it is missing or cannot be read.
    """
    with _explained(str(path)), path.open("rb") as file:
        yield from chunks_of(file)


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Turn what reading an input raises into a ContextError."""
    try:
        yield
    except FileNotFoundError:
        raise ContextError(
            f"{name} does not exist (seen from {os.getcwd()}). "
            "A str is content; a Path names a file."
        ) from None
    except (OSError, ValueError) as error:
        raise ContextError(f"{name} cannot be read: {error}.") from error


def printable(name: str) -> str:
    """Give a file's name as text that can be encoded, whatever bytes the name has."""
    return os.fsencode(name).decode("utf-8", "replace")


def text_files(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Find every file of text below a folder.

    Returns:
        The files as (name relative to `root`, path), and the names of what was left out with the
        reason; both sorted.
    """
    skipped: list[str] = []
    files: list[tuple[str, Path]] = []
    for name, path in sorted(_walk(root, skipped)):
        reason = _reason_not_text(name, path)
        if reason:
            skipped.append(f"{name} ({reason})")
        else:
            files.append((name, path))
    return files, sorted(skipped)


def named(paths: list[Path]) -> list[tuple[str, Path]]:
    """Name each file by its path.

    Paths are as given if all are relative and none leads up; else relative to the folder that all
    files share.
    """
    if all(not path.is_absolute() and ".." not in path.parts for path in paths):
        return [(printable(path.as_posix()), path) for path in paths]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [(_name(Path(os.path.abspath(path)), Path(root)), path) for path in paths]


class Joined:
    """Files one after the other.

    A newline is put between two where the first has none at its end.
    """

    def __init__(self, files: list[tuple[str, Path]]) -> None:
        self._files = files
        self.manifest: list[tuple[str, int, int]] = []
        """After `chunks`: each file's name, first byte, bytes."""
        self.chars = 0
        """After `chunks`: the characters of all."""

    def chunks(self) -> Iterator[bytes]:
        """Read the bytes.

        Raises:
            ContextError: a file is missing, unreadable, binary or not UTF-8.
        """
        start = 0
        last = b"\n"
        for name, path in self._files:
            if last != b"\n":
                yield b"\n"
                start += 1
                self.chars += 1
            utf8 = Utf8(str(path))
            for chunk in utf8.check(read_file(path)):
                yield chunk
                last = chunk[-1:] or last
            self.manifest.append((name, start, utf8.size))
            start += utf8.size
            self.chars += utf8.chars


def _walk(root: Path, skipped: list[str]) -> Iterator[tuple[str, Path]]:
    """Find every file below `root` that is neither hidden nor outside, with its relative name.

    The names of the others, and why, are added to `skipped`.
    """

    def skip_unreadable(error: OSError) -> None:
        skipped.append(f"{_name(Path(error.filename), root)}/ (unreadable)")

    inside = Path(os.path.realpath(root))
    for folder, folders, files in os.walk(root, onerror=skip_unreadable):
        for name in list(folders):
            path = Path(folder, name)
            if reason := _reason_to_skip_folder(path):
                folders.remove(name)
                skipped.append(f"{_name(path, root)}/ ({reason})")
        for name in files:
            path = Path(folder, name)
            if reason := _reason_to_skip_file(path, inside):
                skipped.append(f"{_name(path, root)} ({reason})")
            else:
                yield _name(path, root), path


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _reason_to_skip_folder(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_symlink():
        return "a link to a folder"
    return ""


def _reason_to_skip_file(path: Path, inside: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(inside):
        return "a link that leads outside"
    if not os.path.isfile(target):
        return "not a regular file"
    return ""


def _reason_not_text(name: str, path: Path) -> str:
    """Read a whole file, and tell why it is not text; "" if it is.

    Files are read again when they are stored, so that the stored text never has half a file.
    """
    try:
        for _ in Utf8(name).check(read_file(path)):
            pass
    except ContextError as error:
        for reason in ("binary", "not UTF-8"):
            if f" is {reason}: " in str(error):
                return reason
        return "unreadable"
    return ""
