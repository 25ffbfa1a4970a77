"""Cores: how many of them this process may use."""

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: microseconds of CPU, and of how many; `max` for all."""


def cores(limit: Path = CGROUP) -> int:
    """Count the cores that this process may use; in a container, as many as it may use whole."""
    known = getattr(os, "sched_getaffinity", None)
    number = os.cpu_count() or 1 if known is None else len(known(0))
    try:
        quota, period = limit.read_text().split()
        number = min(number, int(quota) // int(period))
    except (OSError, ValueError):  # no such file, or no limit
        pass
    return max(1, number)
