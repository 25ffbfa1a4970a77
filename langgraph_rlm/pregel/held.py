"""Held: what the holder of a thread has in hand. It ends the holder's work as soon as somebody else
has the thread; it takes no lease itself."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from langgraph_rlm.errors import ThreadTakenOverError
from langgraph_rlm.pregel.keys import WITHIN

T = TypeVar("T")

END: Any = object()

PATIENCE = 60.0
"""Seconds that a run waits for a database that is away, or for others to let go of its thread."""


class Place(NamedTuple):
    """What a lease is of: a thread, or a namespace in it, of a graph that a task of another one
    runs. The two do not keep each other out."""

    thread: str
    namespace: str = ""

    @property
    def key(self) -> str:
        """The name of the lease in its database."""
        return WITHIN.join(self) if self.namespace else self.thread


class Held:
    """A place that is held. This one cannot be taken over; a row of a database can."""

    token: str | None = None
    """What a database checks writes by; None where nobody can take the thread over."""

    def __init__(self, place: Place) -> None:
        self.thread = place.thread
        self.key = place.key
        self.is_lost = False
        self._works: asyncio.Task[Any] | None = None
        self._was_ended = False

    async def check(self) -> None:
        """See to it that the thread is still held, before something is paid or written.

        Raises:
            ThreadTakenOverError: it is not.
        """
        if self.is_lost:
            raise self.error()

    async def until_free(self) -> None:
        """Wait as long as somebody else holds the thread, within reason."""

    async def release(self) -> None:
        """Let others have the thread."""

    def error(self) -> ThreadTakenOverError:
        """Make the error of a thread that was taken over."""
        return ThreadTakenOverError(
            f"Thread {self.thread!r} was taken over by another process, as this one had not "
            "renewed its lease in time: it was stopped, or cut off from the database. The other "
            "process continues from what was saved; nothing more is saved or asked here."
        )

    def lose(self) -> None:
        """Note that somebody else has the thread, and end the work that `guarded` waits for."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._works is not None:
            self._was_ended = True
            self._works.cancel()

    async def guarded(self, parts: AsyncIterator[T]) -> AsyncGenerator[T]:
        """Give the parts of an iterator while the thread is held.

        Raises:
            ThreadTakenOverError: it was taken over. Whatever the iterator waited for was cancelled.
        """
        while True:
            with self._working():
                part = await anext(parts, END)
            if part is END:
                return
            yield part

    async def patient(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait with the error of a thread that was taken over until whoever has it lets it go.

        A server that gave the run to another worker will cancel it here. An error that came before
        would be the end of the run in its books, while the other worker is still at it.
        """
        if isinstance(error, ThreadTakenOverError):
            await self.until_free()

    @contextmanager
    def _working(self) -> Generator[None]:
        """Let `lose` cancel what the current task does within, as `asyncio.timeout` would."""
        if self.is_lost:
            raise self.error()
        task = asyncio.current_task()
        assert task is not None, "an iterator is awaited in a task"
        before, self._works = task.cancelling(), task
        try:
            yield
        except Exception as error:  # what a lost run fails with is not why it ends
            self._finish(task)
            if self.is_lost and not isinstance(error, ThreadTakenOverError):
                raise self.error() from error
            raise
        except asyncio.CancelledError:
            if self._finish(task) and task.cancelling() <= before:
                raise self.error() from None
            raise
        finally:
            self._finish(task)

    def _finish(self, task: asyncio.Task[Any]) -> bool:
        """End the time in which `lose` may cancel. True if it has."""
        was_ended, self._was_ended = self._was_ended, False
        self._works = None
        if was_ended:
            task.uncancel()
        return was_ended
