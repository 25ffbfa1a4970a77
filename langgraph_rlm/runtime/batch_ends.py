"""BatchEnds: lets the calls of a large batch end in groups. Never delays a small one, nor the start of any call.

Whenever a task ends, LangGraph's runner looks at every task that has not (`asyncio.wait` over all of them), so that N calls
which end one by one cost N * N. Calls that end within the same moment cost one look together.
"""

import asyncio

SECONDS_PER_OPEN_CALL = 20e-6
"""How long a group gathers for each call that is still open: a thousand make it 20 ms, little beside a call of a model."""

MOST_SECONDS = 0.1
FEW = 64
"""Up to this many open calls, each ends by itself."""


class BatchEnds:
    """The group that gathers now, on one event loop."""

    def __init__(self) -> None:
        self._leaves: asyncio.Event | None = None

    async def join(self, still_open: int) -> None:
        """Wait until the group leaves.

        Args:
            still_open: calls of the same batch that have no answer yet.
        """
        if still_open <= FEW:
            return
        if self._leaves is None:
            self._leaves = asyncio.Event()
            asyncio.get_running_loop().call_later(
                min(still_open * SECONDS_PER_OPEN_CALL, MOST_SECONDS), self._leave, self._leaves
            )
        await self._leaves.wait()

    def _leave(self, group: asyncio.Event) -> None:
        self._leaves = None
        group.set()
