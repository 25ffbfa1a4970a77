"""Ranges: which bytes of a text somebody was given, and how coarsely that is kept.

Never reads a text.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NotRequired

from typing_extensions import TypedDict

Ranges = list[tuple[int, int]]
"""Parts of a stored text: (first byte, byte after the last). In order, none empty."""

MOST_RANGES = 1_000
"""Ranges of one text that an entry of a log has. Each takes 20 bytes, and is in checkpoints."""

MOST_NEW = 10_000
"""Ranges that are kept as they are before they are joined: as many as one `grep` has shown."""


class Reads(TypedDict):
    """What of contexts was read, by their digests, as an entry of a log has it."""

    reads: dict[str, list[list[int]]]
    """Byte ranges, sorted and merged, at most `MOST_RANGES` of each context. Those with the
    smallest gaps between them are joined."""
    read_bytes: NotRequired[dict[str, int]]
    """How many bytes were read of the contexts whose ranges were joined, or somewhat more: what is
    read again after the joining counts again. Left out where there are none."""


def merge_ranges(ranges: Iterable[Sequence[int]]) -> Ranges:
    """Put byte ranges in order, without overlaps and empty ones."""
    merged: Ranges = []
    first = last = -1
    for start, end in sorted(ranges, key=itemgetter(0)):
        if end <= start:
            continue
        if start > last:
            merged.append((start, end))
            first, last = start, end
        elif end > last:
            merged[-1] = (first, end)
            last = end
    return merged


def coarsened(ranges: Ranges, most: int = MOST_RANGES) -> Ranges:
    """Join merged ranges over the smallest gaps between them, until there are few enough.

    Args:
        ranges: merged.
        most: ranges to give at most; 1 or more. Of gaps of one size the first ones stay.
    """
    if len(ranges) <= most:
        return ranges
    by_gap = sorted(range(1, len(ranges)), key=lambda at: ranges[at - 1][1] - ranges[at][0])
    kept = sorted(by_gap[: most - 1])
    starts = [ranges[0][0], *(ranges[at][0] for at in kept)]
    ends = [*(ranges[at - 1][1] for at in kept), ranges[-1][1]]
    return [*zip(starts, ends, strict=True)]


def size_of(ranges: Iterable[Sequence[int]]) -> int:
    """Count the bytes of merged ranges."""
    return sum(end - start for start, end in ranges)


@dataclass
class Touched:
    """What of one text was read. It takes no more room the more that is.

    The same reads in the same order give the same, and a snapshot in between changes nothing.
    """

    ranges: Ranges = field(default_factory=list[tuple[int, int]])
    """Merged, at most `MOST_RANGES`; what was read lies in them, but for what is in `new`."""
    size: int | None = None
    """How many bytes that was, as in `Reads.read_bytes`; None for all of the ranges."""
    new: Ranges = field(default_factory=list[tuple[int, int]])
    """Read since then, in any order."""

    def add(self, ranges: Iterable[Sequence[int]], size: int | None = None) -> None:
        """Take up what was read.

        Args:
            ranges: of bytes.
            size: how many bytes that was; None for all of them.
        """
        if size is not None:
            self.settle()
            self._take(merge_ranges(ranges), size)
            return
        self.new += [(start, end) for start, end in ranges]
        if len(self.new) > MOST_NEW:
            self.settle()

    def settle(self) -> None:
        """Take `new` into the ranges."""
        if self.new:
            self._take(merge_ranges(self.new), None)
            self.new = []

    def _take(self, ranges: Ranges, size: int | None) -> None:
        every = merge_ranges([*self.ranges, *ranges])
        read = size_of(every)
        if size is not None or self.size is not None:
            known = size_of(self.ranges) if self.size is None else self.size
            read = min(read, known + (size_of(ranges) if size is None else size))
        self.ranges = coarsened(every)
        self.size = read if read < size_of(self.ranges) else None


def noted(touched: Mapping[str, Touched]) -> Reads:
    """Write what of contexts was read, by their digests, as an entry has it."""
    reads = Reads(reads={})
    sizes: dict[str, int] = {}
    for digest, each in touched.items():
        each.settle()
        reads["reads"][digest] = [[*span] for span in each.ranges]
        if each.size is not None:
            sizes[digest] = each.size
    if sizes:
        reads["read_bytes"] = sizes
    return reads
