"""Ending: how far a server is with its own end, for whoever has to know."""

import asyncio


class Ending:
    """First a server says that it ends, and takes requests all the same: a load balancer needs some
    seconds to notice. Then it takes no more, and those under way have some time. At last they are
    handed over: their clients are told to ask again."""

    def __init__(self) -> None:
        self.is_near = False
        """Whether `/ready` says that no more requests are wanted."""
        self._over = asyncio.Event()

    def begin(self) -> None:
        """Say that the server ends."""
        self.is_near = True

    def hand_over(self) -> None:
        """End the requests under way, and those that still come."""
        self.is_near = True
        self._over.set()

    async def over(self) -> None:
        """Wait until requests are handed over."""
        await self._over.wait()
