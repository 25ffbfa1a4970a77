"""Loop: the one event loop of the command, and Ctrl-C on it."""

import asyncio
import atexit
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from langgraph_rlm.lazy import per_process

T = TypeVar("T")

STOPPED = 130
"""Exit code of Ctrl-C, as shells count it."""


def run_until_ctrl_c(work: Coroutine[Any, Any, T], on_stop: Callable[[], None]) -> T:
    """Run `work` to its end, or to its end after Ctrl-C.

    The first Ctrl-C calls `on_stop` and cancels the work. While that stops, a second one does
    nothing, and a third leaves the process at once.

    Raises:
        CancelledError: Ctrl-C stopped it.
    """
    return _runner().run(_until_ctrl_c(work, on_stop))


@per_process
def _runner() -> asyncio.Runner:
    """Make the event loop of this process: models' clients keep connections that live on it."""
    runner = asyncio.Runner()
    atexit.register(runner.close)
    return runner


async def _until_ctrl_c(work: Coroutine[Any, Any, T], on_stop: Callable[[], None]) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    presses = 0

    def press() -> None:
        nonlocal presses
        presses += 1
        if presses == 1:
            on_stop()
            task.cancel()
        elif presses == 3:
            # something ignores its cancellation; what is finished is in the database
            os._exit(STOPPED)

    # on Windows, and outside the main thread, asyncio's own handling stays
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, press)
    try:
        return await task
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)
