"""Haystack: the contexts, or the parts of them that code may have, as one text to search.

Never matches, and never holds more than it is told to.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from langgraph_rlm.coverage.mapped import Mapped, shifted, unescaped
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, Kind
from langgraph_rlm.storage.ranges import Ranges

JSON_KINDS: tuple[Kind, ...] = ("list", "dict", "messages", "documents")
"""Kinds whose stored text is JSON: code sees the strings in it."""

BORDER = b"\xff"
"""Stands between two parts. No UTF-8 has it, so no match goes over it."""


@dataclass(frozen=True)
class Source:
    """What of a context is searched."""

    handle: ContextHandle
    ranges: Ranges
    """Of bytes; merged."""

    @property
    def size(self) -> int:
        """The bytes of all ranges."""
        return sum(end - start for start, end in self.ranges)


@dataclass(frozen=True)
class Place:
    """Some bytes of a context."""

    digest: str
    start: int
    end: int


class Haystack:
    """The text, and where its parts stand in their contexts."""

    def __init__(self, sources: Sequence[Source], blobs: BlobStore) -> None:
        """Read the parts of the contexts. Blocks.

        Raises:
            BlobError: one is missing or altered.
        """
        self._starts: list[int] = []
        self._parts: list[tuple[str, Mapped]] = []
        pieces: list[bytes] = []
        size = 0
        for digest, part in _parts(sources, blobs):
            self._starts.append(size)
            self._parts.append((digest, part))
            pieces += [part.data, BORDER]
            size += len(part.data) + 1
        self.data = b"".join(pieces)
        """All parts, with a border behind each."""

    def place(self, start: int, end: int) -> Place:
        """Give what `data[start:end]`, which has no border in it, is of its context."""
        number = bisect_right(self._starts, start) - 1
        digest, part = self._parts[number]
        first = self._starts[number]
        return Place(digest, *part.stored(start - first, end - first))


def _parts(sources: Sequence[Source], blobs: BlobStore) -> Iterator[tuple[str, Mapped]]:
    for source in sources:
        digest, is_json = source.handle.digest, source.handle.kind in JSON_KINDS
        for start, end in source.ranges:
            data = blobs.part(digest, start, end)
            yield digest, unescaped(data, start) if is_json else shifted(data, start)


def variants(text: bytes) -> list[Mapped]:
    """Give the forms in which a text is looked for: as it is, and without escapes if it has any."""
    plain = shifted(text, 0)
    return [plain, unescaped(text)] if b"\\" in text else [plain]
