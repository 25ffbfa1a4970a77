"""Runs: one run of an RLM for one tool call, and the runs before it that it follows up.

Within a graph with a checkpointer the run is a graph of the tool call's task: it is continued when
the task runs again, and its pauses are the outer graph's. Knows no tool.
"""

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_stream_writer
from langgraph.types import Interrupt, StateSnapshot

from langgraph_rlm.errors import ApprovalNeededError, ContextError, shown
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.pregel.databases import identity_of
from langgraph_rlm.pregel.keys import (
    CHECKPOINTER,
    INTERRUPT,
    RESUMING,
    is_within_task,
    numbered,
    numbered_namespace,
    task_id,
)
from langgraph_rlm.runtime.run import RUN_OPTIONS, RunOptions, with_key
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import HandleDict
from langgraph_rlm.storage.inputs import Stored

Saver = BaseCheckpointSaver[Any]
Prepare = Callable[[], Awaitable[Stored]]
"""Makes the input of a run; it is not called for one that continues."""

OWNER_BITS, CALL_BITS = 16, 24
"""The bits of a run's number: of the tool that it is a call of, so that no tool continues with the
contexts of another one, and of the call among those of its task."""

THREAD = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(\d{1,16})")
"""A thread, as an agent's model is told it: the id of a task, and the number of the run in it."""


class Graph(Protocol):
    """What is used of an `RLMGraph`."""

    name: str
    checkpointer: Any
    rlm: RLMRuntime

    def invoke(self, input: Any, config: RunnableConfig | None = None) -> Any: ...

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None) -> Any: ...

    async def aget_state(self, config: RunnableConfig) -> StateSnapshot: ...


@dataclass(frozen=True)
class Outcome:
    """What a run gave."""

    values: dict[str, Any]
    """As `RLMOutput` has them."""
    thread: str | None
    """By which a later call finds the contexts of this one; None where nothing is kept."""


@dataclass(frozen=True)
class Earlier:
    """A run that is followed up."""

    question: str
    answer: str
    contexts: list[HandleDict]


class CalledRun:
    """The run of one call."""

    def __init__(self, graph: Graph, config: RunnableConfig, owner: str, call: str) -> None:
        """Find where it is kept; nothing is read or run.

        Args:
            graph: the RLM.
            config: of the tool call.
            owner: the tool's name.
            call: what tells the call from others of its task, the same when the task runs again.
        """
        self._graph = graph
        self._owner = _bits(owner, OWNER_BITS)
        self._is_within = is_within_task(config)
        saver = config.get("configurable", {}).get(CHECKPOINTER)
        if not self._is_within:
            saver = graph.checkpointer
        self._saver = cast(Saver, saver) if isinstance(saver, BaseCheckpointSaver) else None
        if self._is_within:
            self._number = (1 << CALL_BITS | _bits(call, CALL_BITS)) << OWNER_BITS | self._owner
            self._config = numbered(config, self._number)
        else:
            self._config = _alone(config, graph.name, is_kept=self._saver is not None)

    @property
    def thread(self) -> str | None:
        """By which a later call of the same agent finds this run; None where it is not kept."""
        if self._saver is None or not self._is_within:
            return None
        return f"{task_id(self._config)}.{self._number}"

    async def outcome(self, prepare: Prepare, options: RunOptions) -> Outcome:
        """Run it, or continue it where it was cut off.

        Args:
            prepare: makes its input.
            options: of the run.

        Raises:
            GraphInterrupt: it pauses, and the graph around it does.
            ApprovalNeededError: it pauses, and there is no graph around.
            RLMError: as the graph raises it.
        """
        if self._is_within:
            options = replace(options, emit=get_stream_writer())
        config = with_key(self._config, RUN_OPTIONS, options)
        begun = await self._begun()
        if begun is None:
            values = await self._graph.ainvoke(await prepare(), config)
        elif begun.tasks:
            values = await self._graph.ainvoke(None, with_key(config, RESUMING, True))
        else:
            values = begun.values
        if pauses := values.get(INTERRUPT):
            raise _waits(self._graph.name, config, pauses)
        return Outcome(values, self.thread)

    def keeps_blobs(self) -> AbstractAsyncContextManager[None]:
        """Keep what is put meanwhile from whoever deletes blobs."""
        return keeps_blobs(self._graph.rlm.blobs, self._saver)

    async def earlier(self, thread: str) -> Earlier:
        """Find a run of an earlier call, of the same agent and thread.

        Its name leads to the thread of the config alone, whoever gives it: what other threads have
        cannot be named.

        Raises:
            ContextError: there is none.
        """
        state = await self._state_of(thread)
        values: Mapping[str, Any] = {} if state is None else cast(Any, state.values)
        questions = questions_of(cast(Log, values.get("log", {})))
        if not questions:
            raise ContextError(
                f"There is no earlier thread {shown(thread)} of this conversation. Leave `thread` "
                "out, and give the context anew."
            )
        question = await self._graph.rlm.blobs.fetch(questions[-1]["question"])
        contexts = [handle for each in questions for handle in each["contexts"]]
        return Earlier(question, str(values.get("answer", "")), contexts)

    async def _begun(self) -> StateSnapshot | None:
        """Give where this run stands, if it is to be continued: it was cut off or waits, or it is
        over and its task runs again because the answer was not saved.

        A call that is tried again in one execution of its task asks anew once it had an answer.
        """
        if self.thread is None:
            return None
        state = await self._state_of(self.thread)
        is_resumed = bool(self._config.get("configurable", {}).get(RESUMING))
        return state if state is not None and (state.tasks or is_resumed) else None

    async def _state_of(self, thread: str) -> StateSnapshot | None:
        named = THREAD.fullmatch(thread)
        if named is None or self._saver is None or not self._is_within:
            return None
        number = int(named[2])
        if number % (1 << OWNER_BITS) != self._owner:
            return None
        namespace = numbered_namespace(self._config, named[1], number)
        given = self._config.get("configurable", {})
        where = {
            "thread_id": given["thread_id"],
            "checkpoint_ns": namespace,
            CHECKPOINTER: self._saver,
        }
        state = await self._graph.aget_state({"configurable": where})
        return state if state.values or state.tasks else None


@asynccontextmanager
async def keeps_blobs(blobs: BlobStore, saver: Saver | None) -> AsyncGenerator[None]:
    """Keep what is put meanwhile from whoever deletes blobs, and have the store know the database
    that will refer to it."""
    database = None if saver is None else await identity_of(saver)
    use = blobs.users.begin(database, saver)
    try:
        yield
    finally:
        await asyncio.to_thread(blobs.users.end, use)


def _bits(text: str, bits: int) -> int:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return int(digest, 16) % (1 << bits)


def _alone(config: RunnableConfig, name: str, *, is_kept: bool) -> RunnableConfig:
    """The config of a run that no graph is around: where it is kept, it has a thread of its own."""
    if not is_kept:
        return config
    return with_key(config, "thread_id", f"{name}-{uuid.uuid4().hex}")


def _waits(
    name: str, config: RunnableConfig, pauses: "list[Interrupt[Any]]"
) -> ApprovalNeededError:
    thread = config.get("configurable", {}).get("thread_id", "")
    return ApprovalNeededError(
        f"A human has to decide before {name} continues. In an agent with a checkpointer this is "
        "an interrupt; here, invoke the RLM itself with Command(resume=...) on the thread "
        f"{thread!r}.",
        str(thread),
        cast(dict[str, Any], pauses[0].value),
    )
