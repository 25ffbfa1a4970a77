"""Feeds: what changes in threads, for all who look. However many look at a thread, it is read once.

Never runs anything.
"""

import asyncio
import json
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from langgraph_rlm.errors import RLMError
from langgraph_rlm.hosting.secrets import without_secrets

LOG = logging.getLogger("langgraph_rlm.ui")
POLL = 0.25
"""Seconds between two looks at a thread that somebody watches."""
HEARTBEAT = 15.0
"""Seconds of silence after which a stream says that it lives, also through proxies."""
BATCH = 500
"""Records of one event, at most."""
KEPT = 60.0
"""Seconds that a feed is kept when nobody looks any more."""
MOST_FEEDS = 64
MOST_GONE = 10_000
"""Ids of records that are gone, for readers that come back."""

Record = Mapping[str, Any]
Standing = Callable[[str], Awaitable[Mapping[str, Any]]]
"""Adds to the state of a thread's records, such as `done`, what else the event `state` says."""


class Changes(Protocol):
    """What a look at a thread has found."""

    @property
    def records(self) -> Sequence[Record]: ...
    @property
    def gone(self) -> Sequence[str]: ...
    @property
    def state(self) -> str: ...


class Follower(Protocol):
    """Reads a thread as records (`trace/follow.py`)."""

    async def changes(self) -> Changes: ...
    async def text(self, digest: str) -> str: ...
    def names(self, digest: str) -> bool: ...


class Feed:
    """One thread, or one branch of it, as records that change."""

    def __init__(self, follower: Follower, standing: Standing) -> None:
        """Take what reads the thread. Nothing is read yet."""
        self.follower = follower
        self.used = time.monotonic()
        self.readers = 0
        self.state: Mapping[str, Any] = {}
        self._standing = standing
        self._id = secrets.token_hex(4)
        self._looks = 0
        """Looks that were begun."""
        self._version = 0
        self._state_version = 0
        self._records: dict[str, tuple[int, Record]] = {}
        """Records by id with the version that brought them, the newest last."""
        self._gone: deque[tuple[int, str]] = deque(maxlen=MOST_GONE)
        self._forgotten = 0
        """Version up to which ids that are gone may be missing above."""
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()
        self._poll: asyncio.Task[None] | None = None
        self._error: str | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody has looked for a while."""
        return not self.readers and time.monotonic() - self.used > KEPT

    @property
    def records(self) -> list[Record]:
        """All records, as last read."""
        return [record for _, record in self._records.values()]

    async def refresh(self) -> None:
        """Look at the thread. Several who ask at once share one look.

        Raises:
            RLMError: it cannot be read; the message says why.
        """
        asked = self._looks
        self.used = time.monotonic()
        async with self._lock:
            if self._looks == asked:  # else one has begun since, and has seen all
                await self._look()

    async def _look(self) -> None:
        self._looks += 1
        found = await self.follower.changes()
        state = await self._standing(found.state)
        if not (found.records or found.gone) and state == self.state:
            return
        self._version += 1
        for id in found.gone:
            self._records.pop(id, None)
            if len(self._gone) == MOST_GONE:
                self._forgotten = self._gone[0][0]
            self._gone.append((self._version, id))
        for record in found.records:
            self._records.pop(record["id"], None)
            self._records[record["id"]] = (self._version, record)
        if state != self.state:
            self.state = state
            self._state_version = self._version
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def wake(self) -> None:
        """Have readers see that the server ends."""
        self._tell()

    async def events(self, last: str | None, is_over: Callable[[], bool]) -> AsyncGenerator[bytes]:
        """Give server-sent events until the reader leaves.

        Args:
            last: the id of the last event that the reader has seen, if it comes back.
            is_over: tells whether the server ends.
        """
        self.readers += 1
        try:
            self._error = None
            if self._poll is None or self._poll.done():
                self._poll = asyncio.create_task(self._follow())
            seen = self._seen_by(last)
            if seen is None:
                seen = 0
                yield event("reset", {})
            while not is_over():
                changed = self._changed
                # a list, because the records may change while a slow reader takes it
                parts, seen = self._since(seen), self._version
                for part in parts:
                    yield part
                if self._error is not None:
                    yield event("failed", {"message": self._error})
                    return
                if not await _within(HEARTBEAT, changed):
                    yield b": still here\n\n"
        finally:
            self.readers -= 1
            self.used = time.monotonic()
            if not self.readers and self._poll is not None:
                self._poll.cancel()
                self._poll = None

    def _seen_by(self, last: str | None) -> int | None:
        """Give the version that a reader has seen; None where it needs everything."""
        id, _, version = (last or "").partition("-")
        if id != self._id or not version.isdecimal():
            return None
        seen = int(version)
        return seen if self._forgotten <= seen <= self._version else None

    def _since(self, seen: int) -> list[bytes]:
        """Give what is new since a version: what is gone, then records, then the state."""
        if seen == self._version:
            return []
        parts: list[bytes] = []
        gone = [id for version, id in self._gone if version > seen and id not in self._records]
        if gone and seen:
            parts.append(event("gone", {"ids": gone}))
        records: list[Record] = []
        for version, record in reversed(self._records.values()):
            if version <= seen:
                break
            records.append(record)
        records.reverse()
        parts += [
            event("record", records[first : first + BATCH])
            for first in range(0, len(records), BATCH)
        ]
        if self._state_version > seen:
            parts.append(event("state", self.state))
        return [*parts, f"id: {self._id}-{self._version}\n\n".encode()]

    async def _follow(self) -> None:
        """Look at the thread again and again, while somebody reads."""
        while True:
            await asyncio.sleep(POLL)
            try:
                async with self._lock:
                    await self._look()
            except Exception as error:
                LOG.warning("A thread cannot be followed", exc_info=error)
                self._error = without_secrets(str(error))
                self._tell()
                return


class Feeds:
    """The feeds of a server, by thread and branch."""

    def __init__(self, make: Callable[[str, str | None], Awaitable[Feed]]) -> None:
        """Take what makes the feed of a thread, and of a branch by its newest checkpoint."""
        self._make = make
        self._feeds: dict[tuple[str, str | None], Feed] = {}

    async def of(self, thread: str, checkpoint: str | None) -> Feed:
        """Give a feed, read.

        Raises:
            RLMError: the thread is not there, or cannot be read.
        """
        for key, feed in [*self._feeds.items()]:
            if feed.is_idle or (len(self._feeds) > MOST_FEEDS and not feed.readers):
                del self._feeds[key]
        key = (thread, checkpoint)
        if key not in self._feeds:
            made = await self._make(thread, checkpoint)
            self._feeds.setdefault(key, made)  # two may have come at once
        feed = self._feeds[key]
        try:
            await feed.refresh()
        except RLMError:
            if not feed.readers:
                self._feeds.pop(key, None)
            raise
        return feed

    def wake(self) -> None:
        """Have all readers see that the server ends."""
        for feed in self._feeds.values():
            feed.wake()


def event(name: str, data: Any) -> bytes:
    """Write one server-sent event. JSON in ASCII has none of the line breaks that readers know."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


async def _within(seconds: float, changed: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True
