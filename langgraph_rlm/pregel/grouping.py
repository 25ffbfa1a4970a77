"""Grouping: what arrives to be saved while a database is busy is saved together, next. Each caller
waits until its own is stored.

It knows no database: `group_commit.py` (SQLite) and `postgres_commit.py` say how a group is stored.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_BYTES = 16 * 2**20
"""Of one group: a database takes large statements, but each caller waits for the whole."""


@dataclass(frozen=True, eq=False)
class Saving(Generic[T]):
    """What one caller has saved, and waits for."""

    what: T
    place: Hashable
    """What is of one place is saved in the order in which it came."""
    size: int
    """About how many bytes it has."""
    done: asyncio.Future[None]

    def end(self, error: BaseException | None = None) -> None:
        """Let the caller go on, or raise an error to it. Only the first end counts."""
        if self.done.done():  # also when the caller was cancelled
            return
        if error is None:
            self.done.set_result(None)
        elif isinstance(error, asyncio.CancelledError):
            self.done.cancel()
        else:
            self.done.set_exception(error)


Take = Callable[[], list[Saving[T]]]
"""Closes the group that gathers, and gives it. Called as late as possible: when there is a free
connection."""


class Groups(ABC, Generic[T]):
    """The groups of one database, on one event loop."""

    def __init__(self, at_once: int = 1) -> None:
        """Start with nothing.

        Args:
            at_once: how many groups may be on their way to the database.
        """
        self._at_once = at_once
        self._ready: dict[Hashable, deque[Saving[T]]] = {}
        self._behind: dict[Hashable, deque[Saving[T]]] = {}
        """Of places of which a group on its way has something."""
        self._busy: set[Hashable] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False
        """Whether a group gathers, for which a connection is awaited."""

    @abstractmethod
    async def _commit(self, take: "Take[T]") -> None:
        """Wait for a free connection, take the group and store it, whole or not at all.

        It may `end` a `Saving` by itself. Those that it has not ended get what it raises; if it
        raises nothing, they are stored.
        """

    async def save(self, what: T, place: Hashable = None, size: int = 0) -> None:
        """Have something stored with the group that gathers.

        A caller that is cancelled does not take the others' along, nor what it gave.

        Raises:
            Exception: what the commit raised.
        """
        saving = Saving(what, place, size, asyncio.get_running_loop().create_future())
        line = self._behind if place in self._busy else self._ready
        line.setdefault(place, deque()).append(saving)
        self._begin()
        await saving.done

    def _begin(self) -> None:
        if self._ready and not self._is_open and len(self._tasks) < self._at_once:
            self._is_open = True
            self._tasks.add(asyncio.create_task(self._work()))

    async def _work(self) -> None:
        """Commit one group, and tell its callers."""
        group: list[Saving[T]] = []

        def take() -> list[Saving[T]]:
            if self._is_open and not group:
                group.extend(self._taken())
                self._is_open = False
                self._begin()  # of what this one had no room for
            return group

        try:
            await self._commit(take)
        except BaseException as error:
            for saving in take():
                saving.end(error)
            if not isinstance(error, Exception):
                raise
        finally:
            self._free(take())
        for saving in group:
            saving.end()

    def _taken(self) -> list[Saving[T]]:
        """Take what there is room for, in its order."""
        group: list[Saving[T]] = []
        size = 0
        for place in [*self._ready]:
            line = self._ready[place]
            while line and (not group or size + line[0].size <= MOST_BYTES):
                size += line[0].size
                group.append(line.popleft())
                self._busy.add(place)
            if place in self._busy:
                rest = self._ready.pop(place)
                if rest:
                    self._behind[place] = rest
            if line:
                break
        return group

    def _free(self, group: list[Saving[T]]) -> None:
        """Let those go on that wait behind a group, which is over."""
        for place in {saving.place for saving in group}:
            self._busy.discard(place)
            if place in self._behind:
                self._ready[place] = self._behind.pop(place)
        task = asyncio.current_task()
        self._tasks = {other for other in self._tasks if other is not task}
        self._begin()
