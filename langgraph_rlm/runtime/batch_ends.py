"""Batch ends: lets the calls of a large batch end in groups. Never delays a small batch, nor the
start of any call.

Whenever a task ends, LangGraph's runner looks at every task that has not ended (`asyncio.wait` over
all of them). So N calls that end one by one cost N * N looks. Calls that end within the same moment
cost one look together.
"""

import asyncio

SECONDS_PER_OPEN_CALL = 20e-6
"""How long a group gathers for each call that is still open: 20 ms for a thousand, little beside a
call of a model."""

MOST_SECONDS = 0.1
"""The longest that a group gathers."""

FEW = 64
"""With at most this many open calls, each ends by itself."""


class BatchEnds:
    """The group that gathers now, on one event loop."""

    def __init__(self) -> None:
        self._ended: asyncio.Event | None = None

    async def join(self, still_open: int) -> None:
        """Wait until the group ends.

        Args:
            still_open: calls of the same batch that have no answer yet.
        """
        if still_open <= FEW:
            return
        if self._ended is None:
            self._ended = asyncio.Event()
            seconds = min(still_open * SECONDS_PER_OPEN_CALL, MOST_SECONDS)
            asyncio.get_running_loop().call_later(seconds, self._end, self._ended)
        await self._ended.wait()

    def _end(self, group: asyncio.Event) -> None:
        self._ended = None
        group.set()
