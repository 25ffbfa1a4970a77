"""Sync: sync callers run the async core on one background event loop, where clients and locks stay
usable between calls."""

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import aclosing, suppress
from typing import Any, TypeVar, cast

from langgraph_rlm.lazy import per_process

T = TypeVar("T")


def iterate(stream: Callable[[], AsyncIterator[T]]) -> Iterator[T]:
    """Iterate over an async stream from sync code, in the caller's context variables.

    Leaving the iteration early, or an exception such as KeyboardInterrupt, cancels the stream and
    waits for its end.

    Raises:
        RuntimeError: it is called on the background loop itself, by async code that a sync call
            runs.
    """
    if running_loop() is _background_loop():
        raise RuntimeError(
            "This sync call would wait for itself: async code that a sync call runs has made it. "
            "Await ainvoke there."
        )
    items: queue.SimpleQueue[tuple[T] | None] = queue.SimpleQueue()
    task = _Task(pump(stream, items.put))
    try:
        while (item := items.get()) is not None:
            yield item[0]
        task.result()
    finally:
        task.cancel()


async def pump(
    stream: Callable[[], AsyncIterator[T]], put: Callable[[tuple[T] | None], object]
) -> None:
    """Put each item of a stream, in a tuple, where another task or thread takes it, and None at the
    end, however it ends."""
    try:
        async with aclosing(cast(Any, stream())) as source:
            async for item in source:
                put((item,))
    finally:
        put(None)


def wait_for(call: Callable[[], Awaitable[T]]) -> T:
    """Give to sync code what an async call gives. Raises what the call raises, and `RuntimeError`
    as `iterate` does."""

    async def once() -> AsyncIterator[T]:
        yield await call()

    [result] = iterate(once)
    return result


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that runs in this thread; None where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Task:
    """A task on the background loop, seen from another thread."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._loop = _background_loop()
        self._ended = threading.Event()
        self._task: asyncio.Task[None] | None = None
        started = threading.Event()
        context = contextvars.copy_context()

        def start() -> None:
            self._task = self._loop.create_task(coroutine, context=context)
            self._task.add_done_callback(lambda _: self._ended.set())
            started.set()

        self._loop.call_soon_threadsafe(start)
        started.wait()

    def result(self) -> None:
        """Wait for its end. Raises what it raised."""
        self._ended.wait()
        cast("asyncio.Task[None]", self._task).result()

    def cancel(self) -> None:
        """Cancel it if it still runs, and wait for its end."""
        task = cast("asyncio.Task[None]", self._task)
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(task.cancel)
            self._ended.wait()
        with suppress(asyncio.CancelledError, Exception):
            task.result()


@per_process
def _background_loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    name = f"langgraph-rlm-{os.getpid()}"
    threading.Thread(target=_serve, args=(loop,), name=name, daemon=True).start()
    return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop for ever.

    A task that raises SystemExit or KeyboardInterrupt stops asyncio's loop as well. The task's
    caller gets the exception, and the loop runs again for the others.
    """
    while True:
        with suppress(SystemExit, KeyboardInterrupt):
            loop.run_forever()
