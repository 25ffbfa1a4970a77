"""Of a log: which bytes of its contexts an RLM's code read, and models saw. Asks nobody."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from langgraph_rlm.coverage.evidence import (
    Calls,
    Given,
    Told,
    Used,
    Way,
    begun_questions,
    children_in,
    contexts_in,
    reads_in,
    shown_in,
    uses_in,
)
from langgraph_rlm.coverage.haystack import Haystack, Place, Source, variants
from langgraph_rlm.coverage.joined import joined
from langgraph_rlm.coverage.matching import Matcher, TooMuchWork
from langgraph_rlm.coverage.series import Series
from langgraph_rlm.coverage.translation import Translation
from langgraph_rlm.log.places import AnyLog
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.ranges import Ranges, merge_ranges, size_of
from langgraph_rlm.storage.reads import PREVIEW_CHARS, Reader

EDGE = 1 << 14
"""Bytes at the start and the end of a context that are always searched, whatever code did with it:
the question of a child that was given a prompt alone has them."""


@dataclass(frozen=True)
class Bounds:
    """How much is done to find out."""

    most_bytes: int = 64 << 20
    """Bytes of contexts that are searched, of one RLM. Each takes a byte of memory, and there is
    an index of at most 80 MB beside them."""
    most_steps: int = 8_000_000
    """Bytes of texts that are gone through one by one, because they stand in no context: about
    0.3 microseconds each."""


@dataclass(frozen=True)
class Found:
    """A piece of a context that somebody was given, and by what."""

    digest: str
    start: int
    """Its first byte in the stored text."""
    end: int
    way: Way
    place: str
    """In the log of the RLM."""
    rlm: str = ""
    """The id of the RLM, where it is not the one that is looked at."""

    def within(self, rlm: str) -> "Found":
        """Say in which RLM's log the place is, unless that is said already."""
        return self if self.rlm else replace(self, rlm=rlm)


ChildrenFound = Mapping[str, Sequence[Found]]
"""What was found in the contexts of children, by the places of their answers."""


@dataclass
class Covered:
    """What is known of the contexts of one RLM."""

    contexts: dict[str, ContextHandle]
    """Those that have text, by name."""
    whole: set[str]
    """Digests of those of which code read what is not known."""
    found: list[Found] = field(default_factory=list[Found])
    joined: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """How many bytes code read where the log has joined ranges, by digest and place."""
    unknown: set[str] = field(default_factory=set[str])
    """Digests of those that were too large, or took too long, to be searched."""
    steps: int = 0
    """How many steps it took to find out."""

    def ranges(self, digest: str, *ways: Way) -> Ranges:
        """Give the merged ranges of a context that were found in some ways."""
        return merged(each for each in self.found if each.digest == digest and each.way in ways)

    def bytes_read(self, digest: str) -> int:
        """Count the bytes of a context that code read; somewhat more where ranges were joined."""
        joined = sum(size for (of, _), size in self.joined.items() if of == digest)
        exact = merged(
            each
            for each in self.found
            if each.digest == digest
            and each.way == "read"
            and (digest, each.place) not in self.joined
        )
        return min(size_of(self.ranges(digest, "read")), size_of(exact) + joined)


def merged(found: Iterable[Found]) -> Ranges:
    """Give the ranges of pieces of one context, merged."""
    return merge_ranges((each.start, each.end) for each in found)


def covered(
    log: AnyLog,
    blobs: BlobStore,
    *,
    is_loaded: Callable[[ContextHandle], bool] = lambda _: True,
    output_chars: int | None = None,
    children: ChildrenFound | None = None,
    bounds: Bounds | None = None,
) -> Covered:
    """Find out what of its contexts an RLM's code read, and models saw. Blocks.

    Args:
        log: of the RLM, all questions of its thread.
        blobs: has its contexts and texts.
        is_loaded: tells whether a context is bound as a variable.
        output_chars: most characters of one text of a cell that the root model is shown.
        children: what was found in children's contexts; None for what their answers say.
        bounds: how much to do.

    Raises:
        BlobError: a context or a text is missing or altered.
    """
    look = _Look(log, blobs, bounds or Bounds())
    look.note_reads(is_loaded)
    look.note_sent_ranges()
    look.match(output_chars, children)
    return look.covered


class _Look:
    """One look at one log."""

    def __init__(self, log: AnyLog, blobs: BlobStore, bounds: Bounds) -> None:
        self._log = log
        self._blobs = blobs
        self._bounds = bounds
        self._handles = {handle.digest: handle for handle in contexts_in(log).values()}
        self._touched = defaultdict[str, list[Sequence[int]]](list)
        self._used = Used()
        self._calls = Calls(log, blobs)
        self._unsettled: list[Sequence[Found]] = []
        self.covered = Covered(contexts_in(log), set())

    # What the log says itself

    def note_reads(self, is_loaded: Callable[[ContextHandle], bool]) -> None:
        """Note what code read, and what of the contexts models may have been told."""
        loaded = {digest for digest, handle in self._handles.items() if is_loaded(handle)}
        self._used = uses_in(self._log, self._blobs, loaded)
        self._note_slices_of_rows()
        self.covered.whole = self._used.whole & self._handles.keys()
        for digest, handle in self._handles.items():
            self._touched[digest] += [(0, EDGE), (handle.size - EDGE, handle.size)]
        for given in (*reads_in(self._log), *self._slices(), *self._previews()):
            self._note(given)
        for digest in self._used.had & self._handles.keys():
            self._touched[digest].append((0, self._handles[digest].size))

    def _note_slices_of_rows(self) -> None:
        """Take a slice of a list for a use of all of it: its bytes are not counted by items."""
        for _, digest, _ in self._used.slices:
            if digest in self._handles and self._handles[digest].kind != "text":
                self._used.whole.add(digest)
                self._used.had.add(digest)

    def note_sent_ranges(self) -> None:
        """Note what calls sent by its numbers."""
        for given in self._calls.ranges():
            self._note(given)

    def _note(self, given: Given) -> None:
        if given.digest in self._handles:
            self._touched[given.digest] += given.ranges
            if given.size is not None:
                self.covered.joined[given.digest, given.place] = given.size
            self.covered.found += [
                Found(given.digest, start, end, given.way, given.place)
                for start, end in given.ranges
                if start < end
            ]

    def _slices(self) -> Iterator[Given]:
        """Give the slices that code took of contexts, between numbers that stand in it."""
        for place, digest, each in self._used.slices:
            handle = self._handles.get(digest)
            if handle is None or handle.kind != "text":
                continue
            first, last, _ = slice(each.first, each.last).indices(handle.length)
            ranges = _bytes_of(handle, self._blobs, first, last)
            if each.is_sure and self._ended_well(place):
                yield Given(place, "read", digest, ranges)
            else:
                self._touched[digest] += ranges

    def _ended_well(self, place: str) -> bool:
        entry = self._log.get(place)
        return (
            entry is not None
            and entry["kind"] == "cell"
            and entry["outcome"] == "ok"
            and entry["final"] is None  # what stands behind a FINAL does not run
        )

    def _previews(self) -> Iterator[Given]:
        """Give the starts of contexts that questions show."""
        for place, question in begun_questions(self._log):
            for given in question["contexts"]:
                handle = self._handles.get(given["digest"])
                if handle is not None:
                    last = min(PREVIEW_CHARS, handle.length)
                    ranges = _bytes_of(handle, self._blobs, 0, last)
                    yield Given(place, "shown", handle.digest, ranges)

    # What has to be matched

    def match(self, output_chars: int | None, children: ChildrenFound | None) -> None:
        """Find the pieces of contexts in what models were told."""
        sources = self._sources()
        if not sources:
            return
        haystack = Haystack(sources, self._blobs)
        matcher = Matcher(haystack.data, self._bounds.most_steps)
        try:
            for told in self._calls.told():
                self._match_texts(told, haystack, matcher)
            shown = [*shown_in(self._log, self._blobs, output_chars)]
            self._match_texts(shown, haystack, matcher)
            self._translate(children, haystack, matcher)
            self._settle()
        except TooMuchWork:
            self.covered.unknown |= {source.handle.digest for source in sources}
        self.covered.steps = matcher.steps

    def _sources(self) -> list[Source]:
        """Give what is searched: what code may have, the smallest first, as far as there is room.

        The rest is not known, and neither is what was seen of it.
        """
        every = [
            Source(self._handles[digest], _within(found, self._handles[digest].size))
            for digest, found in self._touched.items()
        ]
        sources: list[Source] = []
        room = self._bounds.most_bytes
        for source in sorted(every, key=lambda each: each.size):
            room -= source.size
            if room < 0:
                self.covered.unknown.add(source.handle.digest)
            elif source.size:
                sources.append(source)
        return sources

    def _match_texts(self, told: Iterable[Told], haystack: Haystack, matcher: Matcher) -> None:
        series = (Series(matcher), Series(matcher))
        for each in told:
            forms = variants(to_bytes(each.text))
            for form, one in zip(forms, series, strict=False):
                for match in one.matches(form.data):
                    first, *others = [
                        _found(haystack.place(piece.at, piece.at + piece.size), each)
                        for piece in (match, *match.others)
                    ]
                    if match.is_settled:
                        self.covered.found.append(first)
                    else:
                        self._unsettled.append((first, *others))

    def _settle(self) -> None:
        """Count what stands at several places for one that counts already, else for the first.

        So what was sent once and is there twice is not counted twice, wherever it was found first.
        """
        known = {digest: self.covered.ranges(digest, "sent", "shown") for digest in self._handles}
        for places in self._unsettled:
            counted = (each for each in places if _is_within(each, known[each.digest]))
            self.covered.found.append(next(counted, places[0]))

    def _translate(
        self, children: ChildrenFound | None, haystack: Haystack, matcher: Matcher
    ) -> None:
        """Say of what models have seen in children's contexts where it stands in these."""
        translation = Translation(haystack, matcher, self._blobs)
        for place, found in (_told_by(self._log) if children is None else children).items():
            for each in found:
                for there in translation.of(each.digest, each.start, each.end):
                    here = replace(each, digest=there.digest, start=there.start, end=there.end)
                    self.covered.found.append(here if each.rlm else replace(here, place=place))


def _found(place: Place, told: Told) -> Found:
    return Found(place.digest, place.start, place.end, told.way, told.place)


def _is_within(piece: Found, ranges: Ranges) -> bool:
    """Tell whether all of a piece lies within one of some merged ranges."""
    number = bisect_right(ranges, (piece.start, 1 << 62)) - 1
    return number >= 0 and piece.end <= ranges[number][1]


def _within(ranges: Iterable[Sequence[int]], size: int) -> Ranges:
    """Merge ranges, without what of them lies outside of a text."""
    return merge_ranges((max(0, start), min(end, size)) for start, end in ranges)


def _told_by(log: AnyLog) -> dict[str, list[Found]]:
    """Give what the answers of children say that models have seen."""
    return {
        child.place: [
            Found(digest, start, end, "sent", child.place)
            for digest, ranges in child.seen.items()
            for start, end in ranges
        ]
        for child in children_in(log)
    }


def _bytes_of(handle: ContextHandle, blobs: BlobStore, first: int, last: int) -> Ranges:
    """Give the bytes of some characters."""
    if first >= last:
        return []
    if handle.ascii:
        return [(first, last)]
    reader = Reader(handle, blobs)
    with reader.opened() as data:
        return [(reader.byte_of(data, first), reader.byte_of(data, last))]


def seen_ranges(known: Covered, digest: str, blobs: BlobStore) -> Ranges:
    """Give the ranges of a context that models have seen, with the marks between them (`joined`).

    Raises:
        BlobError: the context is missing or altered.
    """
    handle = next(each for each in known.contexts.values() if each.digest == digest)
    return joined(known.ranges(digest, "sent", "shown"), handle, blobs)
