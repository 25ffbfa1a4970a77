"""Desk: what the page's server does with threads: reads, answers, asks, forks. Knows no HTTP."""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph.checkpoint.base import CheckpointTuple

from langgraph_rlm.errors import AnsweredError, ResumeError
from langgraph_rlm.history.answers import aanswer, to_continue
from langgraph_rlm.history.fork import afork
from langgraph_rlm.history.threads import Thread
from langgraph_rlm.hosting.questions import input_of
from langgraph_rlm.hosting.runs import Runs
from langgraph_rlm.hosting.sources import NOTHING_RUNS, Opened, Saver, Source
from langgraph_rlm.pregel.databases import Mark, Rows, rows_of
from langgraph_rlm.pregel.kept_answers import KeptAnswer, kept_in, newest_of, ready_answers
from langgraph_rlm.pregel.keys import open_pauses
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.approvals import tool_of_review
from langgraph_rlm.trace.follow import Follower
from langgraph_rlm.ui.feeds import Feed, Feeds

LISTED = 2.0
"""Seconds for which a list of threads is given again: to make one reads the whole database."""


class Desk:
    """The threads of one source."""

    def __init__(self, source: Source) -> None:
        """Take a source, on the event loop that serves."""
        self._source = source
        self._saver = source.saver
        self.runs = Runs(source.saver)
        self.feeds = Feeds(self._feed)
        self._listing = asyncio.Lock()
        self._listed: tuple[float, Sequence[Thread]] = (0.0, ())

    # Reading

    async def threads(self) -> Sequence[Thread]:
        """List the threads, the newest first."""
        async with self._listing:
            then, listed = self._listed
            if not then or time.monotonic() - then > LISTED:
                listed = await self._source.threads()
                self._listed = (time.monotonic(), listed)
            return listed

    def can_begin(self) -> bool:
        """Whether a new thread can be begun here."""
        return self._source.opened(None).can_run

    async def opened(self, thread: str) -> Opened:
        """Give the graph for a thread.

        Raises:
            Refused: there is no such thread.
        """
        saved = await self._newest(thread)
        return self._source.opened(saved)

    async def _newest(self, thread: str) -> CheckpointTuple:
        saved = await newest_of(self._saver, thread)
        if saved is None:
            raise Refused(404, f"There is no thread {thread!r}.")
        return saved

    async def _feed(self, thread: str, checkpoint: str | None) -> Feed:
        opened = await self.opened(thread)
        kept = _Kept(self._saver, await rows_of(self._saver), thread)

        async def is_running() -> bool:
            return await self.runs.is_running(thread)

        async def standing(state: str) -> Mapping[str, Any]:
            answers: Mapping[str, Any] = {}
            if state != "done":
                answers = await kept.answers()
            return self._standing(thread, opened, state, answers)

        config = _config(thread, checkpoint)
        follower = Follower(opened.reads, config, blob_store=opened.blobs, is_running=is_running)
        return Feed(follower, standing)

    def _standing(
        self, thread: str, opened: Opened, state: str, answers: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Say how a thread stands beside its records."""
        told: dict[str, Any] = {
            "state": state,
            "here": self.runs.is_here(thread),
            "can_run": opened.can_run,
            "answers": answers,
        }
        error = self.runs.error(thread)
        if error is not None:
            told["error"] = error
        return told

    # Acting

    async def answer(self, thread: str, answers: Mapping[str, Any], by: str | None) -> bool:
        """Keep answers to pauses, and continue the thread if it can be run here.

        Returns:
            Whether this process continues it; else another one has to.

        Raises:
            Refused: there is no such thread.
            ResumeError: see `aanswer`.
        """
        saved = await self._newest(thread)
        opened = self._source.opened(saved)
        pauses = open_pauses(saved)
        if not answers:
            raise ResumeError("Give an answer: {interrupt id: decision}.")
        given = {
            id: _langchains(pauses[id].value, answer) if id in pauses else answer
            for id, answer in answers.items()
        }
        if gone := sorted(set(given) - set(pauses)):
            raise AnsweredError(f"No call waits under {', '.join(gone)}: answered already?")
        await aanswer(opened.graph or self._saver, _config(thread), given, by=by)
        if opened.can_run:
            await self.runs.take_up(thread, opened, by)
        return opened.can_run

    async def ask(self, thread: str | None, question: str, by: str | None) -> str:
        """Ask a question, on a new thread if none is given.

        Returns:
            The thread.

        Raises:
            Refused: there is no such thread, or it has an unfinished run.
        """
        if thread is None:
            opened = _runs(self._source.opened(None))
            thread = uuid.uuid4().hex[:12]
            self._listed = (0.0, ())
        else:
            opened = _runs(await self.opened(thread))
            state = await opened.graph.aget_state(_config(thread))
            await self.runs.check_free(thread)
            if state.tasks:
                raise Refused(
                    409, f"Thread {thread!r} has an unfinished run: continue or answer it first."
                )
        await self.runs.start(thread, opened, input_of(opened.graph, question), by)
        await self.runs.until_kept(thread, opened)
        return thread

    async def fork(
        self, thread: str, checkpoint: str | None, place: str, value: Any, by: str | None
    ) -> str:
        """Edit an entry of the log and run on from there.

        Returns:
            The first checkpoint of the new branch.

        Raises:
            ForkError: see `fork`.
        """
        opened = _runs(await self.opened(thread))
        await self.runs.check_free(thread)
        forked = await afork(opened.graph, _config(thread, checkpoint), place, value)
        await self.runs.start(thread, opened, None, by)
        return str(forked.get("configurable", {})["checkpoint_id"])

    async def go_on(self, thread: str, by: str | None) -> None:
        """Continue an unfinished run.

        Raises:
            Refused: there is nothing to continue, or it waits for answers.
        """
        opened = _runs(await self.opened(thread))
        await self.runs.check_free(thread)
        state = await opened.graph.aget_state(_config(thread))
        if not state.tasks:
            raise Refused(409, f"Thread {thread!r} has nothing to continue.")
        waits = all(task.interrupts or task.result is not None for task in state.tasks)
        if state.interrupts and waits and not await ready_answers(self._saver, thread):
            raise Refused(409, f"Thread {thread!r} waits for answers.")
        given = await to_continue(opened.graph, self._saver, thread)
        await self.runs.start(thread, opened, given, by)

    async def stop(self, thread: str) -> None:
        """Cancel the run of a thread.

        Raises:
            Refused: it is not one of this process.
        """
        await self._newest(thread)
        if not await self.runs.stop(thread):
            raise Refused(
                409, f"No run of thread {thread!r} is in this process: stop it where it runs."
            )

    async def close(self) -> None:
        """Cancel all runs; they can be continued."""
        await self.runs.close()


class _Kept:
    """The answers that are kept for a thread, read anew only when the thread has more rows."""

    def __init__(self, saver: Saver, rows: Rows, thread: str) -> None:
        self._saver = saver
        self._rows = rows
        self._thread = thread
        self._mark: Mark | None = None
        self._answers: Mapping[str, Any] = {}

    async def answers(self) -> Mapping[str, Any]:
        """Give what the page shows of each, by the ids of their pauses."""
        mark = await self._rows.mark(self._thread)
        if mark != self._mark:
            saved = await newest_of(self._saver, self._thread)
            kept = {} if saved is None else kept_in(saved)
            self._answers = {id: _shown(each) for id, each in kept.items()}
            self._mark = mark
        return self._answers


def _config(thread: str, checkpoint: str | None = None) -> Any:
    configurable = {"thread_id": thread}
    if checkpoint is not None:
        configurable["checkpoint_id"] = checkpoint
    return {"configurable": configurable}


def _runs(opened: Opened) -> Opened:
    if not opened.can_run:
        raise Refused(409, NOTHING_RUNS)
    return opened


def _shown(kept: KeptAnswer) -> dict[str, Any]:
    """Say of a kept answer what the page shows."""
    told: dict[str, Any] = {"type": "result", "at": kept.at}
    if is_dict(kept.answer):
        told["type"] = str(kept.answer.get("type", "result"))
    if kept.by is not None:
        told["by"] = kept.by
    if kept.refused is not None:
        told["refused"] = kept.refused
    return told


def _langchains(value: Any, answer: Any) -> Any:
    """Translate the page's words for a decision into those that a pause takes."""
    if not is_dict(answer):
        return answer
    tool = tool_of_review(value)
    if tool is None:
        is_result = answer.keys() == {"type", "result"} and answer["type"] == "result"
        return answer["result"] if is_result else answer
    if answer.get("type") == "edit" and answer.keys() == {"type", "args"}:
        return {"type": "edit", "edited_action": {"name": tool, "args": answer["args"]}}
    return answer
