"""Around: what stands around a call of the chat model: its callbacks, tags, metadata and thread.

What runs inside gets them too, so that it is found by them. Tokens are counted once: a handler that
sees the calls inside is told of the call around them without its usage, which is theirs.
"""

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid4

from langchain_core.callbacks import AsyncCallbackManager, BaseCallbackHandler, CallbackManager
from langchain_core.outputs import LLMResult
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tracers.base import AsyncBaseTracer, BaseTracer

from langgraph_rlm.pregel.keys import is_counter_around, is_stream_handler

OF_OTHERS = ("ls_", "lc_", "langgraph_", "checkpoint_")
"""How keys of metadata begin that LangChain and LangGraph set for each run anew."""

_around: ContextVar["Around | None"] = ContextVar("langgraph_rlm_around", default=None)


@dataclass(frozen=True)
class Around:
    """What stands around one call."""

    callbacks: AsyncCallbackManager | None = None
    """Of whatever runs inside; None where nobody sees it."""
    thread: str = ""
    """The thread of whoever calls; what runs inside has one of its own."""
    run_id: UUID | None = None
    """Of the call itself, for tracers."""
    configurable: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the call's config, or of that around it."""


def around_call(run_manager: Any, *, trace_inside: bool) -> Around:
    """Give what stands around the call that is being answered.

    Args:
        run_manager: LangChain's, of the call; None where it gives none, as when it streams.
        trace_inside: whether handlers other than tracers see inside.
    """
    known = _around.get()
    if run_manager is None or (known is not None and known.run_id == run_manager.run_id):
        return known or Around()
    handlers = [each for each in run_manager.inheritable_handlers if sees(each, trace_inside)]
    metadata: Mapping[str, Any] = run_manager.inheritable_metadata
    callbacks = _callbacks(handlers, run_manager.run_id, run_manager.inheritable_tags, metadata)
    thread, given = str(metadata.get("thread_id", "")), (known or Around()).configurable
    return Around(callbacks, thread, run_manager.run_id, given)


@contextmanager
def known_around(
    config: RunnableConfig | None,
    kind: type[CallbackManager] | type[AsyncCallbackManager],
    *,
    trace_inside: bool,
) -> Generator[RunnableConfig]:
    """Note what stands around a call, for as long as it is answered.

    Args:
        config: of the call.
        kind: of the callbacks that LangChain makes for it.
        trace_inside: as above.

    Returns:
        The config to make the call with.
    """
    whole = ensure_config(config)
    run_id = whole.get("run_id") or uuid4()
    manager = kind.configure(whole.get("callbacks"))
    inside = [each for each in manager.inheritable_handlers if sees(each, trace_inside)]
    metadata = {**manager.inheritable_metadata, **whole.get("metadata", {})}
    tags = [*manager.inheritable_tags, *whole.get("tags", [])]
    callbacks = _callbacks(inside, run_id, tags, metadata)
    before = _around.get()
    thread, given = str(metadata.get("thread_id", "")), whole.get("configurable", {})
    _around.set(Around(callbacks, thread, run_id, given))
    try:
        yield {**whole, "run_id": run_id, "callbacks": _without_usage(manager, inside)}
    finally:  # by value: a stream may be closed in another context than it began in
        _around.set(before)


def sees(handler: BaseCallbackHandler, trace_inside: bool) -> bool:
    """Whether a handler sees what runs inside.

    Tracers do, so that traces nest. What feeds a stream of a graph around does not, nor does a
    context manager that counts tokens: it counts the call as one.
    """
    if isinstance(handler, BaseTracer | AsyncBaseTracer):
        return True
    return trace_inside and not (is_stream_handler(handler) or is_counter_around(handler))


def _callbacks(
    handlers: list[BaseCallbackHandler],
    parent: UUID,
    tags: list[str],
    metadata: Mapping[str, Any],
) -> AsyncCallbackManager | None:
    """Make the callbacks of what runs inside."""
    if not handlers:
        return None
    manager = AsyncCallbackManager(handlers=[], parent_run_id=parent)
    manager.set_handlers(handlers)
    manager.add_tags(list(dict.fromkeys(tags)))
    manager.add_metadata(
        {key: value for key, value in metadata.items() if not key.startswith(OF_OTHERS)}
    )
    return manager


def _without_usage(manager: Any, inside: list[BaseCallbackHandler]) -> Any:
    """Give callbacks of the call itself: those who see inside it are not told its usage."""
    views = {id(handler): _view(handler) for handler in inside}
    for name in ("handlers", "inheritable_handlers"):
        handlers: list[BaseCallbackHandler] = getattr(manager, name)
        setattr(manager, name, [views.get(id(handler), handler) for handler in handlers])
    return manager


def _view(handler: BaseCallbackHandler) -> BaseCallbackHandler:
    """Give a handler that is the same but for the usage: it shares everything with its original."""
    view: Any = object.__new__(_view_of(type(handler)))
    view.__dict__ = handler.__dict__
    return view


@lru_cache(maxsize=64)
def _view_of(kind: type[BaseCallbackHandler]) -> type[BaseCallbackHandler]:
    base: Any = kind

    def on_llm_end(self: Any, response: LLMResult, **kwargs: Any) -> Any:
        return base.on_llm_end(self, _unspent(response), **kwargs)

    async def on_llm_end_async(self: Any, response: LLMResult, **kwargs: Any) -> Any:
        return await base.on_llm_end(self, _unspent(response), **kwargs)

    is_async = inspect.iscoroutinefunction(base.on_llm_end)
    ends = on_llm_end_async if is_async else on_llm_end
    return type(kind.__name__, (kind,), {"on_llm_end": ends})


def _unspent(response: LLMResult) -> LLMResult:
    """Give a result without its usage."""
    generations = [[_plain(generation) for generation in batch] for batch in response.generations]
    return response.model_copy(update={"generations": generations, "llm_output": None})


def _plain(generation: Any) -> Any:
    message: Any = getattr(generation, "message", None)
    if getattr(message, "usage_metadata", None) is None:
        return generation
    plain = message.model_copy(update={"usage_metadata": None})
    return generation.model_copy(update={"message": plain})
