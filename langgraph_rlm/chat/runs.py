"""Runs: one run of the loop on its own thread, over several replies.

A run pauses, and is given answers to its pauses. Who is asked about them is not known here.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Command, Interrupt

from langgraph_rlm.chat.ids import pause_digest, thread_of
from langgraph_rlm.chat.run_records import RunRecord, record_of, write_note
from langgraph_rlm.chat.tool_results import value_for_code
from langgraph_rlm.errors import UnknownToolCallError
from langgraph_rlm.pregel.keys import NO_STREAM, RUNTIME, pauses_among
from langgraph_rlm.progress import Event, is_event
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.run import RUN_OPTIONS, RunOptions, with_key
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.state import RLMState

NAME = "rlm"
"""The name of the graph in a chat model, and the key of a caller's settings for it."""


@dataclass(frozen=True)
class RunHome:
    """Where the runs of a chat model are kept, and what their configs inherit."""

    saver: BaseCheckpointSaver[Any]
    owner: str
    callbacks: Any = None
    """Callbacks of whatever runs inside the chat model."""
    store: BaseStore | None = None
    """The LangGraph store of the runs' tools."""
    thread: str = ""
    """The thread of whoever calls, by which tracers find what runs inside."""
    settings: Any = None
    """What the caller's config says under `NAME`."""
    context: Any = None
    """The `Runtime.context` of the graph around."""

    def config(self, run: str) -> RunnableConfig:
        """Make a config that names the thread of a run, and nothing else."""
        return {"configurable": {"thread_id": thread_of(self.owner, run), "checkpoint_ns": ""}}

    def inner_config(self) -> RunnableConfig:
        """Make the config of what runs inside the chat model: tokens stay out of outer streams."""
        config: RunnableConfig = {"tags": [NO_STREAM]}
        if self.callbacks is not None:
            config["callbacks"] = self.callbacks
        if self.thread:  # LangGraph keeps this key out of checkpoints
            config["metadata"] = {"thread_id": self.thread}
        return config

    def with_settings(self, config: RunnableConfig) -> RunnableConfig:
        """Give the config of a run with what the caller sets for it, and the context around."""
        if self.settings is not None:
            config = with_key(config, NAME, self.settings)
        if self.context is not None:
            config = with_key(config, RUNTIME, Runtime(context=self.context))
        return config


class ChatRun:
    """One run, as one call of the chat model sees it."""

    def __init__(
        self, id: str, home: RunHome, graph: RLMGraph, options: RunOptions, record: RunRecord
    ) -> None:
        """Make it; nothing is read or run.

        Args:
            id: of the run.
            home: where it is kept.
            graph: has the tools that are bound to the run.
            options: of this call.
            record: what is kept of the run.
        """
        self.id = id
        self.record = record
        self._home = home
        self._graph = graph.copy({"checkpointer": home.saver, "store": home.store})
        self._options = options

    async def refresh(self) -> None:
        """Read where the run stands."""
        self._state = await self._graph.aget_state(self._home.config(self.id))

    @property
    def values(self) -> RLMState:
        """The graph's state, as last read."""
        values: Any = self._state.values
        return values

    @property
    def form(self) -> Format | None:
        """The form that this call wants the answer to have."""
        return self._options.form

    @property
    def open(self) -> dict[str, Interrupt[Any]]:
        """The pauses that wait, by their digests."""
        return {pause_digest(pause.id): pause for pause in self._state.interrupts}

    @property
    def checkpoint(self) -> str:
        """The id of the newest checkpoint, as last read."""
        return str(self._state.config.get("configurable", {})["checkpoint_id"])

    @property
    def is_cut_off(self) -> bool:
        """Whether the run neither ended nor waits for anybody: its process died, or met an error.

        LangGraph's `next` leaves out what is done: it is empty where a process died between a
        step's results and their checkpoint. So the tasks are looked at.
        """
        return bool(self._state.tasks) and not self._state.interrupts

    async def work(self, given: Any) -> AsyncGenerator[Event]:
        """Continue until the run ends or pauses, and give its progress.

        Args:
            given: the input of a new run, a `Command` with answers, or None to continue where the
                run was cut off.
        """
        inner = self._home.inner_config()
        config: RunnableConfig = {
            **inner,
            **self._home.config(self.id),
            "metadata": {**inner.get("metadata", {}), **self.record.metadata},
        }
        config = self._home.with_settings(with_key(config, RUN_OPTIONS, self._options))
        stream: Any = self._graph.astream(given, config, stream_mode="custom", durability="sync")
        async with aclosing(stream) as events:
            async for event in events:
                if is_event(event):  # tools may write there too
                    yield event
        await self.refresh()

    def resume(self, answers: Mapping[str, Any]) -> Command[Any] | None:
        """Make the command that gives answers to the graph; None if the run waits for none of them.

        Args:
            answers: by the digests of their pauses.
        """
        waiting = self.open
        given = {
            waiting[digest].id: value_for_code(answer)
            for digest, answer in answers.items()
            if digest in waiting
        }
        return Command(resume=given) if given else None

    async def check_known(self, answers: Mapping[str, ToolMessage]) -> None:
        """Check that the run made every call that is answered; one may have been answered before.

        Raises:
            UnknownToolCallError: the run did not make one of them.
        """
        missing = set(answers) - set(self.open)
        if not missing:
            return
        async for saved in self._home.saver.alist(self._home.config(self.id)):
            missing -= {pause_digest(pause.id) for pause in pauses_among(saved)}
            if not missing:
                return
        raise unknown_calls([answers[digest].tool_call_id for digest in sorted(missing)])

    async def note(self, record: RunRecord) -> None:
        """Keep what a human is about to be shown."""
        self.record = record
        await write_note(self._home.saver, self._state.config, record)


async def saved_record(id: str, home: RunHome) -> RunRecord | None:
    """Read the record of a run; None where there is no such run."""
    saved = await home.saver.aget_tuple(home.config(id))
    return None if saved is None else record_of(saved)


def unknown_calls(ids: list[str]) -> UnknownToolCallError:
    """Make the error for tool calls that no run here made."""
    return UnknownToolCallError(
        f"No run here waits for the results of the tool calls {', '.join(ids)}: they were made for "
        "another key, with another checkpointer, or are expired. Ask anew, without these tool "
        "messages.",
        ids,
    )


Locks = weakref.WeakValueDictionary[tuple[int, str], asyncio.Lock]
_locks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Locks] = weakref.WeakKeyDictionary()


def lock_of(home: RunHome, run: str) -> asyncio.Lock:
    """Give the lock that a call holds while it continues a run.

    A second call with the same answers waits for it, and gets the reply of the first.
    """
    locks = _locks.setdefault(asyncio.get_running_loop(), Locks())
    return locks.setdefault((id(home.saver), thread_of(home.owner, run)), asyncio.Lock())
