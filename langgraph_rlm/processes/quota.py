"""Quota: how much a jailed worker may keep on disk and how many threads it may run.

The kernel bounds one file and the memory of a process, not the sum of a folder's files nor a
process's threads. So the host counts them while the worker runs. Between two looks a worker can
exceed its quota by what can be written in that time.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

BLOCK = 512
"""Bytes of a block in `st_blocks`."""
DELETED = " (deleted)"


class Use(NamedTuple):
    """What was counted."""

    size: int
    """Bytes."""
    files: int


NOTHING = Use(0, 0)


@dataclass(frozen=True)
class Quota:
    """What one worker may use."""

    folder_bytes: int
    """Bytes on disk of everything in its folder, and the most that one file may have."""
    files: int
    """Files and folders in it."""
    threads: int
    """Threads."""

    def excess(self, folder: str, pid: int) -> str:
        """Say what a worker has too much of; empty if it keeps to its quota.

        Files that it has removed and still holds count too: open ones by their size, and mapped
        ones, whose size cannot be seen, as if they were as large as a file may be.
        """
        try:
            threads, hidden = _threads(pid), _hidden(folder, pid, self.folder_bytes)
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            return ""
        if threads > self.threads:
            return f"it has {threads} threads, more than the {self.threads} that it may"
        return self.excess_in(folder, hidden)

    def excess_in(self, folder: str, hidden: Use = NOTHING) -> str:
        """Say what is too much in a folder, with what was hidden elsewhere; empty if nothing is.

        It takes a tenth of the time of `excess`, which asks for the process too.
        """
        try:
            kept = _kept(folder, self)
        except OSError as error:
            return f"its folder cannot be looked through: {error.strerror}"
        size, files = kept.size + hidden.size, kept.files + hidden.files
        if size > self.folder_bytes:
            return f"its files have {size} bytes, more than the {self.folder_bytes} that they may"
        if files > self.files:
            return f"it has more than {self.files} files"
        return ""


def _kept(folder: str, quota: Quota) -> Use:
    """Count what is in a folder, until it is too much. Links are not followed."""
    size, files, left = 0, 0, [folder]
    while left and size <= quota.folder_bytes and files <= quota.files:
        for path, found in _entries(left.pop()):
            files += 1
            size += found.st_blocks * BLOCK
            if stat.S_ISDIR(found.st_mode):
                left.append(path)
    return Use(size, files)


def _entries(folder: str) -> list[tuple[str, os.stat_result]]:
    """Give what is in a folder now. Whatever goes in the meantime is left out."""
    found: list[tuple[str, os.stat_result]] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found.append((entry.path, entry.stat(follow_symlinks=False)))
    return found


def _hidden(folder: str, pid: int, largest: int) -> Use:
    """Count files that a process has removed but not let go of."""
    sizes: dict[tuple[int, int], int] = {}
    for found in _open_files(pid):
        if found.st_nlink == 0 and stat.S_ISREG(found.st_mode):
            sizes[found.st_dev, found.st_ino] = found.st_blocks * BLOCK
    for device, inode in _mapped_deleted(folder, pid):
        sizes.setdefault((device, inode), largest)
    return Use(sum(sizes.values()), len(sizes))


def _open_files(pid: int) -> list[os.stat_result]:
    found: list[os.stat_result] = []
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):  # closed in the meantime
            found.append(os.stat(f"{folder}/{name}"))
    return found


def _mapped_deleted(folder: str, pid: int) -> set[tuple[int, int]]:
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as lines:
        rows = [line.split(maxsplit=5) for line in lines if DELETED in line]
    found: set[tuple[int, int]] = set()
    for row in rows:
        if row[-1].startswith(folder):
            major, minor = row[3].split(":")
            found.add((os.makedev(int(major, 16), int(minor, 16)), int(row[4])))
    return found


def _threads(pid: int) -> int:
    """Read the number of threads, the 20th field of `proc(5)`'s stat; the name may hold spaces."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
        return int(file.read().rpartition(")")[2].split()[17])
