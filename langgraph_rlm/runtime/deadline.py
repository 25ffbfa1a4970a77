"""Deadline: waits for work no longer than a run may take. What cannot be stopped is left behind."""

import asyncio
import warnings
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

CLEAN_UP_SECONDS = 1.0
"""How long work that was cancelled may take to clean up behind itself."""


class TooLate(Exception):
    """The deadline came first."""


async def within(seconds: float | None, work: Coroutine[Any, Any, T], what: str) -> T:
    """Wait for work until a deadline.

    Args:
        seconds: until the deadline; None for none.
        work: it is cancelled at the deadline. Threads and work that ignores it go on; their result
            is dropped.
        what: names the work in the warning that it goes on.

    Raises:
        TooLate: the deadline came first.
        Exception: whatever the work raises.
    """
    if seconds is None:
        return await work
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=CLEAN_UP_SECONDS)
    finally:
        task.cancel()
    if not task.done():
        warnings.warn(
            f"{what} goes on after the deadline of its run: it ignores that it was cancelled. Its "
            "result is dropped.",
            RuntimeWarning,
            stacklevel=2,
        )
    elif not task.cancelled():
        task.exception()  # taken, so that nobody is told of it later
    raise TooLate
