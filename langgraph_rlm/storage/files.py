"""Files: bytes from outside, streamed, checked to be UTF-8 text and counted. Never holds a whole file, nor knows of handles."""

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
    """Passes chunks on, without a byte order mark, while it counts characters and checks that they are UTF-8 text.

    Raises:
        ContextError: from `check`, at the first byte that is not text.
    """

    def __init__(self, name: str) -> None:
        self._name, self._decoder, self._mark = name, codecs.getincrementaldecoder("utf-8")(), 0
        self.chars = self.size = 0

    def check(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(_with_full_start(chunks)):
            text = chunk if number else self._after_mark(chunk)
            self._refuse_binary(text)
            self.chars += self._count(text)
            self.size += len(text)
            yield text
        self.chars += self._count(b"", final=True)

    def _after_mark(self, chunk: bytes) -> bytes:
        if chunk[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise self._not_utf8(0, "UTF-16")
        text = chunk.removeprefix(codecs.BOM_UTF8)
        self._mark = len(chunk) - len(text)
        return text

    def _refuse_binary(self, text: bytes) -> None:
        if (zero := text.find(b"\0")) >= 0:
            raise ContextError(
                f"{self._name} is binary: a zero byte at offset {self._mark + self.size + zero}. Extract its text first."
            )

    def _count(self, text: bytes, *, final: bool = False) -> int:
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
    """The same bytes, where the first chunk holds a byte order mark whole."""
    start, rest = b"", iter(chunks)
    for chunk in rest:
        start += chunk
        if len(start) >= len(codecs.BOM_UTF8):
            break
    if start:
        yield start
    yield from rest


def read_open(file: Any, name: str) -> Iterator[bytes]:
    """What is left of an open file of text or bytes. Raises ContextError when it cannot be read."""
    with _explained(name):
        while chunk := file.read(CHUNK):
            if not isinstance(chunk, (str, bytes)):
                raise ContextError(
                    f"{name}.read() gave a {type(chunk).__name__}, not str or bytes."
                )
            yield to_bytes(chunk) if isinstance(chunk, str) else chunk


def read_file(path: Path) -> Iterator[bytes]:
    """A file's bytes. Raises ContextError when it is missing or cannot be read."""
    with _explained(str(path)), path.open("rb") as file:
        yield from chunks_of(file)


@contextmanager
def _explained(name: str) -> Generator[None]:
    """Turn what reading an input raises into a ContextError."""
    try:
        yield
    except FileNotFoundError:
        raise ContextError(
            f"{name} does not exist (seen from {os.getcwd()}). A str is content; a Path names a file."
        ) from None
    except (OSError, ValueError) as error:
        raise ContextError(f"{name} cannot be read: {error}.") from error


def printable(name: str) -> str:
    """A file's name that can be encoded, whatever bytes the file system has in it."""
    return os.fsencode(name).decode("utf-8", "replace")


def text_files(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Every file of text below a folder.

    Returns:
        The files as (name relative to `root`, path), and the names of what was left out with the reason; both sorted.
    """
    skipped: list[str] = []
    files = [
        (name, path) for name, path in sorted(_walk(root, skipped)) if _is_text(name, path, skipped)
    ]
    return files, sorted(skipped)


def named(paths: list[Path]) -> list[tuple[str, Path]]:
    """A name for each file: its path as given, or where one is absolute, relative to the folder that all share."""
    if all(not path.is_absolute() and ".." not in path.parts for path in paths):
        return [(printable(path.as_posix()), path) for path in paths]
    root = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return [(_name(Path(os.path.abspath(path)), Path(root)), path) for path in paths]


class Joined:
    """Files one after the other, with a newline between where the first has none at its end."""

    def __init__(self, files: list[tuple[str, Path]]) -> None:
        self._files = files
        self.places: list[tuple[str, int, int]] = []
        """After `chunks`: each file's name, first byte, bytes."""
        self.chars = 0

    def chunks(self) -> Iterator[bytes]:
        """The bytes. Raises ContextError for a file that is missing, unreadable, binary or not UTF-8."""
        start, last = 0, b"\n"
        for name, path in self._files:
            if last != b"\n":
                yield b"\n"
                start, self.chars = start + 1, self.chars + 1
            utf8 = Utf8(str(path))
            for chunk in utf8.check(read_file(path)):
                yield chunk
                last = chunk[-1:] or last
            self.places.append((name, start, utf8.size))
            start, self.chars = start + utf8.size, self.chars + utf8.chars


def _walk(root: Path, skipped: list[str]) -> Iterator[tuple[str, Path]]:
    """Every file below `root` that is neither hidden nor outside, with its name relative to `root`; the others go to `skipped`."""
    inside = Path(os.path.realpath(root))
    for folder, folders, files in os.walk(
        root, onerror=lambda e: skipped.append(f"{_name(Path(e.filename), root)}/ (unreadable)")
    ):
        for name in list(folders):
            if reason := _reason_to_skip_folder(Path(folder, name)):
                folders.remove(name)
                skipped.append(f"{_name(Path(folder, name), root)}/ ({reason})")
        for path in (Path(folder, name) for name in files):
            if reason := _reason_to_skip_file(path, inside):
                skipped.append(f"{_name(path, root)} ({reason})")
            else:
                yield _name(path, root), path


def _name(path: Path, root: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _reason_to_skip_folder(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    return "a link to a folder" if path.is_symlink() else ""


def _reason_to_skip_file(path: Path, inside: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    target = Path(os.path.realpath(path))
    if path.is_symlink() and not target.is_relative_to(inside):
        return "a link that leads outside"
    return "" if os.path.isfile(target) else "not a regular file"


def _is_text(name: str, path: Path, skipped: list[str]) -> bool:
    """Whether the whole file can be read as text. It is read twice, so that the stored text never has half a file."""
    try:
        for _ in Utf8(name).check(read_file(path)):
            pass
    except ContextError as error:
        reason = next(
            (word for word in ("binary", "not UTF-8") if f" is {word}: " in str(error)),
            "unreadable",
        )
        skipped.append(f"{name} ({reason})")
        return False
    return True
