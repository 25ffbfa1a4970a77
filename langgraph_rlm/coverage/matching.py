"""Matching: where the pieces of a text stand in a haystack. Knows no contexts.

The haystack is indexed by blocks, each at a multiple of their size. A text is gone through byte by
byte until a block of it is known; the match is extended both ways as far as both agree, and the
search continues behind it. So it is linear in both, and every match has been compared whole.

A piece that stands at several places says of none that it was meant. It is settled for the place
next to its neighbour in the text, where the neighbour stands at one place alone. Else it comes with
all the places that are known, the first one first, and whoever counts decides.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from langgraph_rlm.coverage.common import common_end, common_start, is_start

LEAST = 32
"""Bytes that a match has at least. Shorter pieces are too often the same by chance."""

MOST_BLOCKS = 1 << 19
"""Blocks of an index at most: one takes 150 bytes of memory. Where the haystack has more than 8 MB,
blocks are larger than `LEAST_BLOCK`, and a match is only sure to be found from twice their size."""

LEAST_BLOCK = 16
"""Bytes: half of `LEAST`, so that each match of that length has a whole block in it."""

PLACES = 4
"""Places at most that are kept of a block that repeats, beside its first."""

CANDIDATES = 12
"""Places at most that are tried of the blocks that follow one another in a text, the rarest first.
What repeats has up to eighty, and all tell the same."""

NEAR = 64
"""Bytes between two neighbours at most, in the text and in the haystack."""

CHANCE = 16
"""Bytes by which one of two matches may be longer by chance, such as a line's ending."""

STEP = 1 << 11
"""Bytes that are compared in the time of one step."""

EXTENSION = 16
"""Steps that it takes to extend a match one way: 2.5 microseconds, where a step of the search takes
0.3."""

LOOKS = 4
"""Steps that it takes to see that a match cannot be long enough."""


class TooMuchWork(Exception):
    """A matcher has taken as many steps as it may: what it would find is not known."""


@dataclass
class Match:
    """A piece of a text, and where it stands in the haystack."""

    start: int
    """Its first byte in the text."""
    end: int
    at: int
    """Its first byte in the haystack."""
    is_settled: bool = False
    """Whether it stands at one place alone, or next to a match that does."""
    others: "list[Match]" = field(default_factory=list["Match"])
    """The same piece, or nearly all of it, at other places, in order."""

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.end - self.start

    @property
    def diagonal(self) -> int:
        """The distance between its places: one piece has one, wherever it is looked at."""
        return self.at - self.start


class Matcher:
    """A haystack, indexed. Not for several threads at once."""

    def __init__(self, haystack: bytes, most_steps: int = 1 << 62) -> None:
        """Index a haystack.

        Args:
            haystack: the text in which to find pieces of others.
            most_steps: bytes of texts that may be gone through one by one, over all of them.
        """
        self.haystack = haystack
        self.steps = 0
        """Steps taken so far."""
        self._most_steps = most_steps
        self._size = LEAST_BLOCK
        while len(haystack) // self._size > MOST_BLOCKS:
            self._size *= 2
        self._first: dict[int, int] = {}
        self._more: dict[int, list[int]] = {}
        self._often: dict[int, int] = {}
        """How many places blocks have of which not all are kept."""
        self._index()

    def _index(self) -> None:
        """Note where each block stands."""
        size, haystack, known = self._size, self.haystack, self._first.setdefault
        for start in range(0, len(haystack) - size + 1, size):
            key = hash(haystack[start : start + size])
            if known(key, start) != start:
                places = self._more.setdefault(key, [])
                if len(places) < PLACES:
                    places.append(start)
                else:
                    self._often[key] = self._often.get(key, PLACES + 1) + 1

    def matches(self, text: bytes, known: tuple[int, int] = (0, 0)) -> list[Match]:
        """Find the pieces of a text.

        Args:
            text: UTF-8, as the haystack is.
            known: how many of its first and of its last bytes are those of an earlier text. What
                lies within these alone is not found again.

        Returns:
            Matches of at least `LEAST` bytes that begin and end between characters, in order.

        Raises:
            TooMuchWork: all steps are taken.
        """
        found = self._found(text, max(0, known[0] - self._size + 1), len(text) - known[1])
        _settle(found)
        whole = (self.between_characters(text, match) for match in found)
        return [match for match in whole if match.size >= LEAST]

    def _found(self, text: bytes, at: int, end: int) -> list[Match]:
        """Find the pieces that have a block in them which begins from `at` on and before `end`."""
        size, first = self._size, self._first
        found: list[Match] = []
        end = min(end, len(text) - size + 1)
        while at < end:
            begin = at
            while at < end and hash(text[at : at + size]) not in first:
                at += 1
            self._count(at - begin + 1)
            if at >= end:
                break
            match = self._best(text, at, _floor(found))
            if match is None:
                at += 1
                continue
            if not match.is_settled:
                match = self._across(text, match, _floor(found))
            while found and found[-1].start >= match.start:
                found.pop()
            found.append(match)
            at = match.end
        return found

    def _across(self, text: bytes, match: Match, floor: int) -> Match:
        """Give a longer match that goes on where one of many places ends; else that one.

        What lines have in common ends where they differ, and so do the blocks across its end.
        """
        longer = self._best(text, max(0, match.end - self._size + 1), floor)
        goes_on = longer is not None and longer.start <= match.start and longer.end > match.end
        return longer if longer is not None and goes_on else match

    def _count(self, steps: int) -> None:
        self.steps += steps
        if self.steps > self._most_steps:
            raise TooMuchWork

    def _best(self, text: bytes, at: int, floor: int) -> Match | None:
        """Extend what the blocks at `at` and just after it lead to, and give the longest.

        Args:
            text: the text.
            at: the offset of a block that is known.
            floor: the offset before which no match may begin.
        """
        crowded: list[int] = []
        found = sorted(self._extended(text, at, floor, crowded), key=lambda each: each.at)
        if not found:
            return None
        best = max(found, key=lambda each: each.size)  # the first one of several
        least = best.size - CHANCE
        best.others = [each for each in found if each.size >= least and each is not best]
        is_alone = not any(self._may_be_elsewhere(text, start, best) for start in crowded)
        best.is_settled = is_alone and not best.others
        return best

    def _extended(self, text: bytes, at: int, floor: int, crowded: list[int]) -> Iterator[Match]:
        """Give each match that has one of the next blocks in it, once, but for those that are
        shorter than another by more than chance. The offsets of blocks with more places than are
        kept are added to `crowded`."""
        least = LEAST
        for start, place in self._candidates(text, at, crowded):
            room = min(max(start - floor, 0), place)
            if self._is_shorter(text, start, place, room, least):
                continue
            match = self._extend(text, start, place, room, least)
            if match is not None:
                least = max(least, match.size - CHANCE)
                yield match

    def _candidates(self, text: bytes, at: int, crowded: list[int]) -> list[tuple[int, int]]:
        """Give the offsets and the places of the next blocks, one of each diagonal. Those of blocks
        with few places come first: they lead to the longest match sooner."""
        size, diagonals = self._size, set[int]()
        self._count(size)
        found: list[tuple[int, int, int]] = []
        for start in range(at, min(at + size, len(text) - size + 1)):
            places = self._places(text, start)
            if len(places) > PLACES:
                crowded.append(start)
            for place in places:
                if place - start not in diagonals:
                    diagonals.add(place - start)
                    found.append((self._count_of(text, start, places), start, place))
        found.sort()
        crowded += {start for _, start, _ in found[CANDIDATES:]}
        return [(start, place) for _, start, place in found[:CANDIDATES]]

    def _is_shorter(self, text: bytes, start: int, place: int, room: int, least: int) -> bool:
        """Tell at a look or two whether a match has fewer than `least` bytes.

        It has, if it goes on for less than half of them on both sides of `start`; and where there
        is `room` for less before it, if it does not go on for the rest.
        """
        haystack, half = self.haystack, (least + 1) // 2
        forth = max(half, least - room)
        self._count(LOOKS + forth // STEP)
        if text[start : start + forth] == haystack[place : place + forth]:
            return False
        return room < half or text[start - half : start] != haystack[place - half : place]

    def _places(self, text: bytes, start: int) -> list[int]:
        """Give the places of a block of the text, first to last, as far as they are kept."""
        key = hash(text[start : start + self._size])
        first = self._first.get(key)
        return [] if first is None else [first, *self._more.get(key, ())]

    def _count_of(self, text: bytes, start: int, places: list[int]) -> int:
        """Tell how many places a block has, whether they are kept or not."""
        if len(places) <= PLACES:
            return len(places)
        return self._often.get(hash(text[start : start + self._size]), len(places))

    def _extend(self, text: bytes, start: int, place: int, room: int, least: int) -> Match | None:
        """Extend a match both ways as far as text and haystack agree: at most `room` bytes back.

        None if it has fewer than `least` bytes.
        """
        haystack = self.haystack
        most = min(len(text) - start, len(haystack) - place)
        forth = common_start(text, start, haystack, place, most)
        missing = least - forth
        self._count(EXTENSION + forth // STEP)
        if missing > room:
            return None
        if missing > 0 and text[start - missing : start] != haystack[place - missing : place]:
            return None
        back = common_end(text, start, haystack, place, room)
        self._count(EXTENSION + back // STEP)
        return Match(start - back, start + forth, place - back)

    def _may_be_elsewhere(self, text: bytes, start: int, match: Match) -> bool:
        """Tell whether a match may stand at a place that is not kept.

        Args:
            text: the text.
            start: the offset of a block with more places than are kept.
            match: of the text. If there is such a place, its blocks are those of the match from
                `start` on, one behind the other: one of them may have few places.
        """
        size = self._size
        first = start + max(0, -((start - match.start) // size)) * size
        for begin in range(first, match.end - size + 1, size):
            self._count(1)
            places = self._places(text, begin)
            if len(places) <= PLACES:
                away = [place - begin for place in places if place - begin != match.diagonal]
                return any(self._stands(text, match, diagonal) for diagonal in away)
        return True

    def _stands(self, text: bytes, match: Match, diagonal: int) -> bool:
        at = match.start + diagonal
        piece = text[match.start : match.end]
        return at >= 0 and self.haystack[at : at + match.size] == piece

    def between_characters(self, text: bytes, match: Match) -> Match:
        """Leave out the bytes of a character that is not whole."""
        start, end = match.start, match.end
        while start < end and not is_start(text, start):
            start += 1
        while start < end and not (
            is_start(text, end) and is_start(self.haystack, end + match.diagonal)
        ):
            end -= 1
        others = [self.between_characters(text, each) for each in match.others]
        long_enough = [each for each in others if each.size >= LEAST]
        return Match(start, end, start + match.diagonal, match.is_settled, long_enough)


def _floor(found: list[Match]) -> int:
    """Give the end of the last match whose place is sure. After it, a match may take the place of
    shorter ones."""
    return next((match.end for match in reversed(found) if match.is_settled), 0)


def _settle(found: list[Match]) -> None:
    """Give matches that stand at several places the one next to a neighbour whose place is sure;
    else the first, with the others behind it."""
    for index in range(1, len(found)):
        if found[index - 1].is_settled and not found[index].is_settled:
            found[index] = _behind(found[index - 1], found[index])
    for index in range(len(found) - 2, -1, -1):
        if found[index + 1].is_settled and not found[index].is_settled:
            found[index] = _before(found[index], found[index + 1])
    for index, match in enumerate(found):
        if not match.is_settled:
            first, *others = sorted([match, *match.others], key=lambda each: each.at)
            found[index] = Match(first.start, first.end, first.at, others=[*map(_bare, others)])


def _bare(match: Match) -> Match:
    return Match(match.start, match.end, match.at)


def _behind(before: Match, match: Match) -> Match:
    """Give a match the first place just behind its neighbour's, if it stands there."""
    end = before.end + before.diagonal
    for each in sorted([match, *match.others], key=lambda each: each.at):
        if 0 <= each.start - before.end <= NEAR and 0 <= each.at - end <= NEAR:
            return Match(each.start, each.end, each.at, True)
    return match


def _before(match: Match, after: Match) -> Match:
    """Give a match the last place just before its neighbour's, if it stands there."""
    for each in sorted([match, *match.others], key=lambda each: each.at, reverse=True):
        gap = after.at - each.end - each.diagonal
        if 0 <= after.start - each.end <= NEAR and 0 <= gap <= NEAR:
            return Match(each.start, each.end, each.at, True)
    return match
