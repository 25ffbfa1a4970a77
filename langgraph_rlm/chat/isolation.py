"""Isolation: a run inside a chat model gets its own task and callbacks.

The surrounding graph sees one model call. Tokens of the run stay out of that graph's streams, and
its model calls stay out of whatever counts tokens or logs models. Tracers do see them
(`around.py`).
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from typing import TypeVar

from langgraph_rlm.pregel.keys import forget_config_around, forget_counters_around
from langgraph_rlm.pregel.sync import pump

T = TypeVar("T")


async def isolated(stream: Callable[[], AsyncIterator[T]]) -> AsyncGenerator[T]:
    """Iterate over a stream that runs in a task and a context of its own.

    Leaving the iteration cancels the task and waits for its end.
    """
    items: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    context = contextvars.copy_context()
    context.run(forget_config_around)
    context.run(forget_counters_around)
    task = asyncio.get_running_loop().create_task(pump(stream, items.put_nowait), context=context)
    try:
        while (item := await items.get()) is not None:
            yield item[0]
        await task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
