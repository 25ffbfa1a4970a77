"""Graphs: the compiled graphs of one chat model, one for each set of bound tools. Runs none."""

import json
import threading
from dataclasses import replace
from typing import Any

from cachetools import LRUCache
from langgraph.store.base import BaseStore

from langgraph_rlm.errors import ConfigurationError, InputError
from langgraph_rlm.graph import compile_rlm
from langgraph_rlm.repl.host_functions import TAKEN
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.shared import RLMRuntime

KEPT_GRAPHS = 64
"""Sets of bound tools whose graph is kept. A graph takes 20 ms to make."""


class Graphs:
    """The graphs of one chat model.

    They share models, HTTP clients, blobs and interpreters. Interpreters end with the base graph,
    which lives as long as any copy of the chat model.
    """

    def __init__(self, base: RLMGraph) -> None:
        self._base = base
        self._made: LRUCache[str, RLMGraph] = LRUCache(KEPT_GRAPHS)
        self._lock = threading.Lock()
        self.thinks_at_once = False
        """Whether a direct reply has ended thoughts that it never opened: its chat template opens
        them."""

    @property
    def rlm(self) -> RLMRuntime:
        """The runtime without bound tools."""
        return self._base.rlm

    @property
    def store(self) -> BaseStore | None:
        """The LangGraph store that the chat model was given."""
        return self._base.store

    def with_tools(self, tools: list[dict[str, Any]]) -> RLMGraph:
        """Give the graph whose code may call `tools`, which the caller runs.

        Args:
            tools: OpenAI functions.

        Raises:
            InputError: one cannot be bound.
        """
        if not tools:
            return self._base
        key = json.dumps(tools, sort_keys=True, default=str)
        with self._lock:
            if key not in self._made:
                self._made[key] = self._graph(tools)
            return self._made[key]

    def _graph(self, tools: list[dict[str, Any]]) -> RLMGraph:
        try:
            toolset = self.rlm.toolset.with_external(tools, TAKEN)
        except ConfigurationError as error:
            raise InputError(f"tools: {error}") from error
        return compile_rlm(replace(self.rlm, toolset=toolset), None, "rlm", self.store)
