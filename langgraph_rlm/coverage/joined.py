"""Joined: ranges that only white space or the marks of JSON keep apart, as one. Reads no more."""

import mmap
import re
from itertools import pairwise

from langgraph_rlm.coverage.haystack import JSON_KINDS
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.ranges import Ranges, merge_ranges
from langgraph_rlm.storage.reads import Reader

MOST = 64
"""Bytes of a gap that is looked at."""

BLANKS = re.compile(rb"\s*")
MARKS = re.compile(rb"(?:[\s\[\]{},:\"]|\\[nrt])*")
"""What stands between the strings of a JSON text."""


def joined(ranges: Ranges, handle: ContextHandle, blobs: BlobStore) -> Ranges:
    """Count what says nothing with the ranges on both of its sides.

    Code that sends a text line by line, or the strings of a list, sends what stands between them
    in another form, or not at all.

    Args:
        ranges: of a context, merged.
        handle: of the context.
        blobs: has its text.

    Returns:
        The ranges, with gaps of white space filled; in JSON also gaps of its marks.

    Raises:
        BlobError: the text is missing or altered.
    """
    if not ranges or ranges == [(0, handle.size)]:
        return ranges
    nothing = MARKS if handle.kind in JSON_KINDS else BLANKS
    edges = [(0, 0), *ranges, (handle.size, handle.size)]
    with Reader(handle, blobs).opened() as data:
        gaps = [
            (before[1], after[0])
            for before, after in pairwise(edges)
            if _is_nothing(data, before[1], after[0], nothing)
        ]
    return merge_ranges([*ranges, *gaps])


def _is_nothing(data: mmap.mmap, start: int, end: int, nothing: "re.Pattern[bytes]") -> bool:
    return end - start <= MOST and nothing.fullmatch(data[start:end]) is not None
