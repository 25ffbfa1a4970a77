"""Compiled: the edge between callers and the graph. Inputs go by reference, each run gets its frame, sync calls run the async core.

A room of its own, because the graph's nodes must not know how they are called, nor its callers how it runs.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from langgraph_rlm.errors import ThreadBusyError
from langgraph_rlm.loops import iterate
from langgraph_rlm.nodes.ingest import by_reference
from langgraph_rlm.runtime import FRAME, Frame, RLMRuntime, Run, with_key
from langgraph_rlm.savers import for_sync_use
from langgraph_rlm.state import RLMInput, RLMOutput, RLMState

SAVER = "__pregel_checkpointer"
"""Where LangGraph hands a parent's checkpointer to its children."""

UNLIMITED = 10**9
"""LangGraph's limit on supersteps: a thousand calls one after another are two thousand of them. What bounds a run is its `Limits`."""

_busy: set[tuple[int, str]] = set()
_busy_lock = threading.Lock()


class RLMGraph(CompiledStateGraph[RLMState, None, RLMInput, RLMOutput]):
    """A compiled RLM. It does whatever a compiled LangGraph graph does: invoke, stream, batch, their async forms, state and history."""

    def __init__(self, *, rlm: RLMRuntime, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rlm = rlm

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncIterator[Any]:  # type: ignore[override]
        """As `Pregel.astream`.

        Raises:
            ContextError: the input has no question, or a context that cannot be read.
            ThreadBusyError: another call in this process is running the same thread.
        """
        config = ensure_config(config)
        given = await self._by_reference(input)
        with ExitStack() as until_done:
            self._occupy(config, until_done)
            async with aclosing(cast(Any, super().astream(given, self._framed(config), **options))) as parts:
                async for part in parts:
                    yield part

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:  # type: ignore[override]
        """As `Pregel.stream`: the async core on a background loop, with sync checkpointers in threads."""
        config = ensure_config(config)
        graph, parents = self, config.get("configurable", {}).get(SAVER)
        if isinstance(own := cast(object, self.checkpointer), BaseCheckpointSaver):
            graph = self.copy({"checkpointer": for_sync_use(cast(Any, own))})
        if isinstance(parents, BaseCheckpointSaver):
            config = with_key(config, SAVER, for_sync_use(cast(Any, parents)))
        yield from iterate(lambda: graph.astream(input, config, **options))

    async def _by_reference(self, input: Any) -> Any:
        if input is None or isinstance(input, Command):
            return cast(Any, input)
        return await asyncio.to_thread(by_reference, input, self.rlm.store)

    def _framed(self, config: RunnableConfig) -> RunnableConfig:
        """A child finds its parent's frame in the config; a root, or an RLM inside another's tool, starts a run."""
        config = {**config, "recursion_limit": UNLIMITED}
        frame = config.get("configurable", {}).get(FRAME)
        if isinstance(frame, Frame) and frame.run.runtime is self.rlm:
            return config
        return with_key(config, FRAME, Frame(Run(self.rlm)))

    def _occupy(self, config: RunnableConfig, until_done: ExitStack) -> None:
        """Keep other callers in this process off the thread of a root."""
        thread, saver = config.get("configurable", {}).get("thread_id"), cast(object, self.checkpointer)
        if FRAME in config.get("configurable", {}) or thread is None or not isinstance(saver, BaseCheckpointSaver):
            return
        key = (id(getattr(cast(Any, saver), "wrapped", cast(object, saver))), str(thread))
        with _busy_lock:
            if key in _busy:
                raise ThreadBusyError(f"Thread {thread!r} is running already: wait for that call, or use another thread_id.")
            _busy.add(key)
        until_done.callback(_busy.discard, key)
