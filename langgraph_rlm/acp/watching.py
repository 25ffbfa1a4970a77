"""Watching: shows a client what a thread does, as it does it. Runs nothing.

What is shown is read from the thread, as when it is loaded. To read it costs the more the longer it
is, so that it is read when an event says that there is something new; how far a batch of sub-calls
is, is in the events themselves.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from langgraph_rlm.acp.shown import Shower, Update
from langgraph_rlm.hosting.pauses import Pause
from langgraph_rlm.hosting.sources import Opened
from langgraph_rlm.progress import Event
from langgraph_rlm.trace.follow import Follower

TICK = 0.2
"""Seconds between two looks whether there is something new."""
LOOKS = 2
"""Looks after an event: what it tells of may be in the database only a moment later."""
REST, SHARE = 2.0, 20
"""A look without an event comes after this many seconds, and this many times what the last one
took: with 10,000 calls that is seconds."""

Tell = Callable[[Sequence[Update]], Awaitable[None]]
"""Sends updates to the client."""


async def _always() -> bool:
    return True


class Watch:
    """What one session's client was shown of its thread."""

    def __init__(self, thread: str, opened: Opened) -> None:
        """Take the thread. It is taken as running: a trace of one that rests also says how much of
        its contexts was seen, which takes seconds, and nobody is shown it."""
        config = {"configurable": {"thread_id": thread}}
        self.follower = Follower(
            opened.reads,
            config,  # pyright: ignore[reportArgumentType] - a RunnableConfig is such a dict
            blob_store=opened.blobs,
            is_running=_always,
        )
        self.shower = Shower(lambda digest: self.follower.last.text(digest))
        self._looks = 0
        self._counted: dict[tuple[str, str], int] = {}

    def note(self, event: Event) -> None:
        """Take an event of the run."""
        if event["type"] == "sub_calls" and event["done"]:
            self._counted[event["trajectory"], event["place"]] = event["done"]
        elif event["type"] != "usage":
            self._looks = LOOKS

    async def show(self, ended: Callable[[float], Awaitable[bool]], tell: Tell) -> None:
        """Show the run until it ends.

        Args:
            ended: waits so many seconds for the end of the run, and says whether it is there.
            tell: sends updates.
        """
        loop = asyncio.get_running_loop()
        next_look = loop.time() + REST
        while not await ended(TICK):
            began = loop.time()
            if self._looks or began > next_look:
                self._looks = max(0, self._looks - 1)
                await tell(await self.look())
                next_look = loop.time() + max(REST, SHARE * (loop.time() - began))
            await tell(self._counts())
        await tell(await self.look())

    async def look(self) -> list[Update]:
        """Read what is new."""
        if not await self.follower.has_begun():
            return []
        changes = await self.follower.changes()
        return await asyncio.to_thread(self.shower.new, changes.records)

    async def ids_of(self, pauses: Iterable[Pause]) -> dict[str, str]:
        """Give the ids by which the client knows the calls that wait, by those of their pauses."""
        found = {pause.id: pause.id for pause in pauses}
        if await self.follower.has_begun():
            for record in self.follower.last.records:
                if record["type"] == "pause" and record["interrupt"] in found:
                    call = self.shower.call_of(record["rlm"], record.get("place", ""))
                    found[record["interrupt"]] = call
        return found

    def _counts(self) -> list[Update]:
        counted, self._counted = self._counted, {}
        return [
            update
            for (rlm, place), done in counted.items()
            for update in self.shower.counted(rlm, place, done)
        ]
