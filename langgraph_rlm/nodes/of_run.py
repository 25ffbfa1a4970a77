"""Of run: makes a node anew for each step, with what the run works with. Decides nothing.

The runs of one graph may differ in models, prompt, limits, tools and sandbox
(`runtime/settings.py`), so no node holds the graph's own runtime.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.runtime.run import frame_of
from langgraph_rlm.runtime.shared import RLMRuntime

Step = Callable[[Any, RunnableConfig, Runtime[Any]], Awaitable[Any]]
"""What a node does with its state."""


class OfRun:
    """A node, made of the runtime of the run that it works for."""

    def __init__(self, make: Callable[[RLMRuntime], Step]) -> None:
        self._make = make

    async def __call__(
        self, state: Any, config: RunnableConfig, runtime: Runtime[Any]
    ) -> dict[str, Any]:
        """Give the update of the state."""
        return await self._make(frame_of(config).run.rlm)(state, config, runtime)
