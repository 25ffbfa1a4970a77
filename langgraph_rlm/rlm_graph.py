"""Compiled: the edge between callers and the graph. Inputs go by reference, each run gets its frame, sync calls run the async core.

A room of its own, because the graph's nodes must not know how they are called, nor its callers how it runs.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, aclosing
from dataclasses import replace
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import call_at, spent_on
from langgraph_rlm.pregel.keys import CHECKPOINTER, RESUMING
from langgraph_rlm.pregel.leases import database_of, lease
from langgraph_rlm.pregel.savers import for_many_writes, for_sync_use
from langgraph_rlm.pregel.sync import iterate, wait_for
from langgraph_rlm.runtime.run import ASKED, FRAME, Asked, Frame, Run, with_key
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.state import RLMInput, RLMOutput, RLMState
from langgraph_rlm.storage.inputs import Stored, by_reference
from langgraph_rlm.tools.approvals import resume_map

UNLIMITED = 10**9
"""For LangGraph's limits on supersteps (a thousand calls one after another are two thousand of them) and on tasks at once. What bounds a
run is its `Limits`."""


class RLMGraph(CompiledStateGraph[RLMState, None, RLMInput, RLMOutput]):
    """A compiled RLM. It does whatever a compiled LangGraph graph does: invoke, stream, batch, their async forms, state and history."""

    def __init__(self, *, rlm: RLMRuntime, level: int = 0, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rlm = rlm
        self.level = level
        """How far down it was found by `get_subgraphs`: one child graph serves every depth."""

    def get_subgraphs(
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, Any]]:  # type: ignore[override]
        """As `Pregel.get_subgraphs`: the steps of a tool call, and children as deep as the limits allow, each this graph again."""
        for name, graph in cast(Iterator[tuple[str, Any]], super().get_subgraphs()):
            if isinstance(graph, RLMGraph):
                if self.level + 1 >= self.rlm.limits.max_depth:
                    continue
                graph = copy.copy(graph)
                graph.level = self.level + 1
            if namespace is None or namespace == name:
                yield name, graph
            if (
                recurse
                and isinstance(graph, Pregel)
                and (namespace is None or namespace.startswith(f"{name}|"))
            ):
                below = None if namespace is None else namespace.removeprefix(f"{name}|")
                inner = cast(
                    Iterator[tuple[str, Any]], graph.get_subgraphs(namespace=below, recurse=True)
                )
                yield from ((f"{name}|{within}", found) for within, found in inner)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:  # type: ignore[override]
        """As `Pregel.astream`.

        Raises:
            ContextError: the input has no question, or a context that cannot be read.
            ResumeError: an answer to a pause has the wrong form, or its pause is not open. The open ones stay open.
            ThreadBusyError: another call is running the same thread, here or in a process that `leases.py` can see.
        """
        config = ensure_config(config)
        given = await self._by_reference(input)
        if (saver := self._saver(config)) is not None:
            config = with_key(config, CHECKPOINTER, for_many_writes(saver))
            options = (
                {**options, "durability": "sync"} if self.rlm.toolset.not_idempotent else options
            )
        with ExitStack() as until_done:
            await self._occupy(config, until_done)
            given = await self._by_pause(given, config)
            framed = self._framed(
                config, is_resumed=given is None or isinstance(given, Command) or _goes_on(config)
            )
            await self._carry(framed)
            async with aclosing(cast(Any, super().astream(given, framed, **options))) as parts:
                async for part in parts:
                    yield part

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> Iterator[Any]:  # type: ignore[override]
        """As `Pregel.stream`: the async core on a background loop, with sync checkpointers in threads."""
        graph, config = self._in_sync_use(ensure_config(config))
        yield from iterate(lambda: graph.astream(input, config, **options))

    def bulk_update_state(self, config: RunnableConfig, supersteps: Any) -> RunnableConfig:
        """As `Pregel.bulk_update_state`, which `update_state` calls: on the background loop too, as its edges are async alone."""
        graph, config = self._in_sync_use(ensure_config(config))
        return wait_for(lambda: graph.abulk_update_state(config, supersteps))

    def _in_sync_use(self, config: RunnableConfig) -> "tuple[RLMGraph, RunnableConfig]":
        """This graph and a config with checkpointers, own and parent's, that may be used from the background loop."""
        graph, parents = self, config.get("configurable", {}).get(CHECKPOINTER)
        if isinstance(own := cast(object, self.checkpointer), BaseCheckpointSaver):
            graph = self.copy({"checkpointer": for_sync_use(cast(Any, own))})
        if isinstance(parents, BaseCheckpointSaver):
            config = with_key(config, CHECKPOINTER, for_sync_use(cast(Any, parents)))
        return cast(RLMGraph, graph), config

    async def _by_reference(self, input: Any) -> Any:
        if input is None or isinstance(input, Command):
            return cast(Any, input)
        return await asyncio.to_thread(
            by_reference, input, self.rlm.blobs, is_stored=isinstance(input, Stored)
        )

    async def _by_pause(self, input: Any, config: RunnableConfig) -> Any:
        """`Command(resume=...)` with each answer under the id of its pause, checked before anything is stored."""
        if (
            not isinstance(input, Command)
            or cast(Any, input).resume is None
            or not isinstance(self.checkpointer, BaseCheckpointSaver)
        ):
            return cast(Any, input)
        state = await self.aget_state(config)
        pauses = {pause.id: (pause.value, pause.response_schema) for pause in state.interrupts}
        return replace(
            cast("Command[Any]", input), resume=resume_map(cast(Any, input).resume, pauses)
        )

    def _saver(self, config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
        """Its own, or its parent's."""
        saver = cast(object, config.get("configurable", {}).get(CHECKPOINTER) or self.checkpointer)
        return (
            cast(BaseCheckpointSaver[Any], saver)
            if isinstance(saver, BaseCheckpointSaver)
            else None
        )

    def _framed(self, config: RunnableConfig, *, is_resumed: bool) -> RunnableConfig:
        """A child finds its parent's frame in the config; a root, or an RLM inside another's tool, starts a run."""
        config = {**config, "recursion_limit": UNLIMITED}
        if (
            "max_concurrency" in config
        ):  # with it, LangGraph has the saving of a finished call wait for its turn behind all open ones
            config["max_concurrency"] = UNLIMITED
        frame = config.get("configurable", {}).get(FRAME)
        if isinstance(frame, Frame) and frame.run.rlm is self.rlm:
            return config
        asked = cast(Asked, config.get("configurable", {}).get(ASKED) or Asked())
        run = Run(self.rlm, resumed=is_resumed, root_options=asked.root_options)
        return with_key(config, FRAME, Frame(run, form=asked.form or self.rlm.response_format))

    async def _carry(self, config: RunnableConfig) -> None:
        """Tell a resumed run's ledger what its whole tree had spent, children that wait for their turn included, before any goes on."""
        frame, saver = cast(Frame, config.get("configurable", {})[FRAME]), self._saver(config)
        if frame.depth or not frame.run.resumed or saver is None:
            return
        async for usage in self._spent_before(config, saver):
            frame.run.ledger.carry(usage)

    async def _spent_before(
        self, config: RunnableConfig, saver: BaseCheckpointSaver[Any]
    ) -> AsyncIterator[Usage]:
        """Of an RLM: as of its last checkpoint, by calls that ended since or whose answers wait, and by children that have not ended."""
        state = await self.aget_state(config)
        if state.values.get("usage"):
            yield state.values["usage"]
        log, open_call = cast(Log, state.values.get("log", {})), state.values.get("suspended")
        for usage in spent_on(log, open_call):
            yield usage
        call = call_at(log, open_call)
        travels = bool(
            config.get("configurable", {}).get("checkpoint_id")
        )  # then all that came behind is done anew
        for task in (
            state.tasks if call is not None and call["call"] == "rlm" and not travels else ()
        ):
            if task.result is None and isinstance(task.state, dict):
                async for usage in self._spent_before(
                    with_key(task.state, CHECKPOINTER, saver), saver
                ):
                    yield usage

    async def _occupy(self, config: RunnableConfig, until_done: ExitStack) -> None:
        """Keep other callers off the thread of a root."""
        thread, saver = (
            config.get("configurable", {}).get("thread_id"),
            cast(object, self.checkpointer),
        )
        if (
            FRAME not in config.get("configurable", {})
            and thread is not None
            and isinstance(saver, BaseCheckpointSaver)
        ):
            until_done.enter_context(lease(await database_of(cast(Any, saver)), str(thread)))


def _goes_on(config: RunnableConfig) -> bool:
    """Whether a graph around this one resumes it: it then gets its first input again, which LangGraph leaves aside."""
    return bool(config.get("configurable", {}).get(RESUMING))
