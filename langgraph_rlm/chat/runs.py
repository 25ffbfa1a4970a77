"""Runs: one run of the loop on its own thread: begun, found again, gone on with. Knows pauses, not who is asked about them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore
from langgraph.types import Command, Interrupt

from langgraph_rlm.chat.ids import pause_digest, thread_of
from langgraph_rlm.chat.run_records import Record, note, record_of
from langgraph_rlm.errors import UnknownToolCallError
from langgraph_rlm.pregel.keys import NO_STREAM, pauses_among
from langgraph_rlm.progress import Event
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.runtime.run import RUN_OPTIONS, RunOptions
from langgraph_rlm.state import RLMState


@dataclass(frozen=True)
class RunHome:
    """Where runs of a chat model are kept, and what their configs inherit."""

    saver: BaseCheckpointSaver[Any]
    owner: str
    callbacks: Any = None
    store: BaseStore | None = None
    """The LangGraph store of their tools."""

    def config(self, run: str) -> RunnableConfig:
        """Of the run's thread alone."""
        return {"configurable": {"thread_id": thread_of(self.owner, run), "checkpoint_ns": ""}}


class ChatRun:
    """One run, as one call of the chat model sees it."""

    def __init__(
        self, id: str, home: RunHome, graph: RLMGraph, wanted: RunOptions, record: Record
    ) -> None:
        self.id = id
        self.record = record
        self._home = home
        self._graph = graph.copy({"checkpointer": home.saver, "store": home.store})
        self._wanted = wanted

    async def refresh(self) -> None:
        """Read where the run stands."""
        self._state = await self._graph.aget_state(self._home.config(self.id))

    @property
    def values(self) -> RLMState:
        """The graph's state."""
        return cast(RLMState, self._state.values)

    @property
    def open(self) -> dict[str, Interrupt[Any]]:
        """The pauses that wait, by their digest."""
        return {pause_digest(pause.id): pause for pause in self._state.interrupts}

    @property
    def is_cut_off(self) -> bool:
        """It neither ended nor waits for anybody: whoever ran it died, or met an error.

        LangGraph's `next` leaves out what is done: it is empty where a process died between a step's results and their checkpoint.
        """
        return bool(self._state.tasks) and not self._state.interrupts

    async def work(self, given: Any) -> AsyncIterator[Event]:
        """Go on until the run ends or pauses; its progress.

        Args:
            given: the input of a new run, a `Command` with answers, or None to go on where it was cut off.
        """
        home = self._home
        config: RunnableConfig = {
            **home.config(self.id),
            "tags": [NO_STREAM],
            "metadata": self.record.metadata,
        }
        config["configurable"] = {**config.get("configurable", {}), RUN_OPTIONS: self._wanted}
        if home.callbacks is not None:
            config["callbacks"] = home.callbacks
        async with aclosing(
            cast(Any, self._graph.astream(given, config, stream_mode="custom", durability="sync"))
        ) as events:
            async for event in events:
                yield cast(Event, event)
        await self.refresh()

    def resume(self, answers: Mapping[str, Any]) -> Command[Any] | None:
        """Answers by the digest of their pause as the graph takes them; None if none of them is waited for."""
        waiting = self.open
        given = {
            waiting[digest].id: _result(answer)
            for digest, answer in answers.items()
            if digest in waiting
        }
        return Command(resume=given) if given else None

    async def check_known(self, answers: Mapping[str, ToolMessage]) -> None:
        """That every answer is to a call that this run made: one that waits, or one that was answered before.

        Raises:
            UnknownToolCallError: one is not.
        """
        gone = set(answers) - set(self.open)
        if not gone:
            return
        async for saved in self._home.saver.alist(self._home.config(self.id)):
            gone -= {pause_digest(pause.id) for pause in pauses_among(saved)}
            if not gone:
                return
        raise unknown([answers[digest].tool_call_id for digest in sorted(gone)])

    async def note(self, record: Record) -> None:
        """Keep what is about to be shown to a human."""
        self.record = record
        await note(self._home.saver, self._state.config, record)


def _result(answer: Any) -> Any:
    """What code gets of a tool message: its text; an error where it says so. Other answers as they are."""
    if not isinstance(answer, ToolMessage) or answer.status == "error":
        return answer
    content = cast(Any, answer.content)
    is_text = isinstance(content, str) or all(
        isinstance(block, str) or block.get("type") == "text" for block in content
    )
    return str(answer.text) if is_text else content


async def find(id: str, home: RunHome) -> Record | None:
    """The record of a run; None where there is no such run."""
    saved = await home.saver.aget_tuple(home.config(id))
    return None if saved is None else record_of(saved)


def unknown(ids: list[str]) -> UnknownToolCallError:
    """The error for calls that nobody here made."""
    return UnknownToolCallError(
        f"No run here waits for the results of the tool calls {', '.join(ids)}: they were made for another key, with another "
        "checkpointer, or are expired. Ask anew, without these tool messages.",
        ids,
    )
