"""Background: responses that are worked on without a client, and continue after a restart.

Whoever works on one holds the lease of its record. A response whose process is gone is taken up by
the next one that is asked about it.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace

from cachetools import TTLCache

from langgraph_rlm.errors import ThreadTakenOverError
from langgraph_rlm.server.chats import Chat
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.responses.events import begun, last, written
from langgraph_rlm.server.responses.holding import Holding, hold
from langgraph_rlm.server.responses.objects import OPEN, Object, cancelled, failed
from langgraph_rlm.server.responses.output import Event
from langgraph_rlm.server.responses.requests import ResponseRequest, response_request
from langgraph_rlm.server.responses.store import Record, Store
from langgraph_rlm.server.responses.work import Work, in_words_of_responses, said_in, work_of
from langgraph_rlm.server.settings import Settings

LOG = logging.getLogger("langgraph_rlm.server")

MOST_TRIES = 5
"""How often a response is taken up. One that is cut off each time may be what ends the process."""
LOOK_SECONDS = 15.0
"""Between two looks whether a response is still wanted, and still ours."""
KEPT_STREAMS = 128
KEPT_SECONDS = 600.0
"""How long, and for how many responses, the events of those that are over can be read again."""

Key = tuple[str, str]
"""The owner and the id of a response."""


@dataclass
class Live:
    """A response that is worked on here, and its events so far."""

    record: Record
    events: list[bytes] = field(default_factory=list[bytes])
    is_streamed: bool = False
    is_stopped: bool = False
    """Whether its client has cancelled it."""
    task: "asyncio.Task[None] | None" = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def tell(self, event: Event) -> None:
        """Add an event, where they are read."""
        if self.is_streamed:
            self.events.append(written(event, len(self.events)))
        self._wake()

    def end(self) -> None:
        """Say that there are no more."""
        self.is_over = True
        self._wake()

    async def read(self, start: int, seconds: float) -> AsyncGenerator[bytes | None]:
        """Give the events from one on, as they come; None for every `seconds` without one."""
        while True:
            more = self._more
            while start < len(self.events):
                yield self.events[start]
                start += 1
            if self.is_over:
                return
            try:
                async with asyncio.timeout(seconds):
                    await more.wait()
            except TimeoutError:
                yield None

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()


class Background:
    """The responses that this process works on without a client."""

    def __init__(self, chat: Chat, store: Store, settings: Settings) -> None:
        self._chat = chat
        self._store = store
        self._settings = settings
        self._slots = asyncio.Semaphore(settings.max_concurrent)
        self._live: dict[Key, Live] = {}
        self._count: Counter[str] = Counter()
        """How many are open, by owner."""
        self._ended = TTLCache[Key, Live](KEPT_STREAMS, KEPT_SECONDS)

    def check_room(self, owner: str) -> None:
        """Refuse one more response of an owner who has too many open.

        Raises:
            Refused: so it is.
        """
        most = self._settings.max_background
        if self._count[owner] < most:
            return
        message = (
            f"{most} background responses of this key are open, which is the most. Wait for one, "
            "or cancel one."
        )
        raise Refused(429, message, code="too_many_open", headers={"retry-after": "5"})

    async def start(self, owner: str, request: ResponseRequest, record: Record) -> Live:
        """Keep a new response, and begin to work on it.

        Raises:
            Refused: the owner has too many.
        """
        self.check_room(owner)
        self._count[owner] += 1
        try:
            await self._store.save(owner, record)
            held = await hold(self._store.saver, owner, record.id)
            assert held is not None, "nobody else knows the id yet"
            return self._begun(owner, request, record, held)
        finally:
            self._count[owner] -= 1

    def stream(self, owner: str, id: str) -> Live | None:
        """Give the events of a response; None where they are not kept here."""
        live = self._live.get((owner, id)) or self._ended.get((owner, id))
        return live if live is not None and live.is_streamed else None

    async def looked_after(self, owner: str, record: Record) -> Record:
        """Take a response up whose process is gone, and give it as it stands.

        Raises:
            Refused: it cannot be read any more.
        """
        key = (owner, record.id)
        if record.status not in OPEN or not record.request or key in self._live:
            return record
        held = await hold(self._store.saver, owner, record.id)
        if held is None:
            return record
        async with AsyncExitStack() as unless_begun:
            unless_begun.push_async_callback(held.release)
            record = await self._store.find(owner, record.id)  # it may have ended meanwhile
            if record.status not in OPEN:
                return record
            items = await self._store.get(record.turns[-1])
            given = await self._store.get(record.request)
            request = response_request({**given, "input": items})
            record = replace(record, tries=record.tries + 1)
            if record.tries > MOST_TRIES:
                return await self._given_up(owner, record)
            unless_begun.pop_all()
        LOG.info("A background response that was cut off is continued.")
        return self._begun(owner, request, record, held).record

    async def cancel(self, owner: str, record: Record) -> Object:
        """Stop a response, and give it as it stands then."""
        if record.status not in OPEN:
            return record.response
        live = self._live.get((owner, record.id))
        if live is not None:
            live.is_stopped = True
            assert live.task is not None
            live.task.cancel()
            with suppress(asyncio.CancelledError):
                await live.task
            return live.record.response
        # whoever works on it elsewhere looks at the record now and then
        stopped = record.with_response(cancelled(record.response))
        await self._store.save(owner, stopped)
        return stopped.response

    async def close(self) -> None:
        """Stop to work. What is open stays so, and can be taken up."""
        tasks = [live.task for live in self._live.values() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _given_up(self, owner: str, record: Record) -> Record:
        """End a response that ends whatever process works on it."""
        told = Refused(500, f"It was cut off {record.tries} times, and is not tried again.")
        record = record.with_response(failed(record.response, told))
        await self._store.save(owner, record)
        return record

    # The work

    def _begun(self, owner: str, request: ResponseRequest, record: Record, held: Holding) -> Live:
        live = Live(record, is_streamed=bool(request.stream))
        key = (owner, record.id)
        self._live[key] = live
        self._count[owner] += 1
        live.task = asyncio.create_task(self._kept_working(owner, request, live, held))
        return live

    async def _kept_working(
        self, owner: str, request: ResponseRequest, live: Live, held: Holding
    ) -> None:
        key = (owner, live.record.id)
        watch = asyncio.create_task(self._watch(owner, live, held))
        try:
            async with self._slots:
                await self._work(owner, request, live, held)
        except asyncio.CancelledError:
            if live.is_stopped:
                await self._stopped(owner, live, held)
            raise
        except ThreadTakenOverError:
            LOG.info("A background response was taken over by another process.")
        except Exception as error:  # noqa: BLE001 - the client is told when it asks
            await self._failed(owner, live, error, held)
        finally:
            watch.cancel()
            live.end()
            del self._live[key]
            self._count[owner] -= 1
            if live.is_streamed:
                self._ended[key] = live
            await held.release()

    async def _work(self, owner: str, request: ResponseRequest, live: Live, held: Holding) -> None:
        for event in begun(live.record.response):
            live.tell(event)
        live.record = live.record.with_response({**live.record.response, "status": "in_progress"})
        await self._store.save(owner, live.record)
        told = await said_in(self._store, live.record)
        work = await work_of(self._chat, owner, request, live.record, told)
        try:
            await _have_told(work, live, self._settings.keep_alive_seconds)
        except BaseException:
            response = {**live.record.response, "output": work.output.items}
            live.record = live.record.with_response(response)
            raise
        live.record = work.ended
        await self._save_end(owner, live, held)

    async def _stopped(self, owner: str, live: Live, held: Holding) -> None:
        response = live.record.response
        live.record = live.record.with_response(cancelled(response, response["output"]))
        await self._save_end(owner, live, held)

    async def _failed(self, owner: str, live: Live, error: Exception, held: Holding) -> None:
        told = in_words_of_responses(error)
        response = live.record.response
        live.record = live.record.with_response(failed(response, told, response["output"]))
        await self._save_end(owner, live, held)

    async def _save_end(self, owner: str, live: Live, held: Holding) -> None:
        if not await held.is_ours():  # whoever has it says how it ends
            return
        with suppress(Refused):  # it was deleted
            kept = await self._store.find(owner, live.record.id)
            if kept.status in OPEN:
                await self._store.save(owner, live.record)
            else:  # it was cancelled by way of another process
                live.record = kept
        live.tell(last(live.record.response))

    async def _watch(self, owner: str, live: Live, held: Holding) -> None:
        """Stop where another process was told to, or has taken the response up."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not await held.is_ours() and live.task is not None:
                live.task.cancel()
                return
            try:
                kept = await self._store.find(owner, live.record.id)
                is_wanted = kept.status in OPEN
            except Refused:
                is_wanted = False
            if not is_wanted and live.task is not None:
                live.is_stopped = True
                live.task.cancel()
                return


async def _have_told(work: Work, live: Live, seconds: float) -> None:
    """Have the model answer, and tell of it where somebody may read."""
    if not live.is_streamed:
        await work.whole()
        return
    events: AsyncIterator[Event | None] = work.events(seconds)
    async for event in events:
        if event is not None:
            live.tell(event)
