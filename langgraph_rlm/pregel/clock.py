"""Clock: seconds that go on while this process is stopped and the machine sleeps."""

import time


def seconds() -> float:
    """Give the time since the machine was booted, its sleep included where the system counts it."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
