"""Isolation: a run inside a chat model gets its own task and callbacks.

The surrounding graph sees one model call. Tokens of the run stay out of that graph's streams, and
its model calls stay out of whatever counts tokens or logs models. Tracers do see them.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

from langgraph_rlm.pregel.keys import (
    config_around,
    forget_config_around,
    forget_counters_around,
)
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


def inner_callbacks(run_manager: Any) -> AsyncCallbackManager | None:
    """Make the callbacks of what runs inside a chat model: tracers alone, so that traces nest.

    Args:
        run_manager: LangChain's, of this call of the chat model. Where LangChain gives none, as
            when it streams, the callbacks of the runnable around the call are used.

    Returns:
        None where there is no tracer.
    """
    if run_manager is not None:
        return _tracing(run_manager.inheritable_handlers, run_manager.run_id)
    around = config_around() or RunnableConfig()
    callbacks = around.get("callbacks")
    if callbacks is None:
        return None
    if isinstance(callbacks, list):
        return _tracing(callbacks, None)
    return _tracing(callbacks.inheritable_handlers, callbacks.parent_run_id)


def _tracing(
    handlers: Sequence[BaseCallbackHandler], parent: UUID | None
) -> AsyncCallbackManager | None:
    """Make callbacks of the tracers among `handlers`."""
    tracers = [handler for handler in handlers if isinstance(handler, BaseTracer | AsyncBaseTracer)]
    if not tracers:
        return None
    manager = AsyncCallbackManager(handlers=[], parent_run_id=parent)
    manager.set_handlers([*tracers])
    return manager
