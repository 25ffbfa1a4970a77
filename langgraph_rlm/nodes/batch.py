"""Batch: answer the items of one batch of `llm_query`s, and save each answer when it comes.

A batch is one task of the graph: LangGraph looks at every open task whenever one of them ends, so
ten thousand tasks would cost a hundred times what a thousand do.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.budget.limits import StopReason
from langgraph_rlm.log.entries import Log
from langgraph_rlm.log.stamps import stamp
from langgraph_rlm.nodes.answering import Answering
from langgraph_rlm.nodes.events import answered_items
from langgraph_rlm.pregel.early_writes import EarlyWrites, Saved
from langgraph_rlm.pregel.keys import CHECKPOINTER, saves_at_once
from langgraph_rlm.pregel.savers import EarlySaver
from langgraph_rlm.runtime.run import frame_of
from langgraph_rlm.state import PendingCall, RLMUpdate, place_of, waiting_items


class Batch:
    """The batch of one task."""

    def __init__(self, answering: Answering, call: PendingCall, config: RunnableConfig) -> None:
        self._answering = answering
        self._call = call
        self._config = config
        self._run = frame_of(config).run
        self._asked = time.monotonic()
        self._log: Log = {}
        self._limit: StopReason | None = None
        saver = config.get("configurable", {}).get(CHECKPOINTER)
        self._early: EarlyWrites | None = None
        if isinstance(saver, EarlySaver) and saves_at_once(config):
            self._early = EarlyWrites(saver, config, "log")

    async def answered(self) -> RLMUpdate:
        """Answer every item that no earlier execution of the task has answered.

        Raises what an item raises; the others are cancelled, and what has come is saved.
        """
        await self._find()
        try:
            await self._ask(self._waiting())
        finally:
            if self._early is not None:
                await self._early.settled()
        log = self._log if self._early is None else Saved(self._log)
        update = RLMUpdate(log=log)
        if self._limit is not None:
            update["limit"] = self._limit
        return update

    async def _find(self) -> None:
        """Take up the answers of an earlier execution. A call that this process has asked has
        none."""
        call, run = self._call, self._run
        if run.has_reserved(call["parent"], call["place"]):
            return
        if self._early is not None:
            found = await self._early.found()
            self._log |= found
            self._limit = found.beside.get("limit")
        waiting = self._waiting()
        for _ in waiting:
            run.ledger.take_over_sub_call()
        run.count_items(call["parent"], call["place"], call["total"] - len(waiting))

    def _waiting(self) -> list[int]:
        """The numbers of the items that have no answer."""
        call = self._call
        return [each for each in waiting_items(call) if place_of(call, each) not in self._log]

    async def _ask(self, numbers: Sequence[int]) -> None:
        """Ask as many items at a time as the run has slots."""
        left, slots = iter(numbers), self._run.rlm.limits.max_concurrency
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(slots, len(numbers))):
                    group.create_task(self._work_on(left))
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from failed.exceptions[0].__cause__

    async def _work_on(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            async with self._run.slots:
                answer = await self._answering.answer(self._call, number, self._config, self._asked)
            place, limit = place_of(self._call, number), answer.limit
            self._log |= stamp({place: answer.entry}, self._run.id)
            self._limit = self._limit or limit
            if self._early is not None:
                self._early.add(place, answer.entry, {} if limit is None else {"limit": limit})
            answered_items(self._run, self._call, self._call["place"])
