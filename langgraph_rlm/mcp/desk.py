"""Desk: what the tools do with threads: ask, wait, answer, continue, read. Knows no MCP.

A run that nobody waits for is stopped after a while: a client that has died asks for nothing more.
When nothing has run for as long, interpreters that were kept for further questions are ended.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from langgraph_rlm.errors import ConfigurationError, ContextError, ThreadBusyError
from langgraph_rlm.history.answers import aanswer, to_continue
from langgraph_rlm.history.homes import rlms_in
from langgraph_rlm.hosting.pauses import Pause
from langgraph_rlm.hosting.questions import input_of
from langgraph_rlm.hosting.runs import Runs
from langgraph_rlm.hosting.sources import NOTHING_RUNS, Opened, Source
from langgraph_rlm.hosting.status import Status, status_of
from langgraph_rlm.log.places import handles_of, questions_of
from langgraph_rlm.mcp.counted import Counted
from langgraph_rlm.mcp.owners import is_owned, new_thread
from langgraph_rlm.mcp.results import Outcome, outcome_of
from langgraph_rlm.pregel.kept_answers import newest_of, ready_answers
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.reads import Reader

TICK = 0.25
"""Seconds between two looks at a run, and so between two notes of its progress."""

Tell = Callable[[Counted], Awaitable[None]]
"""Tells a client how far a run is. It raises where the client has gone."""


@dataclass(frozen=True)
class Material:
    """What a question is about."""

    paths: Sequence[Path] = ()
    """Files and folders that may be read."""
    text: str | None = None

    def stored(self, blobs: BlobStore) -> Any:
        """Store it, and give it as an RLM takes it; None for nothing. Blocks."""
        handles: dict[str, ContextHandle] = {}
        if self.paths:
            several = [*self.paths]
            handles["files"] = ingest(several if len(several) > 1 else several[0], blobs)
        if self.text:
            handles["text"] = ingest(self.text, blobs)
        if len(handles) == 1:
            return next(iter(handles.values()))
        return handles or None


class Desk:
    """The threads of one source that clients have asked for."""

    def __init__(self, source: Source, *, abandoned_seconds: float, max_runs: int) -> None:
        """Take a source, on the event loop that serves."""
        self._source = source
        self._saver = source.saver
        self._runs = Runs(source.saver)
        self._abandoned_seconds = abandoned_seconds
        self._max_runs = max_runs
        self._counted: dict[str, Counted] = {}
        self._starting = set[str]()
        self._waiters = Counter[str]()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._ending = set[asyncio.Task[None]]()
        self._graphs: dict[int, Any] = {}
        self.left = set[str]()
        """Pauses that a person was asked about and has left open."""

    # Asking

    async def ask(self, owner: str, question: str, material: Material) -> str:
        """Start a question on a new thread, and give its id."""
        thread = new_thread(owner)
        await self._begin(thread, _runs(self._source.opened(None)), question, material)
        return thread

    async def follow_up(self, owner: str, thread: str, question: str, material: Material) -> None:
        """Start a further question on a thread."""
        opened = await self._opened(owner, thread)
        await self._runs.check_free(thread)
        if (await status_of(opened.graph, thread)).state != "done":
            raise ThreadBusyError(
                f"Thread {thread!r} has a question that is not answered yet: call resume first."
            )
        await self._begin(thread, opened, question, material)

    async def _begin(self, thread: str, opened: Opened, question: str, material: Material) -> None:
        if not question.strip():
            raise ContextError("The question is empty: say what to ask.")
        context = await asyncio.to_thread(material.stored, opened.blobs)
        await self._start(thread, opened, input_of(opened.graph, question, context))

    async def _start(self, thread: str, opened: Opened, given: Any) -> None:
        self._counted = {
            each: counted
            for each, counted in self._counted.items()
            if self._runs.is_here(each) or each in self._starting
        }
        if len(self._counted) >= self._max_runs:
            raise ThreadBusyError(
                f"{self._max_runs} questions are being worked on here: ask again when one of "
                "them is done."
            )
        counted = Counted()
        self._counted[thread] = counted
        self._graphs[id(opened.graph)] = opened.graph
        self._starting.add(thread)
        try:
            await self._runs.start(thread, opened, given, on_event=counted.take)
            await self._runs.until_kept(thread, opened)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self._runs.stop(thread)
            raise
        finally:
            self._starting.discard(thread)

    # Waiting

    async def wait(self, thread: str, seconds: float, tell: Tell) -> None:
        """Wait until a run has ended or pauses, wherever it runs, or for some seconds."""
        end = time.monotonic() + seconds
        with self._waiting(thread):
            while await self._runs.is_running(thread) and (left := end - time.monotonic()) > 0:
                await tell(self._counted.get(thread, Counted()))
                is_ended = await self._runs.ended(thread, min(TICK, left))
                if is_ended and await self._runs.is_running(thread):
                    await asyncio.sleep(min(TICK, left))  # another process does not tell its end

    async def leave(self, thread: str) -> None:
        """Stop a run whose client has cancelled its request or gone, unless others wait for it."""
        if not self._waiters[thread]:
            await self._runs.stop(thread)

    @contextmanager
    def _waiting(self, thread: str) -> Generator[None]:
        self._waiters[thread] += 1
        timer = self._timers.pop(thread, None)
        if timer is not None:
            timer.cancel()
        try:
            yield
        finally:
            self._waiters[thread] -= 1
            if not self._waiters[thread]:
                del self._waiters[thread]
                self._may_be_abandoned(thread)

    def _may_be_abandoned(self, thread: str) -> None:
        loop = asyncio.get_running_loop()
        self._timers[thread] = loop.call_later(self._abandoned_seconds, self._abandon, thread)

    def _abandon(self, thread: str) -> None:
        self._timers.pop(thread, None)
        task = asyncio.ensure_future(self._end(thread))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, thread: str) -> None:
        """Stop the run of a thread, and after the last one the interpreters that are kept."""
        await self._runs.stop(thread)
        if not self._timers and not self._waiters:
            for rlm in [rlm for graph in self._graphs.values() for rlm in rlms_in(graph)]:
                await asyncio.to_thread(rlm.rlm.sessions.release_idle)

    async def close(self) -> None:
        """Cancel all runs; they can be resumed."""
        for timer in self._timers.values():
            timer.cancel()
        await self._runs.close()

    # How a thread stands

    async def status(self, owner: str, thread: str) -> Status:
        """Read how a thread stands in the database."""
        opened = await self._opened(owner, thread)
        return await status_of(opened.graph, thread)

    async def pauses(self, owner: str, thread: str) -> Sequence[Pause]:
        """Give the calls of a thread that wait, and have no answer yet."""
        if await self._runs.is_running(thread):
            return ()
        kept = await ready_answers(self._saver, thread)
        status = await self.status(owner, thread)
        return [pause for pause in status.pauses if pause.id not in kept]

    async def outcome(self, owner: str, thread: str) -> Outcome:
        """Say how a thread stands, as clients are told."""
        opened = await self._opened(owner, thread)
        is_running = await self._runs.is_running(thread)
        status = await status_of(opened.graph, thread)
        contexts = await self._contexts(opened, thread)
        return outcome_of(status, is_running=is_running, contexts=contexts)

    def error(self, thread: str) -> str | None:
        """Say how the last run of a thread failed; None where it did not."""
        return self._runs.error(thread)

    # Continuing

    async def keep(self, owner: str, thread: str, answers: Mapping[str, Any], by: str) -> None:
        """Keep answers to calls that wait.

        Raises:
            ResumeError: see `aanswer`.
        """
        opened = await self._opened(owner, thread)
        await aanswer(opened.graph, _config(thread), answers, by=by)

    async def go_on(self, owner: str, thread: str) -> None:
        """Continue a thread, if there is something to continue and nobody runs it."""
        opened = await self._opened(owner, thread)
        if await self._runs.is_running(thread):
            return
        status = await status_of(opened.graph, thread)
        is_ready = status.state == "open" or await ready_answers(self._saver, thread)
        if status.state != "done" and is_ready:
            given = await to_continue(opened.graph, self._saver, thread)
            await self._start(thread, opened, given)

    # Reading

    async def reader(self, owner: str, thread: str, name: str) -> Reader:
        """Give a reader of one of a thread's contexts.

        Raises:
            ContextError: it has none of that name, or it has no text.
        """
        opened = await self._opened(owner, thread)
        contexts = await self._contexts(opened, thread)
        handle = contexts.get(name)
        if handle is None:
            names = ", ".join(contexts) or "none"
            raise ContextError(f"The thread has no context {name!r}. Its contexts are: {names}.")
        if handle.kind in MEDIA:
            raise ContextError(f"The context {name!r} is a picture or a sound, and has no text.")
        return Reader(handle, opened.blobs)

    async def _contexts(self, opened: Opened, thread: str) -> dict[str, ContextHandle]:
        state = await opened.graph.aget_state(_config(thread))
        return handles_of(questions_of(state.values.get("log") or {}))

    async def _opened(self, owner: str, thread: str) -> Opened:
        """Give the graph for a thread of an owner.

        Raises:
            ConfigurationError: the owner has no such thread, or nothing here can run it.
        """
        saved = await newest_of(self._saver, thread) if is_owned(thread, owner) else None
        if saved is None:
            raise ConfigurationError(
                f"There is no thread {thread!r}: give one that ask has given here."
            )
        return _runs(self._source.opened(saved))


def _config(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


def _runs(opened: Opened) -> Opened:
    if not opened.can_run:
        raise ConfigurationError(NOTHING_RUNS)
    return opened
