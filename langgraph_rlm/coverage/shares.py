"""Shares: how much of its contexts a run has covered, as the small dict that it gives."""

import math

from langgraph_rlm.coverage.of_log import Covered, seen_ranges
from langgraph_rlm.state import ContextCoverage, Coverage
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ranges import merge_ranges, size_of

MOST_NAMED = 100
"""Contexts that are named, the newest: a long thread has many, and this is in each checkpoint."""

MOST_SEEN = 300
"""Ranges that the answer of a child says were seen, the largest: a range more is 20 bytes in each
checkpoint of its parent."""

DIGITS = 4
"""Of a share."""


def shares_of(known: Covered, blobs: BlobStore) -> Coverage | None:
    """Make what a run gives; None where it has no context with text. Blocks.

    Raises:
        BlobError: a context is missing or altered.
    """
    contexts: dict[str, ContextCoverage] = {}
    seen_bytes: list[int] = []
    for name, handle in known.contexts.items():
        digest = handle.digest
        is_known = digest not in known.unknown
        seen = size_of(seen_ranges(known, digest, blobs)) if is_known else None
        if seen is not None:
            seen_bytes.append(seen)
        contexts[name] = ContextCoverage(
            seen=None if seen is None else share(seen, handle.size),
            read=share(known.bytes_read(digest), handle.size),
            whole=digest in known.whole,
            size=handle.size,
        )
    if not contexts:
        return None
    size = sum(each["size"] for each in contexts.values())
    return Coverage(
        seen=share(sum(seen_bytes), size) if len(seen_bytes) == len(contexts) else None,
        size=size,
        whole=any(each["whole"] for each in contexts.values()),
        contexts=dict([*contexts.items()][-MOST_NAMED:]),
    )


def seen_by_models(known: Covered) -> dict[str, list[list[int]]]:
    """Give what is known to have been seen of a child's contexts, for its parent: the largest
    ranges, at most `MOST_SEEN` in all."""
    digests = {handle.digest for handle in known.contexts.values()}
    every = [
        (end - start, digest, start, end)
        for digest in digests
        for start, end in known.ranges(digest, "sent", "shown")
    ]
    kept: dict[str, list[list[int]]] = {}
    for _, digest, start, end in sorted(every, reverse=True)[:MOST_SEEN]:
        kept.setdefault(digest, []).append([start, end])
    return {digest: [[*each] for each in merge_ranges(found)] for digest, found in kept.items()}


def share(part: int, size: int) -> float:
    """Give the share of a part: 1 only for all."""
    if part >= size:
        return 1.0
    return math.floor(part / size * 10**DIGITS) / 10**DIGITS
