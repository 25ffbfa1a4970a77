"""Translation: where the bytes of a child's context stand in the contexts of its parent."""

from collections.abc import Iterator
from dataclasses import dataclass

from langgraph_rlm.coverage.haystack import Haystack, Place, variants
from langgraph_rlm.coverage.mapped import Mapped
from langgraph_rlm.coverage.matching import LEAST, Match, Matcher
from langgraph_rlm.storage.blobs import BlobStore


@dataclass(frozen=True)
class _Form:
    """A form of a child's context, and its matches."""

    text: Mapped
    matches: list[Match]


class Translation:
    """The contexts of children, each matched once."""

    def __init__(self, haystack: Haystack, matcher: Matcher, blobs: BlobStore) -> None:
        self._haystack = haystack
        self._matcher = matcher
        self._blobs = blobs
        self._known: dict[str, list[_Form]] = {}

    def of(self, digest: str, start: int, end: int) -> Iterator[Place]:
        """Give the places of a range of a child's context. Blocks.

        Args:
            digest: of the child's context.
            start: the first byte of the range.
            end: the byte after its last.

        Raises:
            BlobError: the child's context is missing or altered.
            TooMuchWork: all steps are taken.
        """
        if digest not in self._known:
            self._known[digest] = self._forms(digest)
        for form in self._known[digest]:
            first, last = form.text.own(start), form.text.own(end)
            for match in form.matches:
                here, there = max(first, match.start), min(last, match.end)
                if there - here >= min(LEAST, last - first) and there > here:
                    yield self._haystack.place(here + match.diagonal, there + match.diagonal)

    def _forms(self, digest: str) -> list[_Form]:
        data = self._blobs.get(digest)
        return [_Form(form, self._matcher.matches(form.data)) for form in variants(data)]
