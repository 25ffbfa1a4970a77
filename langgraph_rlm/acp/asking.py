"""Asking: one prompt of a session, from its start until its answer, a stop or an open call."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from langgraph_rlm.acp.ends import ended, file_blocks
from langgraph_rlm.acp.permissions import Answer, asked, can_be_asked, why_not
from langgraph_rlm.acp.sdk import RequestError, acp, schema
from langgraph_rlm.acp.sessions import Session
from langgraph_rlm.acp.shown import Shower, Update, message, thoughts
from langgraph_rlm.chat.reply_files import blocks_of
from langgraph_rlm.errors import AnsweredError
from langgraph_rlm.history.answers import aanswer, to_continue
from langgraph_rlm.hosting.pauses import Pause
from langgraph_rlm.hosting.runs import Runs
from langgraph_rlm.hosting.sources import Opened, Saver
from langgraph_rlm.hosting.status import Status, status_of
from langgraph_rlm.pregel.kept_answers import ready_answers
from langgraph_rlm.trace.follow import Follower

LOOK = 0.2
"""Seconds between two looks at a thread that works."""
SHARE = 4
"""A look is followed by at least this many times the time that it took: a thread with 10,000 calls
is read anew at each."""

NOTHING = "There is nothing to continue: the last question has its answer."
SET_ASIDE = "The question before was not finished. It is set aside; this one is asked instead.\n\n"
STOPPED = (
    "Stopped. What is finished is kept: /continue goes on with it, and another prompt asks "
    "something else."
)
LEFT_OPEN = "The call still waits: /continue asks again, and another prompt drops it."


class Asking:
    """What answers the prompts of one session."""

    def __init__(
        self, client: acp.Client, session: Session, opened: Opened, runs: Runs, saver: Saver
    ) -> None:
        """Take the session, what runs its thread, and the client that is shown it."""
        self._client = client
        self._session = session
        marked = {**opened.metadata, **session.mark}
        self._opened = replace(opened, metadata=marked)
        self._runs = runs
        self._saver = saver

    async def ask(self, given: Any, by: str | None) -> schema.PromptResponse:
        """Ask a question.

        Args:
            given: the graph's input.
            by: who asks, and decides about calls.

        Raises:
            RequestError: the run has failed.
            ThreadBusyError: another process runs the thread.
        """
        before = await self.status()
        await self._catch_up(before)
        if before.state in ("open", "waiting"):
            await self._tell(thoughts(SET_ASIDE))
        await self._start(given, by)
        return await self._until_ended(before, by)

    async def go_on(self, by: str | None) -> schema.PromptResponse:
        """Continue what was stopped, or what waits. Raises as `ask` does."""
        before = await self.status()
        await self._catch_up(before)
        if before.state in ("none", "done"):
            await self._tell(message(NOTHING))
            return ended(before, "end_turn")
        if before.state == "open" or await ready_answers(self._saver, self._session.id):
            given = await to_continue(self._opened.graph, self._saver, self._session.id)
            await self._start(given, by)
        return await self._until_ended(before, by)

    async def stopped(self) -> schema.PromptResponse:
        """Stop the run, and say how its thread stands."""
        await self._runs.stop(self._session.id)
        status = await self.status()
        await self._look()
        await self._tell(self._shower.ended())
        if status.state in ("open", "waiting"):
            await self._tell(message(STOPPED))
        return ended(status, "cancelled")

    async def status(self) -> Status:
        """Read how the thread stands."""
        return await status_of(self._opened.graph, self._session.id)

    # Running

    async def _start(self, given: Any, by: str | None) -> None:
        await self._runs.start(self._session.id, self._opened, given, by)

    async def _until_ended(self, before: Status, by: str | None) -> schema.PromptResponse:
        """Show the run, and ask about the calls that wait, until nothing is to be done."""
        id = self._session.id
        while True:
            await self._show()
            status = await self.status()
            if status.state != "waiting":
                return await self._done(status, before)
            unasked = [pause for pause in status.pauses if not can_be_asked(pause)]
            if not await self._answer(status.pauses, by):
                await self._tell(self._shower.ended(await self._waiting(status.pauses)))
                if unasked:
                    await self._tell(message(why_not(unasked, id)))
                    return ended(status, "end_turn")
                await self._tell(message(LEFT_OPEN))
                return ended(status, "cancelled")
            await self._runs.take_up(id, self._opened, by)

    async def _answer(self, pauses: Sequence[Pause], by: str | None) -> bool:
        """Ask about each call, and keep the answers; tell whether there is one."""
        has_answer = False
        for pause in filter(can_be_asked, pauses):
            call = await self._call_of(pause)
            answer = await asked(pause, call, self._session.always, self._ask)
            if answer is not None:
                self._session.always |= answer.always
                await self._keep(pause, answer, by)
                has_answer = True
        return has_answer

    async def _keep(self, pause: Pause, answer: Answer, by: str | None) -> None:
        config: Any = {"configurable": {"thread_id": self._session.id}}
        try:
            await aanswer(self._opened.graph, config, {pause.id: answer.value}, by=by)
        except AnsweredError:  # somebody was faster, on the page: that answer counts
            return

    async def _ask(
        self, call: schema.ToolCallUpdate, options: list[schema.PermissionOption]
    ) -> schema.RequestPermissionResponse:
        return await self._client.request_permission(
            session_id=self._session.id, tool_call=call, options=options
        )

    async def _done(self, status: Status, before: Status) -> schema.PromptResponse:
        await self._tell(self._shower.ended())
        if (error := self._runs.error(self._session.id)) is not None:
            raise RequestError(-32603, error)
        await self._tell(message(status.answer))
        await self._give_files(status, before)
        return ended(status)

    async def _give_files(self, status: Status, before: Status) -> None:
        """Give the files that are new with this question; name those that are too large."""
        known = {(file["name"], file["digest"]) for file in before.files}
        files: list[Any] = [
            file for file in status.files if (file["name"], file["digest"]) not in known
        ]
        blocks = await asyncio.to_thread(blocks_of, files, self._opened.blobs)
        given = {block["extras"]["filename"] for block in blocks}
        for content in file_blocks(self._session.id, blocks):
            chunk = schema.AgentMessageChunk(session_update="agent_message_chunk", content=content)
            await self._tell([chunk])
        left = [f"`{file['name']}`" for file in files if file["name"] not in given]
        if left:
            how = f"`langgraph-rlm resume {self._session.id} --out DIR` saves them"
            await self._tell(message(f"\n\nToo large to show: {', '.join(left)}; {how}."))

    # Showing

    async def _show(self) -> None:
        """Show the run until it ends or waits."""
        loop = asyncio.get_running_loop()
        rest = LOOK
        while not await self._runs.ended(self._session.id, seconds=rest):
            began = loop.time()
            await self._look()
            rest = max(LOOK, SHARE * (loop.time() - began))
        await self._look()

    async def _look(self) -> None:
        follower = self._follower
        if not await follower.has_begun():
            return
        changes = await follower.changes()
        await self._tell(await asyncio.to_thread(self._shower.new, changes.records))

    async def _catch_up(self, status: Status) -> None:
        """Take what the thread has already as shown."""
        if status.state != "none" and await self._follower.has_begun():
            changes = await self._follower.changes()
            await asyncio.to_thread(self._shower.new, changes.records)

    async def _tell(self, updates: Sequence[Update]) -> None:
        for update in updates:
            await self._client.session_update(session_id=self._session.id, update=update)

    async def _call_of(self, pause: Pause) -> str:
        """Give the id by which the client knows a call that waits."""
        trace = self._follower.last if await self._follower.has_begun() else None
        for record in () if trace is None else trace.records:
            if record["type"] == "pause" and record["interrupt"] == pause.id:
                return self._shower.call_of(record["rlm"], record.get("place", ""))
        return pause.id

    async def _waiting(self, pauses: Sequence[Pause]) -> list[str]:
        return [await self._call_of(pause) for pause in pauses]

    @property
    def _follower(self) -> Follower:
        session = self._session
        if session.follower is None:
            session.follower = follower_of(session.id, self._opened)
        return session.follower

    @property
    def _shower(self) -> Shower:
        session, follower = self._session, self._follower
        if session.shower is None:
            session.shower = Shower(lambda digest: follower.last.text(digest))
        return session.shower


def follower_of(thread: str, opened: Opened) -> Follower:
    """Make what reads a thread as it works.

    It takes the thread as running: a trace of one that rests also says how much of its contexts
    was seen, which takes seconds, and nobody is shown it.
    """
    config: Any = {"configurable": {"thread_id": thread}}
    return Follower(opened.reads, config, blob_store=opened.blobs, is_running=lambda: True)
