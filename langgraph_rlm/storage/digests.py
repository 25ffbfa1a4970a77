"""Digests: which blobs bytes may refer to. Anything that looks like a digest is taken for one.

What it finds too much is kept for nothing; nothing that is referred to is missed, since all that
this package writes has digests as 64 hex digits of ASCII, whatever is around them.
"""

from collections.abc import Collection, Iterator
from functools import cache
from typing import Any, BinaryIO

from langgraph_rlm.storage.patterns import compile_pattern

DIGITS = 64
"""Hex digits of a digest."""

MOST_AROUND = 1024
"""Hex digits beside a digest that may belong to something else. A byte of msgpack after a digest
may look like one; thousands are a dump of bytes, in which nobody writes a digest."""

WINDOW = 4 << 20
"""Bytes that are looked at a time."""


def digests_in(data: bytes, known: Collection[str]) -> Iterator[str]:
    """Give the digests of `known` that stand in bytes, some of them more than once."""
    for found in _runs().finditer(data):
        run = found.group().decode()
        last = len(run) - DIGITS
        if last <= 2 * MOST_AROUND:
            starts = range(last + 1)
        else:
            starts = (*range(MOST_AROUND), *range(last - MOST_AROUND, last + 1))
        for start in starts:
            digest = run[start : start + DIGITS]
            if digest in known:
                yield digest


def digests_of(file: BinaryIO, known: Collection[str]) -> Iterator[str]:
    """Do what `digests_in` does, for a file of any size."""
    overlap = b""
    while part := file.read(WINDOW):
        window = overlap + part
        yield from digests_in(window, known)
        overlap = window[-(DIGITS + 2 * MOST_AROUND) :]


@cache
def _runs() -> Any:
    """Half a gigabyte a second, where Python's own patterns take ten times as long."""
    return compile_pattern(b"[0-9a-f]{64,}")
