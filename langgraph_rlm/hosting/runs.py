"""Runs: those that a process has started for others, as tasks of it. Never reads a request.

A run holds its thread's lease, so that one process at a time runs a thread. What a cancelled run
has done is in the database: it can be continued, here or elsewhere.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

from langgraph_rlm.errors import RLMError, ThreadBusyError
from langgraph_rlm.history.answers import to_continue
from langgraph_rlm.hosting.events import parts_of
from langgraph_rlm.hosting.secrets import without_secrets
from langgraph_rlm.hosting.sources import Opened, Saver
from langgraph_rlm.pregel.kept_answers import newest_of, ready_answers
from langgraph_rlm.pregel.leases import Database, Held, database_of, holds, is_leased, lease
from langgraph_rlm.progress import Event, is_event
from langgraph_rlm.rlm_graph import RLMGraph

LOG = logging.getLogger("langgraph_rlm.hosting")

OnEvent = Callable[[Event], None]
"""Takes the progress of all RLMs of a run, as it happens."""
LOOK = 0.01
"""Seconds between two looks whether a run has begun."""
AGAIN = 0.5
"""Seconds between two tries to take up answers on a thread that runs elsewhere."""
INPUT, FIRST_STEP = -1, 1
"""Numbers of steps, as LangGraph's checkpoints count them: the input's, and the first node's."""
MOST_ERRORS = 1000
ERROR_CHARS = 2000


class Runs:
    """The runs of this process, by their threads."""

    def __init__(self, saver: Saver) -> None:
        """Take the checkpointer of all threads."""
        self._saver = saver
        self._database: Database | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._errors: dict[str, str] = {}

    def is_here(self, thread: str) -> bool:
        """Whether a run of a thread is one of this process's tasks."""
        return thread in self._tasks

    def error(self, thread: str) -> str | None:
        """Say how the last run of a thread failed; None where it did not."""
        return self._errors.get(thread)

    async def database(self) -> Database:
        """Give the database, which leases are taken on."""
        if self._database is None:
            self._database = await database_of(self._saver)
        return self._database

    async def is_running(self, thread: str) -> bool:
        """Whether a thread runs, here or in a process that can be seen."""
        return self.is_here(thread) or await is_leased(await self.database(), thread)

    async def check_free(self, thread: str) -> None:
        """Refuse a thread that runs, here or in a process that can be seen.

        Raises:
            ThreadBusyError: it does.
        """
        if await self.is_running(thread):
            raise ThreadBusyError(f"Thread {thread!r} is running: stop it, or wait for its end.")

    async def start(
        self,
        thread: str,
        opened: Opened,
        given: Any,
        by: str | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        """Start a run, and wait until it has its thread.

        Args:
            thread: its id.
            opened: the graph that runs it.
            given: the graph's input; None continues.
            by: who asked for it.
            on_event: is told of its progress.

        Raises:
            ThreadBusyError: somebody else runs the thread.
            RLMError: what ended the run before it had its thread.
        """
        await self.check_free(thread)
        database = await self.database()
        config = _config(thread, opened, by)
        task = self._spawn(thread, self._run(thread, opened, given, config, on_event))
        while not task.done() and not holds(database, thread):  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(LOOK)
        if task.done() and isinstance(task.exception(), RLMError):
            await task

    async def until_kept(self, thread: str, opened: Opened) -> None:
        """Wait until a run that has begun is in the database, so that it can be looked at: of an
        RLM its first step, since before that there is the input alone."""
        first = FIRST_STEP if isinstance(opened.graph, RLMGraph) else INPUT
        while self.is_here(thread):
            saved = await newest_of(self._saver, thread)
            if saved is not None and saved.metadata.get("step", INPUT) >= first:
                return
            await asyncio.sleep(LOOK)  # LangGraph does not tell when it has saved a step

    async def take_up(
        self, thread: str, opened: Opened, by: str | None = None, on_event: OnEvent | None = None
    ) -> None:
        """Continue a thread with the answers that are kept for it, as soon as nobody runs it."""
        if not self.is_here(thread):  # a run that is here looks for answers when it pauses
            config = _config(thread, opened, by)
            self._spawn(thread, self._take_up(thread, opened, config, on_event))

    async def ended(self, thread: str, seconds: float | None = None) -> bool:
        """Wait for the end of a run that is here, or that it pauses. Cancelling the wait leaves the
        run as it is.

        Args:
            thread: its id.
            seconds: the most to wait; None for as long as it takes.

        Returns:
            Whether nothing of the thread runs here any more.
        """
        task = self._tasks.get(thread)
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)
        return not self.is_here(thread)

    async def stop(self, thread: str) -> bool:
        """Cancel the run of a thread, and wait for its end. False where it is not here."""
        task = self._tasks.get(thread)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait({task})
        return True

    async def close(self) -> None:
        """Cancel all runs, and wait for their ends."""
        for thread in [*self._tasks]:
            await self.stop(thread)

    def _spawn(self, thread: str, work: Any) -> asyncio.Task[None]:
        self._errors.pop(thread, None)
        task = asyncio.create_task(work)
        self._tasks[thread] = task
        task.add_done_callback(lambda ended: self._ended(thread, ended))
        return task

    def _ended(self, thread: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(thread, None)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if not isinstance(error, RLMError):
            LOG.error("A run of thread %r failed", thread, exc_info=error)
        self._errors[thread] = told(error)
        for oldest in [*self._errors][:-MOST_ERRORS]:
            del self._errors[oldest]

    async def _take_up(
        self, thread: str, opened: Opened, config: Any, on_event: OnEvent | None
    ) -> None:
        database = await self.database()
        while await is_leased(database, thread):  # noqa: ASYNC110 - another process does not tell
            await asyncio.sleep(AGAIN)
        if await ready_answers(self._saver, thread):
            given = await to_continue(opened.graph, self._saver, thread)
            await self._run(thread, opened, given, config, on_event)

    async def _run(
        self, thread: str, opened: Opened, given: Any, config: Any, on_event: OnEvent | None
    ) -> None:
        """Run until the thread ends, or pauses without an answer that is kept."""
        graph, held = opened.graph, None
        async with AsyncExitStack() as until_done:
            if not isinstance(graph, RLMGraph):  # an RLM takes its thread itself
                taken = lease(await self.database(), thread)
                held = await until_done.enter_async_context(taken)
            await _follow(graph, given, config, on_event, held)
            while await ready_answers(self._saver, thread):
                given = await to_continue(graph, self._saver, thread)
                await _follow(graph, given, config, on_event, held)


async def _follow(
    graph: Any, given: Any, config: Any, on_event: OnEvent | None, held: Held | None
) -> None:
    async with aclosing(parts_of(graph, given, config)) as parts:
        async for mode, part in parts if held is None else held.guarded(parts):
            if on_event is not None and mode == "custom" and is_event(part):
                on_event(part)


def _config(thread: str, opened: Opened, by: str | None) -> dict[str, Any]:
    configurable = {"thread_id": thread}
    if by is not None:
        configurable["user_id"] = by
    return {"configurable": configurable, "metadata": {**opened.metadata}}


def told(error: BaseException) -> str:
    """Say what went wrong, without anything secret."""
    text = str(error) if isinstance(error, RLMError) else f"{type(error).__name__}: {error}"
    return without_secrets(text)[:ERROR_CHARS]
