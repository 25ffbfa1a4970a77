"""Out look: what stands in a folder that a stranger writes in. Writes nothing.

Code may race with whoever looks: so nothing is opened by a path but the folder itself, no link is
followed, nothing but a regular file is read, and each file is checked again once it is open.
"""

import io
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.out_files import MAX_DEPTH, same_name, why_refused

MAX_FILES = 500
"""Most files that stand in `out/`. Each is about 150 bytes of a log, at every change."""

MAX_SEEN = 10_000
"""Most entries of `out/` that are looked at; where there are more, nothing new is taken."""

READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
READ_FILE = READ | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Without waiting: whoever opens a FIFO would wait for its writer."""
READ_FOLDER = READ | getattr(os, "O_DIRECTORY", 0)

Handle = int | str
"""A folder: open, or its path where the system has no open folders (Windows). There code runs in
Monty alone, which makes no links, and not while the host looks."""

HAS_OPEN_FOLDERS = os.open in os.supports_dir_fd and os.scandir in os.supports_fd

Signature = tuple[int, int, int, int, int]
"""What of a file changes with its bytes: device, number, size, and times in ns."""


class TooMany(Exception):
    """There is more in a folder than is looked at."""


@dataclass
class Listing:
    """What stands in a folder."""

    files: dict[str, os.stat_result] = field(default_factory=dict[str, os.stat_result])
    """Those that may be taken, by name."""
    left_out: dict[str, str] = field(default_factory=dict[str, str])
    """Why others may not, by name."""
    seen: int = 0


class Changed(Exception):
    """A file is not what it was, or was written while it was read."""


def signature_of(status: os.stat_result) -> Signature:
    """Give what tells that a file is the same as before."""
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


@contextmanager
def opened_folder(path: str) -> Generator[Handle]:
    """Open the folder at a path. Raises OSError where it is no folder, or a link to one."""
    if not HAS_OPEN_FOLDERS:
        yield path
        return
    folder = os.open(path, READ_FOLDER)
    try:
        yield folder
    finally:
        os.close(folder)


@contextmanager
def opened_inner(folder: Handle, name: str) -> Generator[Handle]:
    """Open a folder within another. Raises OSError where it is none."""
    if isinstance(folder, str):
        yield os.path.join(folder, name)
        return
    inner = os.open(name, READ_FOLDER, dir_fd=folder)
    try:
        yield inner
    finally:
        os.close(inner)


def opened_file(folder: Handle, name: str, flags: int = READ_FILE, mode: int = 0o600) -> int:
    """Open a file of a folder. Raises OSError, also for a link."""
    if isinstance(folder, str):
        return os.open(os.path.join(folder, name), flags, mode)
    return os.open(name, flags, mode, dir_fd=folder)


def listing_of(folder: Handle) -> Listing:
    """List what is in a folder, and in the folders in it.

    Raises:
        TooMany: it has more than `MAX_SEEN` entries.
    """
    found = Listing()
    _list(folder, "", 0, found)
    _leave_out_twins(found)
    for name in sorted(found.files)[MAX_FILES:]:
        del found.files[name]
        found.left_out[name] = f"there are over {MAX_FILES} files; pack them into one"
    return found


def _list(folder: Handle, within: str, depth: int, found: Listing) -> None:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            found.seen += 1
            if found.seen > MAX_SEEN:
                raise TooMany
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # code has removed it in the meantime
                continue
            name = within + entry.name
            if why := _why_left_out(entry.name, status, depth):
                found.left_out[name] = why
            elif stat.S_ISDIR(status.st_mode):
                inner.append(entry.name)
            else:
                found.files[name] = status
    for each in inner:
        _list_inner(folder, each, within, depth, found)


def _list_inner(folder: Handle, name: str, within: str, depth: int, found: Listing) -> None:
    try:
        with opened_inner(folder, name) as inner:
            _list(inner, f"{within}{name}/", depth + 1, found)
    except OSError as error:
        found.left_out[within + name] = f"the folder cannot be read: {error.strerror}"


def _why_left_out(name: str, status: os.stat_result, depth: int) -> str:
    if why := why_refused(name):
        return why
    if stat.S_ISDIR(status.st_mode):
        return f"it is more than {MAX_DEPTH} folders deep" if depth == MAX_DEPTH else ""
    if not stat.S_ISREG(status.st_mode):
        return "it is a link or a device, not a file; copy the bytes"
    if status.st_nlink > 1:
        return "it is a hard link; copy the bytes"
    return ""


def _leave_out_twins(found: Listing) -> None:
    """Leave out names that some systems cannot keep apart from one before them."""
    spelled: dict[str, str] = {}
    for name in sorted(found.files):
        parts = name.split("/")
        ways = ["/".join(parts[: length + 1]) for length in range(len(parts))]
        twins = [spelled.setdefault(same_name(way), way) for way in ways]
        if twins != ways:
            del found.files[name]
            found.left_out[name] = "its name differs from another one in case alone"


def read_of(folder: Handle, name: str, status: os.stat_result) -> Iterator[bytes]:
    """Give the bytes of a file that was listed.

    Args:
        folder: that was listed.
        name: in the listing.
        status: in the listing.

    Raises:
        Changed: it is another file by now, or was written while it was read.
    """
    *folders, last = name.split("/")
    try:
        file = _opened(folder, folders, last)
    except OSError as error:
        raise Changed(f"it cannot be read: {error.strerror}") from error
    with io.FileIO(file) as bytes_of:
        if signature_of(os.fstat(file)) != signature_of(status):
            raise Changed("it was written while it was looked at")
        left = status.st_size
        while left and (part := _next_part(bytes_of, left)):
            left -= len(part)
            yield part
        if left or signature_of(os.fstat(file)) != signature_of(status):
            raise Changed("it was written while it was looked at")


def _next_part(bytes_of: io.FileIO, left: int) -> bytes:
    try:
        return bytes_of.read(min(left, CHUNK))
    except OSError as error:  # which the store would take for its own
        raise Changed(f"it cannot be read: {error.strerror}") from error


def _opened(folder: Handle, folders: list[str], last: str) -> int:
    if not folders:
        return opened_file(folder, last)
    with opened_inner(folder, folders[0]) as inner:
        return _opened(inner, folders[1:], last)


def write_into(folder: Handle, name: str, chunks: Iterator[bytes]) -> None:
    """Put a file into a folder, in the place of what is there.

    Raises:
        SandboxError: code has made something else there, which cannot be removed.
    """
    try:
        _write(folder, name.split("/"), chunks)
    except OSError as error:
        raise SandboxError(
            f"{name!r} cannot be put back into out/: {error}. The code may have made a folder or "
            "a link of it: continue from an earlier checkpoint."
        ) from error


def _write(folder: Handle, parts: list[str], chunks: Iterator[bytes]) -> None:
    first, *rest = parts
    if rest:
        make_inner(folder, first)
        with opened_inner(folder, first) as inner:
            _write(inner, rest, chunks)
        return
    remove_from(folder, [first])
    flags = READ_FILE & ~os.O_RDONLY | os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(opened_file(folder, first, flags), "wb") as target:
        target.writelines(chunks)


def make_inner(folder: Handle, name: str) -> None:
    """Make a folder within another, if there is none."""
    try:
        if isinstance(folder, str):
            os.mkdir(os.path.join(folder, name), 0o700)
        else:
            os.mkdir(name, 0o700, dir_fd=folder)
    except FileExistsError:
        pass  # if it is no folder, opening it fails


def remove_from(folder: Handle, parts: list[str]) -> None:
    """Remove a file, if it is there. Raises OSError where it is a folder."""
    first, *rest = parts
    try:
        if rest:
            with opened_inner(folder, first) as inner:
                remove_from(inner, rest)
        elif isinstance(folder, str):
            os.unlink(os.path.join(folder, first))
        else:
            os.unlink(first, dir_fd=folder)
    except FileNotFoundError:
        pass  # it is gone already
