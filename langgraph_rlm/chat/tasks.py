"""Tasks: the LangGraph task that a chat model is called in, where there is one.

LangGraph runs a node again on every resume, from its top. So a run is named by its task and its
input, and found again; and a human's answers are counted. `interrupt` gives answers by the order of
its calls: those to earlier rounds are taken first, as many as the run's record says it had.
"""

import asyncio
import threading
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, NoReturn, TypeGuard

from cachetools import LRUCache, cached
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config
from langgraph.store.base import BaseStore

from langgraph_rlm.chat.approvals import (
    Pauses,
    answer_schema,
    checked_round,
    human_request,
    subject_of,
)
from langgraph_rlm.chat.ids import derived_run_id
from langgraph_rlm.errors import ResumeError
from langgraph_rlm.pregel.keys import CHECKPOINTER, RUNTIME, SCRATCHPAD
from langgraph_rlm.tools.asking import ask

KEPT_EXECUTIONS = 1024
"""Executions of tasks that are remembered. Far fewer are under way at a time."""


def _locks_by_loop() -> "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]":
    return weakref.WeakKeyDictionary()


@dataclass
class Execution:
    """One execution of a task: which runs its calls took, and how many answers each has used up."""

    scratchpad: Any
    """LangGraph's. It is held here so that no other scratchpad gets its `id()`."""
    taken: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Calls that returned or are under way: what each asks, and its number among those that ask the
    same."""
    used: dict[str, int] = field(default_factory=dict[str, int])
    """Rounds whose answers were taken, by the id of the run."""
    locks: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]" = field(
        default_factory=_locks_by_loop
    )
    """A lock for each event loop that calls are made on."""

    @property
    def lock(self) -> asyncio.Lock:
        """The lock that a call holds if it may pause.

        One at a time may, because `interrupt` gives answers by order.
        """
        return self.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


@cached(LRUCache[int, Execution](KEPT_EXECUTIONS), key=id, lock=threading.Lock())
def _execution_of(scratchpad: Any) -> Execution:
    """Give the execution that a scratchpad belongs to, always the same one."""
    return Execution(scratchpad)


@dataclass(frozen=True)
class Task:
    """The task around a call."""

    key: str
    """The same when LangGraph runs the task again."""
    saver: BaseCheckpointSaver[Any]
    """The outer graph's."""
    store: BaseStore | None
    """The outer graph's."""
    execution: Execution

    @contextmanager
    def run_for(self, asked: str) -> Generator[str]:
        """Give the id of a call's run, the same when LangGraph runs the task again.

        A second call that asks the same in one execution has a second run. A call that fails or
        pauses gives its run back, and a retry of it takes that up.

        Args:
            asked: digest of what the call asks.
        """
        taken = self.execution.taken
        number = next(number for number in count() if (asked, number) not in taken)
        taken.add((asked, number))
        try:
            yield derived_run_id(self.key, asked, str(number))
        except BaseException:
            taken.discard((asked, number))
            raise

    def used(self, run: str) -> int:
        """Count the answers that this execution has taken for a run."""
        return self.execution.used.get(run, 0)

    def ask(self, run: str, pauses: Pauses) -> NoReturn:
        """Pause the outer graph for a round that no human has seen yet.

        Raises:
            GraphInterrupt: always, unless there is an answer already.
            ResumeError: there is one, to what another run asked. It decides nothing.
        """
        given = self.answer(run, pauses)
        raise ResumeError(
            f"The answer {given!r} is to a question of another run than the one that now asks "
            f"about {subject_of(human_request(pauses))}: the node called the model with other "
            "messages than before (a time or a random id in them?), or its run is lost. Nothing "
            "was approved. Give the model the same messages when the node runs again, and ask the "
            "thread anew."
        )

    def answer(self, run: str, pauses: Pauses) -> Any:
        """Give the human's answer to the next round of a run.

        Args:
            run: the run's id.
            pauses: those of the round that still wait. Where none does, any answer is taken.

        Raises:
            GraphInterrupt: there is no answer yet: the outer graph pauses.
            ResumeError: the answer has the wrong form. The pause stays open.
        """
        schema = check = None
        if pauses:
            schema, check = answer_schema(pauses), partial(checked_round, pauses)
        given = ask(human_request(pauses), schema, check)
        self.execution.used[run] = self.used(run) + 1
        return given


def task_here() -> Task | None:
    """Give the task that the caller is in; None where there is no graph, or it has no checkpointer.

    Without a checkpointer, nobody could answer a pause of the graph.
    """
    try:
        configurable = get_config().get("configurable") or {}
    except RuntimeError:
        return None
    saver = configurable.get(CHECKPOINTER)
    scratchpad = configurable.get(SCRATCHPAD)
    if scratchpad is None or not _is_saver(saver):
        return None
    key = derived_run_id(str(configurable.get("thread_id")), str(configurable.get("checkpoint_ns")))
    store = getattr(configurable.get(RUNTIME), "store", None)
    return Task(key, saver, store, _execution_of(scratchpad))


def _is_saver(value: object) -> TypeGuard[BaseCheckpointSaver[Any]]:
    return isinstance(value, BaseCheckpointSaver)
