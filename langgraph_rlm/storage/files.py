"""Files: finds and names files and folders, and reads open files.

Never holds a whole file, and does not know of handles.
"""

import codecs
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import to_bytes

Errors = Literal["strict", "replace", "ignore"]
"""What a `File` may do with bytes that are not in its encoding; `open` has the same names."""


class File:
    """A file or folder as a context, with its encoding.

    Only needed for what is not UTF-8: a `pathlib.Path` names a file too, and UTF-16 and UTF-32 are
    known by their byte order mark.

    Example:
        >>> rlm.invoke({"query": "...", "context": File("old.log", encoding="latin-1")})
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        encoding: str | None = None,
        errors: Errors = "strict",
    ) -> None:
        """Name a file or folder; nothing is read yet.

        Args:
            path: of the file, or of a folder whose files all have the encoding.
            encoding: any text encoding of Python's; None for UTF-8, or what a byte order mark says.
            errors: what becomes of bytes that are not in the encoding, as `open` takes it.

        Raises:
            ContextError: Python has no such encoding.
        """
        self.path = Path(path)
        self.encoding = encoding
        self.errors: Errors = errors
        if encoding is not None:
            _check_encoding(encoding)
        if errors not in get_args(Errors):
            known = ", ".join(get_args(Errors))
            raise ContextError(f"File(errors={errors!r}): it must be one of {known}.")

    def __repr__(self) -> str:
        return f"File({str(self.path)!r}, encoding={self.encoding!r}, errors={self.errors!r})"


def _check_encoding(encoding: str) -> None:
    try:
        "a".encode(encoding)  # refuses rot13, zip and others that do not make text of bytes
        codecs.getincrementaldecoder(encoding)
    except (LookupError, TypeError, ValueError) as error:
        raise ContextError(
            f"File(encoding={encoding!r}): Python has no such text encoding ({error}). Common ones "
            "are utf-8, latin-1, cp1252, utf-16-le and shift_jis; all are listed at "
            "https://docs.python.org/3/library/codecs.html#standard-encodings"
        ) from None


def read_open(file: Any, name: str) -> Iterator[bytes]:
    """Read what is left of an open file of text or bytes.

    Raises:
        ContextError: it cannot be read.
    """
    with explained(name):
        while chunk := file.read(CHUNK):
            if isinstance(chunk, str):
                yield to_bytes(chunk)
            elif isinstance(chunk, bytes):
                yield chunk
            else:
                kind = type(chunk).__name__
                raise ContextError(f"{name}.read() gave a {kind}, not str or bytes.")


@contextmanager
def explained(name: str) -> Generator[None]:
    """Turn what reading an input raises into a ContextError."""
    try:
        yield
    except FileNotFoundError:
        raise ContextError(
            f"{name} does not exist (seen from {os.getcwd()}). "
            "A str is content; a Path names a file."
        ) from None
    except ContextError:
        raise
    except (OSError, ValueError) as error:
        raise ContextError(f"{name} cannot be read: {error}.") from error


def printable(name: str) -> str:
    """Give a file's name as text that can be encoded, whatever bytes the name has."""
    return os.fsencode(name).decode("utf-8", "replace")


def files_below(root: File) -> tuple[list[tuple[str, File]], list[str]]:
    """Find every file below a folder that is neither hidden nor outside.

    Returns:
        The files by their names relative to `root`, and the names of what was left out with the
        reason; both sorted.
    """
    skipped: list[str] = []
    files = [
        (name, File(path, encoding=root.encoding, errors=root.errors))
        for name, path in sorted(_walk(root.path, skipped))
    ]
    return files, sorted(skipped)


def named(files: list[File]) -> list[tuple[str, File]]:
    """Name each file by its path.

    Paths are as given if all are relative and none leads up; else relative to the folder that all
    files share.
    """
    if all(not file.path.is_absolute() and ".." not in file.path.parts for file in files):
        return [(printable(file.path.as_posix()), file) for file in files]
    paths = [os.path.abspath(file.path) for file in files]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    names = [_name(Path(path), Path(root)) for path in paths]
    return list(zip(names, files, strict=True))


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
