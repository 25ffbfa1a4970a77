"""Stamps: when entries were written, and by which invocation. No replay reads them."""

import time

from langgraph_rlm.log.entries import Log

ID_CHARS = 8
"""Characters of an invocation's name in an entry."""


def epoch() -> float:
    """Seconds since the epoch, to the millisecond: more would only fill checkpoints."""
    return round(time.time(), 3)


def seconds_since(started: float) -> float:
    """Seconds since `started`, of `time.monotonic()`, to the millisecond."""
    return round(time.monotonic() - started, 3)


def stamp(entries: Log, run: str) -> Log:
    """Note on new entries who wrote them, and when unless they say so themselves.

    Args:
        entries: changed in place: an interpreter knows them by identity.
        run: the id of the invocation.
    """
    at = epoch()
    for entry in entries.values():
        entry.setdefault("at", at)
        entry.setdefault("run", run[:ID_CHARS])
    return entries
