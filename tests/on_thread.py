"""Servers of the tests that have an event loop on a thread of their own."""

import asyncio
import threading
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self


class OnThread:
    """A server that listens from entering it to leaving it."""

    def __init__(self) -> None:
        self._ready = threading.Event()

    def listening(self) -> AbstractAsyncContextManager[None]:
        """Listen, on the loop of the thread."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(30), f"{type(self).__name__} did not start"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self.listening():
            self._ready.set()
            await self._stop.wait()
