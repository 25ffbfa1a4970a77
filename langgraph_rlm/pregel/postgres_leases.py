"""PostgreSQL leases: rows beside the checkpoints, which processes on any machine see. The key of
such a row is a thread's id, or of a graph within another one `Place.key`.

A lease has a random token, and ends by itself where nobody renews it. The database's clock says
when; no two machines' clocks are compared. A process that was stopped for longer than its lease
lasts finds another token in the row, and no row of it is written any more (`savers.py`).
"""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import psycopg

from langgraph_rlm.lazy import per_process, warn_once
from langgraph_rlm.pregel.clock import seconds
from langgraph_rlm.pregel.held import PATIENCE, Held, Place
from langgraph_rlm.pregel.holders import own_holder, state_of
from langgraph_rlm.pregel.lease_renewal import Renewed, lease_seconds, renewal_of
from langgraph_rlm.pregel.postgres import asked

RELEASE_SECONDS = 5.0
"""How long a run waits at its end for a database that is away. Its lease then ends by itself."""

FIND = """
SELECT to_regclass(quote_ident(current_schema()) || '.langgraph_rlm_leases') IS NOT NULL AS here,
  to_regclass('langgraph_rlm_leases') IS NOT NULL AS found
"""
MAKE = """
CREATE TABLE IF NOT EXISTS langgraph_rlm_leases (
  thread_id text PRIMARY KEY,
  token text NOT NULL,
  holder text NOT NULL,
  run_id text,
  expires_at timestamptz NOT NULL
)
"""
TAKE = """
INSERT INTO langgraph_rlm_leases AS held (thread_id, token, holder, run_id, expires_at)
VALUES (%s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
ON CONFLICT (thread_id) DO UPDATE SET token = excluded.token, holder = excluded.holder,
  run_id = excluded.run_id, expires_at = excluded.expires_at
WHERE held.expires_at < clock_timestamp() OR held.token = ANY(%s::text[])
RETURNING held.token
"""
LOOK = """
SELECT token, holder, run_id, extract(epoch FROM expires_at)::float8 AS ends,
  extract(epoch FROM expires_at - clock_timestamp())::float8 AS left
FROM langgraph_rlm_leases WHERE thread_id = %s
"""
RELEASE = "DELETE FROM langgraph_rlm_leases WHERE thread_id = %s AND token = %s"
SWEEP = """
DELETE FROM langgraph_rlm_leases WHERE expires_at < clock_timestamp() - interval '1 hour'
"""


@dataclass(frozen=True)
class _Row:
    """A lease, as the database has it."""

    token: str
    holder: str
    run_id: str | None
    ends: float
    """By the database's clock, in seconds."""
    left: float

    def was_renewed_since(self, before: "_Row") -> bool:
        """Whether somebody is there, seen at two times."""
        return self.token != before.token or self.ends > before.ends


class RowLease(Renewed):
    """A place whose row has our token."""

    async def until_free(self) -> None:
        """Wait until whoever has taken the thread over lets it go, for a minute at most."""
        until = seconds() + PATIENCE
        while seconds() < until:
            with suppress(psycopg.Error):
                if not await is_taken(self.own, self.key):
                    return
            await asyncio.sleep(_pause(lease_seconds()))

    async def release(self) -> None:
        """Delete the row. Where the database is away, it ends by itself."""
        self.renewal.remove(self)
        await asyncio.shield(_release(self.own, self.key, str(self.token)))


@per_process
def _tokens() -> set[str]:
    """The leases that this process has or takes now. Another one in its name is left over."""
    return set()


_has_table: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()


async def take(own: Any, place: Place, run_id: str | None, *, wait: bool) -> Held | None:
    """Take a place that nobody in this process holds, as `leases.lease` says.

    Where the table cannot be had, a warning says so and only this process is kept in order.

    Returns:
        What is held; None where somebody else holds the place.

    Raises:
        psycopg.Error: the database cannot be asked.
    """
    if not await _prepared(own):
        return Held(place)
    token = secrets.token_hex(16)
    _tokens().add(token)
    try:
        began = await _until_taken(own, place.key, run_id, token, wait=wait)
    except psycopg.errors.UndefinedTable:  # it was dropped meanwhile
        _tokens().discard(token)
        del _has_table[own.conn]
        return await take(own, place, run_id, wait=wait)
    except psycopg.Error as error:
        _tokens().discard(token)
        if not _is_refused(error):
            raise
        _has_table[own.conn] = False
        _warn(error)
        return Held(place)
    except BaseException:  # it may have been taken all the same
        await asyncio.shield(_release(own, place.key, token))
        raise
    if began is None:
        _tokens().discard(token)
        return None
    held = RowLease(own, place, token, began, renewal_of(own))
    held.renewal.add(held)
    return held


async def _until_taken(
    own: Any, key: str, run_id: str | None, token: str, *, wait: bool
) -> float | None:
    """Try until the row has our token; None where it should not be waited for any longer.

    Returns:
        When the statement began that took it.
    """
    until, first = seconds() + PATIENCE, None
    ours = [token]
    while True:
        began = seconds()
        values = (key, token, own_holder(), run_id, lease_seconds(), ours)
        if await asked(own, TAKE, values):
            return began
        row = await _look(own, key)
        if row is None:
            continue
        if _is_gone(row):
            ours = [token, row.token]
            continue
        first = first or row
        is_own_try = run_id is not None and row.run_id == run_id
        is_alive = state_of(row.holder) == "works" or row.was_renewed_since(first)
        if seconds() > until or (not is_own_try and (is_alive or not wait)):
            return None
        await asyncio.sleep(_pause(row.left))


def _pause(left: float) -> float:
    """Seconds until the next look at a lease that has so many left."""
    return min(max(left, 0.02), lease_seconds() / 15)


def _is_gone(row: _Row) -> bool:
    """Whether the holder of a row is known to hold it no more."""
    if row.holder == own_holder():
        return row.token not in _tokens()
    return state_of(row.holder) == "gone"


async def _look(own: Any, key: str) -> _Row | None:
    rows = await asked(own, LOOK, (key,))
    return _Row(**rows[0]) if rows else None


async def is_taken(own: Any, key: str) -> bool:
    """Whether somebody holds a place, by its key: a lease that has not ended, of no process that is
    known to be gone."""
    try:
        row = await _look(own, key) if await _exists(own) else None
    except psycopg.ProgrammingError:  # it may not be read, or was dropped
        return False
    return row is not None and row.left > 0 and not _is_gone(row)


async def sweep(own: Any) -> None:
    """Delete the rows of processes that died long ago, on threads that nobody has taken since."""
    if await _exists(own):
        with suppress(psycopg.ProgrammingError, psycopg.errors.ReadOnlySqlTransaction):
            await asked(own, SWEEP)


async def _release(own: Any, key: str, token: str) -> None:
    _tokens().discard(token)  # whoever wants the place in this process need not wait
    with suppress(psycopg.Error, OSError):
        async with asyncio.timeout(RELEASE_SECONDS):
            await asked(own, RELEASE, (key, token))


# The table


async def _prepared(own: Any) -> bool:
    """Make the table where it is not there; False where that cannot be done."""
    if own.conn not in _has_table:
        _has_table[own.conn] = await _made(own)
    return _has_table[own.conn]


async def _made(own: Any) -> bool:
    [found] = await asked(own, FIND)
    if found["here"]:
        return True
    try:
        await asked(own, MAKE)
    except psycopg.Error as error:
        if await _exists(own):  # another process was faster, or somebody else has made it
            return True
        if not _is_refused(error):
            raise
        _warn(error)
        return False
    return True


async def _exists(own: Any) -> bool:
    if _has_table.get(own.conn):
        return True
    [found] = await asked(own, FIND)
    return bool(found["found"])


def _is_refused(error: psycopg.Error) -> bool:
    """Whether a database does not let this user keep leases, or cannot."""
    refusals = (
        psycopg.ProgrammingError,
        psycopg.NotSupportedError,
        psycopg.errors.ReadOnlySqlTransaction,
    )
    return isinstance(error, refusals)


def _warn(error: psycopg.Error) -> None:
    warn_once(
        "langgraph_rlm_leases",
        f"The table langgraph_rlm_leases cannot be made or written ({str(error).strip()}), so that "
        "another process is not kept off a thread that runs here: two would pay twice. Let this "
        "user create it in the schema of the checkpoints, or see to it that one process runs a "
        "thread.",
    )
