"""Apart: what runs inside a chat model runs apart from the LangGraph task and the callbacks around it: outside, it is one model's call.

Its tokens stay out of the outer graph's streams, and its calls out of whatever counts tokens or logs models. Tracers see them.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

from langgraph_rlm.pregel.keys import config_around, forget_config_around
from langgraph_rlm.pregel.sync import pump

T = TypeVar("T")


async def isolated(stream: Callable[[], AsyncIterator[T]]) -> AsyncIterator[T]:
    """Iterate over a stream that runs in a task and a context of its own. Leaving the iteration cancels it and waits for its end."""
    items: asyncio.Queue[tuple[T] | None] = asyncio.Queue()
    context = contextvars.copy_context()
    context.run(forget_config_around)
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
    """Callbacks for what runs inside this model's run: the tracers around it, so that traces nest.

    Args:
        run_manager: of the model's run; None where LangChain gives none (it streams), then what is around counts.
    """
    if run_manager is not None:
        return _tracing(run_manager.inheritable_handlers, run_manager.run_id)
    around = (config_around() or RunnableConfig()).get("callbacks")
    handlers = cast(
        Any, around if isinstance(around, list) else getattr(around, "inheritable_handlers", [])
    )
    return _tracing(handlers, getattr(around, "parent_run_id", None))


def _tracing(handlers: Any, parent: Any) -> AsyncCallbackManager | None:
    tracers: list[BaseCallbackHandler] = [
        handler for handler in handlers if isinstance(handler, BaseTracer | AsyncBaseTracer)
    ]
    if not tracers:
        return None
    manager = AsyncCallbackManager(handlers=[], parent_run_id=parent)
    manager.set_handlers(tracers)
    return manager
