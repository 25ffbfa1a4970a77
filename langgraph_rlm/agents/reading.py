"""Reading: what an agent's model is shown of a context that it names. Blocks."""

import time
from collections.abc import Callable
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.reads import Reader

READ_CHARS = 8_000
"""Most characters of a context that one call shows."""

MATCHES = 20
"""Most matches that one call shows."""

SECONDS = 20.0
"""How long matches are counted. The first ones are found in any case."""


class _TooLong(Exception):
    """Counting takes too long."""


def part_of(name: str, handle: ContextHandle, blobs: BlobStore, start: int, end: int | None) -> str:
    """Give the characters `[start:end]` of a context, by the rules of Python's slices; at most
    `READ_CHARS` of them.

    Raises:
        BlobError: the store no longer has it.
    """
    first, last, _ = slice(start, end).indices(handle.length)
    last = min(last, first + READ_CHARS)
    if first >= last:
        return f"[{name} has {handle.length:,} characters: there are none from {start} to {end}.]"
    text, _ = Reader(handle, blobs).peek(first, last)
    return f"[Characters {first} to {last} of {handle.length} of {name}:]\n{text}"


def matches_of(
    name: str,
    handle: ContextHandle,
    blobs: BlobStore,
    pattern: str,
    *,
    start: int,
    ignore_case: bool,
) -> str:
    """Give the first lines of a context that match an RE2 pattern, from a character on.

    Raises:
        ValueError: RE2 does not take the pattern, or there is no such character.
        BlobError: the store no longer has it.
    """
    reader = Reader(handle, blobs, _until(SECONDS))
    found, _ = reader.grep(
        pattern, start=start, ignore_case=ignore_case, max_matches=MATCHES, width=300
    )
    if not found:
        return f"[Nothing in {name} matches {pattern!r} from character {start} on.]"
    try:
        total = f"{reader.count(pattern, ignore_case=ignore_case, start=start):,}"
    except _TooLong:
        total = "many more"
    lines = [_line(match) for match in found]
    head = f"[{len(found)} of {total} matches of {pattern!r} in {name}, each with its characters:]"
    return "\n".join([head, *lines])


def _line(match: dict[str, Any]) -> str:
    return f"{match['start']}-{match['end']}: {match['text']}"


def _until(seconds: float) -> Callable[[], None]:
    end = time.monotonic() + seconds

    def check() -> None:
        if time.monotonic() > end:
            raise _TooLong

    return check
