"""Lease renewal: what keeps the leases of this process over one connection or pool from ending.

All of them are renewed in one statement, by a task that ends when there are none.
"""

import asyncio
import logging
import os
from typing import Any

import psycopg

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.pregel.clock import seconds
from langgraph_rlm.pregel.held import PATIENCE, Held, Place
from langgraph_rlm.pregel.postgres import asked, is_closed

LOG = logging.getLogger("langgraph_rlm.leases")

VARIABLE = "LANGGRAPH_RLM_LEASE_SECONDS"
LEASE_SECONDS = 15.0
"""How long a lease lasts that is not renewed; a third of it is between two renewals."""

RENEW = """
WITH ours AS (
  SELECT held.thread_id, held.token FROM langgraph_rlm_leases AS held
  JOIN unnest(%s::text[], %s::text[]) AS given (thread_id, token) USING (thread_id, token)
  ORDER BY thread_id FOR UPDATE OF held
)
UPDATE langgraph_rlm_leases AS held SET expires_at = clock_timestamp() + make_interval(secs => %s)
FROM ours WHERE held.thread_id = ours.thread_id AND held.token = ours.token
RETURNING held.token
"""
"""Rows are locked in one order, as two statements that lock them in another wait for each other."""

FAILURES = (psycopg.Error, OSError)
"""What a connection raises when the database is away, and a pool that is closed."""


def lease_seconds() -> float:
    """How long a lease lasts, as `$LANGGRAPH_RLM_LEASE_SECONDS` says.

    Raises:
        ConfigurationError: it is no number of seconds.
    """
    given = os.environ.get(VARIABLE)
    if not given:
        return LEASE_SECONDS
    try:
        told = float(given)
    except ValueError:
        told = 0.0
    if not 0.3 <= told <= 86_400:
        raise ConfigurationError(
            f"{VARIABLE}={given!r} must be a number of seconds from 0.3 to 86400, such as 15."
        )
    return told


class Renewed(Held):
    """A lease that ends unless it is renewed."""

    def __init__(
        self, own: Any, place: Place, token: str, began: float, renewal: "Renewal"
    ) -> None:
        """Take what was just taken.

        Args:
            own: the user's saver.
            place: what it is of.
            token: in its row.
            began: when the statement began that took it.
            renewal: of the saver's connection.
        """
        super().__init__(place)
        self.own = own
        self.token = token
        self.renewed_at = began
        self.renewal = renewal

    @property
    def is_fresh(self) -> bool:
        """Whether nobody can have taken it yet. The margin is for clocks that differ in speed, and
        for what is done before the next look."""
        return not self.is_lost and seconds() - self.renewed_at < lease_seconds() * 0.8

    async def check(self) -> None:
        """See to it that the thread is still held. The database is asked only where the last
        renewal was too long ago; where it is away, this waits, for a minute at most.

        Raises:
            ThreadTakenOverError: another process has the thread.
            psycopg.Error: nothing was heard of the database for a minute, or the connection is
                closed.
        """
        if not self.is_fresh and not self.is_lost:
            await self.renewal.until_known(self)
        await super().check()


class Renewal:
    """The leases of this process over one connection or pool, on one event loop."""

    def __init__(self, own: Any, key: "Key") -> None:
        self._own = own
        self._key = key
        self._leases: dict[str, Renewed] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_over = asyncio.Event()
        self._asking: asyncio.Task[None] | None = None

    def add(self, lease: Renewed) -> None:
        """Renew a lease from now on."""
        self._leases[str(lease.token)] = lease
        self._is_over.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._renew_again_and_again())

    def remove(self, lease: Renewed) -> None:
        """Renew a lease no more."""
        self._leases.pop(str(lease.token), None)
        if not self._leases:
            self._is_over.set()
            _renewals().pop(self._key, None)

    async def until_known(self, lease: Renewed) -> None:
        """Ask the database until it has said whether a lease is still ours.

        Raises:
            psycopg.Error: as `Renewed.check` says.
        """
        until = seconds() + PATIENCE
        while not lease.is_fresh and not lease.is_lost:
            asking = self._ask()
            await asyncio.wait({asking}, timeout=max(until - seconds(), 0.01))
            failure = asking.exception() if asking.done() else _silent()
            if failure is None:
                continue
            is_away = isinstance(failure, FAILURES) and not is_closed(self._own)
            if not is_away or seconds() > until:
                raise failure
            await asyncio.sleep(lease_seconds() / 30)

    async def _renew_again_and_again(self) -> None:
        pause = lease_seconds() / 3
        while not await self._is_over_within(pause):
            asking = self._ask()
            await asyncio.wait({asking})
            failure, pause = asking.exception(), lease_seconds() / 3
            if failure is not None:
                LOG.debug("Leases could not be renewed: %s", failure)
                pause /= 5

    async def _is_over_within(self, pause: float) -> bool:
        try:
            async with asyncio.timeout(pause):
                await self._is_over.wait()
        except TimeoutError:
            pass
        return not self._leases

    def _ask(self) -> asyncio.Task[None]:
        """The renewal that is under way, or a new one."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._renew())
        return self._asking

    async def _renew(self) -> None:
        began, leases = seconds(), {**self._leases}
        keys = [lease.key for lease in leases.values()]
        rows = await asked(self._own, RENEW, (keys, [*leases], lease_seconds()))
        renewed = {row["token"] for row in rows}
        for token, lease in leases.items():
            if token in renewed:
                lease.renewed_at = began
            elif token in self._leases:  # else it was released meanwhile
                lease.lose()


def _silent() -> psycopg.OperationalError:
    return psycopg.OperationalError(
        f"The database has not said within {PATIENCE:.0f} s whether this process still has its "
        "leases."
    )


Key = tuple[int, int]
"""A connection or pool and an event loop, while there are leases that keep both."""


@per_process
def _renewals() -> dict[Key, Renewal]:
    return {}


def renewal_of(own: Any) -> Renewal:
    """Give the renewal over a saver's connection on this event loop, for a lease that is added at
    once."""
    key = (id(own.conn), id(asyncio.get_running_loop()))
    return _renewals().setdefault(key, Renewal(own, key))
