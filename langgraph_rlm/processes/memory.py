"""Memory: what a process has of its own, and what there is for all of them. Starts nothing."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""What a container may use, as Linux's cgroups of version 2 tell it."""

CGROUP_1 = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""The same, by version 1."""

UNKNOWN = 4 << 30
"""Bytes that a machine is thought to have which does not tell."""


def own_bytes(pid: int) -> int | None:
    """Give the resident bytes of a process that it shares with no file.

    None where the system does not tell, or the process is gone.
    """
    try:
        sizes = Path(f"/proc/{pid}/statm").read_bytes().split()
    except OSError:
        return None
    return (int(sizes[1]) - int(sizes[2])) * os.sysconf("SC_PAGE_SIZE")


def total_bytes() -> int:
    """Give the memory that this process and its children may use: the machine's, or the
    container's where that is less."""
    limits = [found for path in (CGROUP, CGROUP_1) if (found := _number(path)) is not None]
    try:
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):  # not on Windows
        limits.append(UNKNOWN)
    return min(limits)


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # there is none, or it says "max"
        return None
