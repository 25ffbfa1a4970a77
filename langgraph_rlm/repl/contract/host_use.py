"""Host use: what this process takes of the machine; nothing where the system does not say."""

import os
from pathlib import Path


def memory_bytes() -> int:
    """Give the memory that this process holds. Linux only."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Count the open file descriptors of this process. Linux and macOS."""
    try:
        return len(os.listdir("/dev/fd"))
    except OSError:
        return 0


def descendants() -> frozenset[int]:
    """Give the ids of the processes that this one has started, and of theirs. Linux only."""
    parents = _parents()
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return frozenset(found - {os.getpid()})


def _parents() -> dict[int, int]:
    """Give the parent of each process."""
    found: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text(errors="replace")
        except OSError:
            continue  # it has ended
        # "12 (name) S 1 ...": the name may hold spaces and parentheses
        found[int(stat.parent.name)] = int(text.rpartition(")")[2].split()[1])
    return found
