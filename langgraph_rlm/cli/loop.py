"""Loop: the one event loop of the command, and Ctrl-C on it."""

import asyncio
import atexit
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import FrameType
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
    # Python's own end would let a late press kill the process, whatever it has to say; the last
    # that is registered runs first
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
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

    def late_press(number: int, frame: FrameType | None) -> None:
        press()

    # on Windows, and outside the main thread, asyncio's own handling stays
    with suppress(NotImplementedError, RuntimeError, ValueError):
        loop.add_signal_handler(signal.SIGINT, press)
    try:
        return await task
    finally:
        with suppress(NotImplementedError):
            is_removed = loop.remove_signal_handler(signal.SIGINT)
            if presses and is_removed:  # a second press must not cut off what is printed at the end
                signal.signal(signal.SIGINT, late_press)
