"""Out files: files that code gave back. Their names, what is told of them, and saving them.

A name comes from code that a model wrote: it is checked where a file is taken, and again where one
is saved.
"""

import mimetypes
import os
import re
import unicodedata
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO

from typing_extensions import TypedDict

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import chunks_of
from langgraph_rlm.storage.blobs import BlobStore

MAX_NAME_BYTES = 200
"""Most bytes of one part of a name in UTF-8. Most file systems take 255, and `(2)` may be added."""

MAX_DEPTH = 8
"""Most folders around a file within `out/`."""

UNKNOWN = "application/octet-stream"

TYPES: Mapping[str, str] = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".parquet": "application/vnd.apache.parquet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".sqlite": "application/vnd.sqlite3",
    ".toml": "application/toml",
    ".webp": "image/webp",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".yaml": "application/yaml",
}
"""Media types that Python's own table lacks in some versions."""

_REFUSED = re.compile(r'[<>:"|?*\\/]')
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(\.|$)", re.I)
"""Names that Windows has taken, with any ending."""


class OutFile(TypedDict):
    """The bytes of one file, in a log."""

    digest: str
    """sha256, under which the blob store has them."""
    size: int


class GivenFile(TypedDict):
    """A file of a run, as its output names it."""

    name: str
    """Its path within `out/`, parts separated by `/`."""
    type: str
    """The media type, by the name's ending: the bytes may be anything."""
    size: int
    """Bytes."""
    digest: str
    """sha256 of the bytes, under which the blob store has them."""


def last_files(_: list[GivenFile], given: list[GivenFile]) -> list[GivenFile]:
    """Reducer: the newest list stands. The channel begins empty, and is not saved until written."""
    return given


def given_files(files: Mapping[str, OutFile]) -> list[GivenFile]:
    """Say what a run gives back, sorted by name."""
    return [
        GivenFile(name=name, type=type_of(name), size=file["size"], digest=file["digest"])
        for name, file in sorted(files.items())
    ]


def type_of(name: str) -> str:
    """Give the media type of a name, the same on every machine."""
    ending = os.path.splitext(name)[1].lower()
    # Python's table alone: the system's differs from machine to machine
    known = mimetypes.MimeTypes().types_map[True]
    return TYPES.get(ending) or known.get(ending, UNKNOWN)


def why_refused(part: str) -> str:
    """Say why a part of a name cannot be taken; empty if it can, by every common system."""
    if any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in part):
        return "its name has characters that cannot be shown, or is not UTF-8"
    if len(part.encode()) > MAX_NAME_BYTES:
        return f"its name is over {MAX_NAME_BYTES} bytes"
    if _REFUSED.search(part) or _DEVICES.match(part):
        return "its name is none on Windows"
    if part[:1] in ("", ".", "-", "~", " ") or part[-1:] in (".", " "):
        return "its name begins with a dot, '-', '~' or space, or ends with a dot or space"
    return ""


def same_name(name: str) -> str:
    """Give what two names have in common that some systems take for one."""
    return unicodedata.normalize("NFC", name).casefold()


def read_file(
    file: GivenFile | Mapping[str, object], *, blob_store: str | Path | BlobStore | None = None
) -> bytes:
    """Give the bytes of a file that a run gave back.

    Args:
        file: one of the output's `files`.
        blob_store: the store of the run, as `create_rlm` takes it.

    Raises:
        BlobError: the store does not have it.
    """
    return BlobStore.open(blob_store).get(str(file["digest"]))


def save_files(
    files: Iterable[GivenFile | Mapping[str, object]],
    folder: str | Path,
    *,
    blob_store: str | Path | BlobStore | None = None,
) -> list[Path]:
    """Save the files that a run gave back.

    Nothing is written over: where there is another file of the name, the new one is named
    `table (2).csv`. One that is there with the same bytes is left as it is.

    Args:
        files: the output's `files`.
        folder: where to save them; it is made if it is not there.
        blob_store: the store of the run, as `create_rlm` takes it.

    Returns:
        The path of each file, in the order of `files`.

    Raises:
        BlobError: the store does not have one of them.
        ContextError: a name leads outside the folder, or a file cannot be written.
    """
    blobs = BlobStore.open(blob_store)
    return [_saved(str(file["name"]), str(file["digest"]), Path(folder), blobs) for file in files]


def _saved(name: str, digest: str, folder: Path, blobs: BlobStore) -> Path:
    parts = name.split("/")
    if len(parts) > MAX_DEPTH + 1 or any(why_refused(part) for part in parts):
        raise ContextError(f"{name!r} is not the name of a file that a run gives back.")
    source = blobs.path(digest)
    try:
        return _written(source, folder, parts)
    except OSError as error:
        raise ContextError(
            f"{name!r} cannot be saved in {str(folder)!r}: {error}. Give another folder."
        ) from error


def _written(source: Path, folder: Path, parts: list[str]) -> Path:
    place = folder.joinpath(*parts[:-1])
    place.mkdir(parents=True, exist_ok=True)
    if not place.resolve().is_relative_to(folder.resolve()):
        raise ContextError(f"A link in {str(folder)!r} leads outside: {str(place)!r}.")
    for path in _candidates(place / parts[-1]):
        try:
            with _created(path) as target, source.open("rb") as bytes_of:
                target.writelines(chunks_of(bytes_of))
        except FileExistsError:
            if not _has_bytes_of(path, source):
                continue
        return path
    raise AssertionError("there is always another number")


def _candidates(path: Path) -> Iterator[Path]:
    yield path
    for number in count(2):
        yield path.with_name(f"{path.stem} ({number}){path.suffix}")


@contextmanager
def _created(path: Path) -> Generator[BinaryIO]:
    """Make a new file; of one that could not be written to its end, nothing is left."""
    with path.open("xb") as file:
        try:
            yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _has_bytes_of(path: Path, source: Path) -> bool:
    """Whether a path is a file, no link, with the same bytes as another."""
    import filecmp

    if path.is_symlink() or not path.is_file():
        return False
    return filecmp.cmp(path, source, shallow=False)
