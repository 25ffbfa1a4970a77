"""Quote search: where quotes stand in a text, one pass for what is there, one for what is near.

The first pass looks for each quote by itself. In the second, RE2 looks for short pieces of all
quotes that are still open at once; where several pieces of one meet, it is aligned.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph_rlm.coverage.common import is_start
from langgraph_rlm.coverage.near import LEAST_SIMILARITY, aligned
from langgraph_rlm.coverage.normalised import normalise
from langgraph_rlm.coverage.quote_sources import QuoteSource, Window
from langgraph_rlm.storage.blobs import to_bytes
from langgraph_rlm.storage.patterns import compile_pattern

LEFT_OUT = re.compile(rb"\s*(?:\[\s*\.\.\.\s*\]|\(\s*\.\.\.\s*\)|\.\.\.+)\s*")
"""What a quote has where it leaves something out, normalised."""

END_MARKS = b".,;:!?"
"""What may stand at the end of a quote because of the sentence around it."""

WORD_BYTE = re.compile(rb"[\w\x80-\xff]")

MOST_TRIES = 64
"""Places that are looked at for a quote without the mark at its end."""

PIECES = 8
"""Pieces of a quote that are looked for."""

PIECE_BYTES = 12
"""Bytes that a piece has at least, if its words allow."""

MOST_VOTES = 200_000
"""Votes that are counted in one window: more say nothing, since the pieces are in every line."""

MEMORY = 256 << 20
"""Bytes at most for RE2's automaton. It takes 2 KB for each letter of a piece that a text comes to;
with too little, RE2 is a hundred times slower."""


@dataclass(frozen=True)
class Stands:
    """Where a quote stands, or what comes closest."""

    source: QuoteSource
    spans: tuple[tuple[int, int], ...]
    """Bytes of the stored text, for each part of the quote."""
    similarity: float
    is_exact: bool

    @property
    def counts(self) -> bool:
        """Whether it is close enough to be told."""
        return self.is_exact or self.similarity >= LEAST_SIMILARITY


@dataclass
class _Plan:
    """One way to look for a quote: its parts, one behind the other."""

    parts: list[bytes]
    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Where the first ones stand in the source that is searched."""


class Search:
    """A search for the quotes of one answer."""

    def __init__(self, quotes: Sequence[str]) -> None:
        self._quotes = [normalise(to_bytes(quote)).strip() for quote in quotes]
        self.found: list[Stands | None] = [None] * len(quotes)
        """By the number of the quote."""

    @property
    def has_open(self) -> bool:
        """Whether a quote was not found as it is."""
        return any(not _is_exact(stands) for stands in self.found)

    def look_in(self, source: QuoteSource) -> None:
        """Look for the quotes as they are. Blocks."""
        plans = {
            index: _plans(quote)
            for index, quote in enumerate(self._quotes)
            if not _is_exact(self.found[index])
        }
        for window in source.windows() if plans else ():
            for index in [*plans]:
                if any(_advance(plan, window) for plan in plans[index]):
                    whole = next(
                        each for each in plans[index] if len(each.spans) == len(each.parts)
                    )
                    self.found[index] = Stands(source, tuple(whole.spans), 1.0, True)
                    del plans[index]

    def look_near(self, sources: Sequence[QuoteSource]) -> None:
        """Look for what is close to the quotes that are still open. Blocks."""
        pieces = defaultdict[bytes, list[tuple[int, int]]](list)
        best: dict[int, _Candidate] = {}
        for index, quote in enumerate(self._quotes):
            if not _is_exact(self.found[index]):
                for piece, offset in _pieces(quote):
                    pieces[piece].append((index, offset))
        pattern = compile_pattern(b"|".join(map(re.escape, pieces)), max_mem=MEMORY)
        for source in sources:
            for window in source.windows():
                for index, votes in _votes(pattern, pieces, window, self._quotes).items():
                    [(place, count)] = votes.most_common(1)
                    if index not in best or count > best[index].votes:
                        span = _span(place, len(self._quotes[index]), window)
                        best[index] = _Candidate(source, span, count)
        for index, candidate in best.items():
            self.found[index] = _compared(self._quotes[index], candidate)


@dataclass(frozen=True)
class _Candidate:
    """A part of a source that may come close to a quote."""

    source: QuoteSource
    span: tuple[int, int]
    """Bytes of the stored text."""
    votes: int
    """How many pieces of the quote speak for it."""


def _span(place: int, size: int, window: Window) -> tuple[int, int]:
    """Give the part of a source in which a quote of some bytes may stand that begins at a place of
    a window, or near it."""
    first = max(0, place - size // 4 - 16)
    last = min(len(window.text), place + size * 3 // 2 + 64)
    while not is_start(window.text, first):
        first -= 1
    while not is_start(window.text, last):
        last += 1
    return window.stored(first, last)


def _compared(quote: bytes, candidate: _Candidate) -> Stands:
    """Compare a quote with the part that may come close to it."""
    window = candidate.source.window(*candidate.span)
    found = aligned(quote, window.text)
    similarity = min(found.similarity, 0.99)  # the same words with other marks are not the same
    return Stands(
        candidate.source, (window.stored(found.start, found.end),), similarity, is_exact=False
    )


def _is_exact(stands: Stands | None) -> bool:
    return stands is not None and stands.is_exact


def _plans(quote: bytes) -> list[_Plan]:
    """Give the ways to look for a quote: as it is, and with something left out at its dots."""
    parts = [part for part in LEFT_OUT.split(quote) if WORD_BYTE.search(part)]
    plans = [_Plan([quote])]
    if parts and parts != [quote]:
        plans.append(_Plan(parts))
    return plans


def _advance(plan: _Plan, window: Window) -> bool:
    """Look for the parts of a quote that are still open; True once all are found."""
    at = window.own(plan.spans[-1][1]) if plan.spans else 0
    while len(plan.spans) < len(plan.parts):
        is_last = len(plan.spans) + 1 == len(plan.parts)
        span = _find(plan.parts[len(plan.spans)], window.text, at, is_last=is_last)
        if span is None:
            return False
        plan.spans.append(window.stored(*span))
        at = span[1]
    return True


def _find(part: bytes, text: bytes, at: int, *, is_last: bool) -> tuple[int, int] | None:
    """Find a part of a quote, the last one also without the mark at its end."""
    found = text.find(part, at)
    if found >= 0:
        return found, found + len(part)
    bare = part.rstrip(END_MARKS)
    if not is_last or bare == part or not bare:
        return None
    for _ in range(MOST_TRIES):
        found = text.find(bare, at)
        if found < 0:
            return None
        end = found + len(bare)
        if WORD_BYTE.match(text, end) is None:
            return found, end
        at = found + 1
    return None


# What is near


def _pieces(quote: bytes) -> Iterator[tuple[bytes, int]]:
    """Give some short pieces of a quote, evenly spread, and where in it they stand."""
    found: list[tuple[bytes, int]] = []
    at = 0
    while at < len(quote):
        end = at + PIECE_BYTES
        blank = quote.find(b" ", end, end + PIECE_BYTES)
        end = min(len(quote), blank if blank >= 0 else end)
        while not is_start(quote, end):
            end += 1
        found.append((quote[at:end], at))
        at = end + 1 if quote[end : end + 1] == b" " else end
    if len(found) > 1 and len(found[-1][0]) < PIECE_BYTES:
        found.pop()
    step = max(1, len(found) // PIECES)
    yield from found[::step][:PIECES]


def _votes(
    pattern: Any,
    pieces: dict[bytes, list[tuple[int, int]]],
    window: Window,
    quotes: Sequence[bytes],
) -> dict[int, Counter[int]]:
    """Count for each quote how many of its pieces speak for a place."""
    votes = defaultdict[int, Counter[int]](Counter)
    left = MOST_VOTES
    for match in pattern.finditer(window.text):
        spoken_for = pieces[match.group(0)]
        left -= len(spoken_for)
        if left < 0:
            break
        for index, offset in spoken_for:
            width = max(64, len(quotes[index]) // 4)
            votes[index][(match.start() - offset) // width * width] += 1
    return votes
