"""Tasks: the LangGraph task that a chat model is called in, where there is one. LangGraph runs a node again on every resume, from its
top; so a run is named by its task and its input and found again, and a human's answers are counted.

`interrupt` gives answers by the order of its calls: the answers to earlier rounds are taken first, as many as the run says it had.
"""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NoReturn, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.config import get_config
from langgraph.store.base import BaseStore
from langgraph.types import Interrupt, interrupt
from pydantic import ValidationError

from langgraph_rlm.chat.approvals import answer_type, called, request_of
from langgraph_rlm.chat.ids import derived_run
from langgraph_rlm.errors import ResumeError
from langgraph_rlm.pregel.keys import CHECKPOINTER, RUNTIME, SCRATCHPAD

REMEMBERED = 1024
"""Executions of tasks that are remembered; those that are under way are few."""


@dataclass
class Execution:
    """One execution of a task: which runs its calls took, and how many answers each has used up."""

    scratchpad: Any
    """LangGraph's, held so that its id stays its own."""
    taken: set[tuple[str, int]] = field(default_factory=set[tuple[str, int]])
    """Calls that returned or are under way: what they asked, and which of several that ask the same each is."""
    used: dict[str, int] = field(default_factory=dict[str, int])
    """Rounds whose answers were taken, by run."""
    locks: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]" = field(
        default_factory=lambda: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()
    )

    @property
    def lock(self) -> asyncio.Lock:
        """Held by a call that may pause, so that only one at a time does: `interrupt` counts by order."""
        return self.locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())


_executions: OrderedDict[int, Execution] = OrderedDict()


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
    def run_of(self, wanted: str) -> Generator[str]:
        """The run of a call, the same when the task is run again: of a second call with the same input, the second.

        A call that fails or pauses gives its run back: a retry of it takes it up.
        """
        number = next(number for number in count() if (wanted, number) not in self.execution.taken)
        self.execution.taken.add((wanted, number))
        try:
            yield derived_run(self.key, wanted, str(number))
        except BaseException:
            self.execution.taken.discard((wanted, number))
            raise

    def used(self, run: str) -> int:
        """How many answers this execution has taken for a run."""
        return self.execution.used.get(run, 0)

    def ask(self, run: str, pauses: Mapping[str, Interrupt[Any]]) -> NoReturn:
        """Pause the outer graph for a round that no human has seen yet.

        Raises:
            GraphInterrupt: always, unless there is an answer already.
            ResumeError: there is: to what another run asked. Nothing is decided by it.
        """
        given = self.answer(run, pauses)
        raise ResumeError(
            f"The answer {given!r} is to a question of another run than the one that now asks about {called(request_of(pauses))}: the node "
            "called the model with other messages than before (a time or a random id in them?), or its run is lost. Nothing was approved. "
            "Give the model the same messages when the node runs again, and ask the thread anew."
        )

    def answer(self, run: str, pauses: Mapping[str, Interrupt[Any]]) -> Any:
        """The human's answer to the next round of a run.

        Raises:
            GraphInterrupt: there is none yet: the outer graph pauses.
            ResumeError: it has the wrong form; the pause stays open.
        """
        try:
            given = interrupt(
                request_of(pauses),
                response_schema=cast(Any, answer_type(pauses) if pauses else None),
            )
        except ValidationError as error:
            raise ResumeError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        self.execution.used[run] = self.used(run) + 1
        return given


def task_here() -> Task | None:
    """The task that the caller is in, if its graph has a checkpointer: else nobody could answer it."""
    try:
        configurable = get_config().get("configurable") or {}
    except RuntimeError:
        return None
    saver, scratchpad = configurable.get(CHECKPOINTER), configurable.get(SCRATCHPAD)
    if scratchpad is None or not isinstance(saver, BaseCheckpointSaver):
        return None
    execution = _executions.get(id(scratchpad))
    if execution is None:
        execution = _executions[id(scratchpad)] = Execution(scratchpad)
        while len(_executions) > REMEMBERED:
            _executions.popitem(last=False)
    key = derived_run(str(configurable.get("thread_id")), str(configurable.get("checkpoint_ns")))
    runtime = configurable.get(RUNTIME)
    store = cast("BaseStore | None", getattr(runtime, "store", None))
    return Task(key, cast(BaseCheckpointSaver[Any], saver), store, execution)
