"""RLM graph: the edge between callers and the compiled graph. Inputs go by reference, each run gets
its frame.

It knows neither the nodes nor who calls: sync calls run the async core, and a child finds its
parent's run.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.runnables.graph import Graph
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.types import Command, StateSnapshot

from langgraph_rlm.as_tool.door import AsTool
from langgraph_rlm.errors import ResumeError
from langgraph_rlm.pregel.databases import identity_of
from langgraph_rlm.pregel.drawing import named_by_depth, subgraphs_of
from langgraph_rlm.pregel.held import Held
from langgraph_rlm.pregel.kept_answers import KeptAnswer, with_answers
from langgraph_rlm.pregel.keys import (
    CHECKPOINTER,
    RUNTIME,
    SCRATCHPAD,
    counted,
    is_within_task,
    own_place,
    with_around,
    with_own_store,
)
from langgraph_rlm.pregel.known_history import with_histories
from langgraph_rlm.pregel.leases import database_of, lease
from langgraph_rlm.pregel.savers import for_many_writes, for_sync_use
from langgraph_rlm.pregel.starts import Begun as BegunState
from langgraph_rlm.pregel.sync import iterate, wait_for
from langgraph_rlm.remote.child import Child, child_of, framed, of_parent
from langgraph_rlm.remote.tasks import TASK
from langgraph_rlm.runtime.allowed_schema import allowed_schema
from langgraph_rlm.runtime.asked import Asked, asked_of
from langgraph_rlm.runtime.began import Begun, begin, with_settings
from langgraph_rlm.runtime.continued import Continues, refuse_kept
from langgraph_rlm.runtime.open_batch import ShowsAnswers
from langgraph_rlm.runtime.root_work import LEFT, labels_of, let_rest, root_work, told
from langgraph_rlm.runtime.run import (
    FRAME,
    RUN_OPTIONS,
    Frame,
    Run,
    RunOptions,
    with_key,
)
from langgraph_rlm.runtime.settings import RunSettings
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.spent_before import spent_before
from langgraph_rlm.runtime.variant import variant
from langgraph_rlm.state import RLMInput, RLMOutput, RLMState
from langgraph_rlm.storage.inputs import Stored, by_reference
from langgraph_rlm.tools.asking import PROBLEMS

UNLIMITED = 10**9
"""For LangGraph's own limits, on supersteps (a thousand calls one after another take two thousand)
and on tasks at once. What bounds a run is its `Limits`."""

Saver = BaseCheckpointSaver[Any]


class RLMGraph(  # pyright: ignore[reportIncompatibleMethodOverride]
    AsTool, Continues, ShowsAnswers, CompiledStateGraph[RLMState, Any, RLMInput, RLMOutput]
):
    """A compiled RLM. It does whatever a compiled LangGraph graph does: invoke, stream, batch,
    state and history."""

    def __init__(self, *, rlm: RLMRuntime, level: int = 0, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.rlm = rlm
        self.level = level
        """How far down `get_subgraphs` found it: one child graph serves every depth."""

    def get_subgraphs(  # type: ignore[override]
        self, *, namespace: str | None = None, recurse: bool = False
    ) -> Iterator[tuple[str, Any]]:
        """List subgraphs as `Pregel.get_subgraphs` does: the steps of a tool call, and children as
        deep as the limits allow."""
        own = self.rlm.limits.max_depth
        deepest = max(own, self.rlm.configurable.ceiling.get("max_depth", own))
        for name, graph in cast(Iterator[tuple[str, Any]], super().get_subgraphs()):
            if isinstance(graph, RLMGraph):
                if self.level + 1 >= deepest:
                    continue
                graph = copy.copy(graph)
                graph.level = self.level + 1
            if namespace is None or namespace == name:
                yield name, graph
            if recurse and isinstance(graph, Pregel):
                yield from subgraphs_of(name, cast(Any, graph), namespace)

    def get_graph(self, config: RunnableConfig | None = None, *, xray: int | bool = False) -> Graph:
        """Draw as `Pregel.get_graph` does. What is within a child is named after its depth, such as
        `sub_call:sub_call_2:plan_code`: LangChain draws no two subgraphs of one name."""
        return named_by_depth(super().get_graph(config, xray=xray), self.level)

    async def aget_graph(
        self, config: RunnableConfig | None = None, *, xray: int | bool = False
    ) -> Graph:
        """Draw as `get_graph` does."""
        return named_by_depth(await super().aget_graph(config, xray=xray), self.level)

    def get_context_jsonschema(self) -> dict[str, Any] | None:
        """Give the schema of `context=`, with what this graph allows of a run's settings."""
        schema: Any = self.context_schema
        found = super().get_context_jsonschema()
        if found is None or not issubclass(schema, RunSettings):
            return found
        return allowed_schema(found, self.rlm)

    async def astream(  # type: ignore[override]
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> AsyncIterator[Any]:
        """Stream as `Pregel.astream` does.

        Raises:
            ContextError: the input has no question, or a context that cannot be read.
            SettingsError: a setting of this run has a wrong type, is not allowed, or is not the one
                that it began with.
            ResumeError: an answer to a pause has the wrong form, or its pause is not open. The open
                ones stay open.
            ThreadBusyError: another call is running the same thread, here or in a process that
                `leases.py` can see.
            ThreadTakenOverError: another process has taken the thread over, as this one was silent
                for longer than its lease lasts.
            ValueError: there is a checkpointer and no `thread_id`.
        """
        config = self._bound(config)
        asked = self._asked(config, options.pop("context", None))
        options = options if asked.context is None else {**options, "context": asked.context}
        if self._lacks_thread(config):
            config = {**config, "configurable": {}}  # for LangGraph's own check of it
            async for part in cast(Any, super().astream(input, config, **options)):
                yield part
            return
        child = await self._child(input, config)
        settings = asked.settings if child is None else child.settings
        config = config if child is None else of_parent(config, child)
        saver = self._saver(config)
        problems: dict[str, str] = {}
        if not self._is_child(config):
            config = with_key(counted(config), PROBLEMS, problems)
        if saver is not None and self.rlm.toolset.not_idempotent:
            options = {**options, "durability": "sync"}
            options.pop("checkpoint_during", None)  # its older name
        await variant(self.rlm, settings)  # refused before anything is stored
        async with AsyncExitStack() as until_done:
            await self._keep(config, saver, until_done)
            given = await self._by_reference(input if child is None else child.given, config)
            held = await self._occupy(config, saver, until_done)
            if saver is not None:
                config = with_key(config, CHECKPOINTER, self._used(saver, config, held))
            config = await self.at_newest(config, saver)
            if child is not None and await self._has_begun(config):
                given = None  # whoever asks again, by whatever race, continues the same run
            kept = await self.kept(given, config, saver)
            given, config = await self.by_pause(given, config, kept, saver)
            if kept:
                config = with_answers(config, kept)
                until_done.push_async_callback(refuse_kept, kept, problems, saver, config)
            is_resumed = await self.is_resumed(given, config, saver)
            begun = await self._begun(settings, config, is_resumed=is_resumed)
            given = with_settings(given, begun.entry)
            own = await self._framed(config, begun, held, child, is_resumed=is_resumed, kept=kept)
            await self._carry(own, begun.state)
            own = told(own, until_done)
            let_rest(own, until_done)
            async with aclosing(cast(Any, super().astream(given, own, **options))) as parts:
                try:
                    async for part in self._guarded(parts, config, held):
                        yield part
                except ResumeError as error:
                    # which of them it was is not known; those taken up are closed
                    problems.update(dict.fromkeys(kept, str(error)))
                    raise

    def stream(  # type: ignore[override]
        self, input: Any, config: RunnableConfig | None = None, **options: Any
    ) -> Iterator[Any]:
        """Stream as `Pregel.stream` does: the async core on a background loop, with sync
        checkpointers in threads."""
        graph, config = self.in_sync_use(self._bound(config))
        yield from iterate(lambda: graph.astream(input, config, **options))

    @property
    def asked_graph(self) -> "RLMGraph":
        return self

    def bulk_update_state(self, config: RunnableConfig, supersteps: Any) -> RunnableConfig:
        """Do what `Pregel.bulk_update_state` does, which `update_state` calls. The edges are async,
        so this runs on the background loop too."""
        graph, config = self.in_sync_use(self._bound(config))
        return wait_for(lambda: graph.abulk_update_state(config, supersteps))

    def _bound(self, config: RunnableConfig | None) -> RunnableConfig:
        """A call's config with the values that `with_config` has bound to the graph, such as its
        thread. LangGraph adds the rest of what is bound, and would add callbacks twice."""
        bound = (self.config or {}).get("configurable", {})
        return {**ensure_config(config), "configurable": {**bound, **with_around(config)}}

    def in_sync_use(self, config: RunnableConfig) -> "tuple[RLMGraph, RunnableConfig]":
        """This graph and a config whose checkpointers, own and parent's, may be used from the
        background loop."""
        graph, parents = self, config.get("configurable", {}).get(CHECKPOINTER)
        own = cast(object, self.checkpointer)
        if isinstance(own, BaseCheckpointSaver):
            graph = self.copy({"checkpointer": for_sync_use(cast(Saver, own))})
        if isinstance(parents, BaseCheckpointSaver):
            config = with_key(config, CHECKPOINTER, for_sync_use(cast(Saver, parents)))
        return cast(RLMGraph, graph), config

    async def _child(self, input: Any, config: RunnableConfig) -> Child | None:
        """The task of a child whose parent is elsewhere, where the input is one."""
        if not isinstance(input, dict) or TASK not in input:
            return None
        return await asyncio.to_thread(child_of, input, config, self.rlm)

    async def _has_begun(self, config: RunnableConfig) -> bool:
        """Whether a thread has a checkpoint."""
        saves = self._saver(config) is not None
        return saves and (await self.aget_state(config)).metadata is not None

    async def _by_reference(self, input: Any, config: RunnableConfig) -> Any:
        """The input as it may be checkpointed: a question and contexts by reference."""
        if input is None or isinstance(input, Command | BegunState):
            return cast(Any, input)
        return await asyncio.to_thread(
            by_reference,
            input,
            self.rlm.blobs,
            is_stored=isinstance(input, Stored),
            is_strict=SCRATCHPAD not in config.get("configurable", {}),
        )

    def _lacks_thread(self, config: RunnableConfig) -> bool:
        """Whether a root has a checkpointer, and no thread to save."""
        given = config.get("configurable", {})
        has_own = isinstance(self.checkpointer, BaseCheckpointSaver)
        return has_own and CHECKPOINTER not in given and "thread_id" not in given

    def _used(self, saver: Saver, config: RunnableConfig, held: Held | None) -> Saver:
        """A saver as a run uses it; for a root it reads the log by what was read before."""
        used = for_many_writes(saver, held)
        if self._is_child(config):
            return used
        namespace = own_place(config).get("configurable", {}).get("checkpoint_ns", "")
        return with_histories(used, self.rlm.histories, self, namespace, labels_of)

    def _saver(self, config: RunnableConfig) -> Saver | None:
        """The checkpointer that this invocation uses: its parent's, else its own."""
        parents = config.get("configurable", {}).get(CHECKPOINTER)
        saver = cast(object, parents or self.checkpointer)
        return cast(Saver, saver) if isinstance(saver, BaseCheckpointSaver) else None

    def _asked(self, config: RunnableConfig, context: Any) -> Asked:
        """What a call asks for. In a tool of another RLM, what is around is asked of that one; a
        child asks for nothing."""
        given, around = config.get("configurable", {}), None
        if FRAME in given:
            given = {}
        else:
            around = getattr(given.get(RUNTIME), "context", None)
        nested = SCRATCHPAD in given
        return asked_of(self.name, self.context_schema, context, around, given, is_nested=nested)

    async def _begun(
        self, asked: RunSettings, config: RunnableConfig, *, is_resumed: bool
    ) -> Begun:
        """What a run works with, by its call and its thread; a child has its root's."""
        saver = None if self._is_child(config) else self._saver(config)
        place = config if saver is None else own_place(config)
        read = partial(self.aget_state, place)
        return await begin(asked, self.rlm, saver, place, read, is_resumed=is_resumed)

    def _is_child(self, config: RunnableConfig) -> bool:
        """Whether this is a child in the tree of a run of this graph."""
        frame = config.get("configurable", {}).get(FRAME)
        return isinstance(frame, Frame) and frame.run.base is self.rlm

    async def _framed(
        self,
        config: RunnableConfig,
        begun: Begun,
        held: Held | None,
        child: Child | None,
        *,
        is_resumed: bool,
        kept: Mapping[str, KeptAnswer],
    ) -> RunnableConfig:
        """The config with a frame. A child has its parent's; a root, or an RLM inside another's
        tool, starts a run."""
        config = {**config, "recursion_limit": UNLIMITED}
        if (
            "max_concurrency" in config
        ):  # LangGraph would save no finished call before all open ones have had a turn
            config["max_concurrency"] = UNLIMITED
        given = config.get("configurable", {})
        if self._is_child(config):
            return config
        if self.store is not None and RUNTIME in given:
            config = with_key(config, RUNTIME, with_own_store(given[RUNTIME], self.store))
        wanted = cast(RunOptions, given.get(RUN_OPTIONS) or RunOptions())
        run = Run(
            begun.rlm,
            self.rlm,
            begun.entry,
            own_emit=wanted.emit,
            budget=wanted.budget,
            resumed=is_resumed,
            root_options=wanted.root_options,
            kept=kept,
            lease=held,
        )
        form, work = wanted.form or self.rlm.response_format, root_work(self.name, config, run)
        frame = Frame(run, form=form, work=work)
        if child is not None or begun.state is not None:
            values = {} if begun.state is None or not is_resumed else begun.state.values
            frame = await asyncio.to_thread(framed, frame, child, values, self.rlm.blobs)
        return with_key(config, FRAME, frame)

    async def _carry(self, config: RunnableConfig, state: StateSnapshot | None) -> None:
        """Tell a resumed run's ledger what its whole tree has spent, before any of it continues."""
        frame, saver = cast(Frame, config.get("configurable", {})[FRAME]), self._saver(config)
        if state is None or saver is None or not frame.is_top or not frame.run.resumed:
            return
        frame.work.is_of(state.values.get("trajectory", ""))
        frame.work.before = str((state.metadata or {}).get(LEFT, ""))
        async for usage in spent_before(state, own_place(config), saver, self.aget_state):
            frame.run.ledger.carry(usage)

    async def _keep(
        self, config: RunnableConfig, saver: Saver | None, until_done: AsyncExitStack
    ) -> None:
        """Keep what a root stores from whoever deletes blobs. A child's is kept by its root."""
        if not self._is_child(config):
            database = None if saver is None else await identity_of(saver)
            users = self.rlm.blobs.users
            use = users.begin(database, saver)
            until_done.push_async_callback(asyncio.to_thread, users.end, use)

    async def _occupy(
        self, config: RunnableConfig, saver: Saver | None, until_done: AsyncExitStack
    ) -> Held | None:
        """Keep other callers off the thread of a root. A run in a task of another graph has its own
        namespace alone, as others may run beside it; what is within a run has that one's lease."""
        given, around = config.get("configurable", {}), _lease_around(config)
        thread, namespace = given.get("thread_id"), ""
        if thread is None or saver is None or self._is_child(config):
            return around
        if around is not None and around.thread == str(thread):
            return around
        if is_within_task(config):
            namespace = own_place(config).get("configurable", {}).get("checkpoint_ns", "")
        named = given.get("run_id") or config.get("metadata", {}).get("run_id")
        run_id = None if named is None else str(named)
        wanted = lease(await database_of(saver), str(thread), run_id, namespace=namespace)
        held = await until_done.enter_async_context(wanted)
        until_done.push_async_exit(held.patient)
        return held

    def _guarded(
        self, parts: AsyncIterator[Any], config: RunnableConfig, held: Held | None
    ) -> AsyncIterator[Any]:
        """The parts of a run, which ends when its thread is taken over. What is within ends with
        it."""
        if held is None or held is _lease_around(config):
            return parts
        return held.guarded(parts)


def _lease_around(config: RunnableConfig) -> Held | None:
    """The lease of the run that a call is within."""
    frame = config.get("configurable", {}).get(FRAME)
    return frame.run.lease if isinstance(frame, Frame) else None
