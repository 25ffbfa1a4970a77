"""Quote sources: the texts that quotes may be of, in windows of a bounded size."""

import mmap
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from langgraph_rlm.coverage.common import is_start
from langgraph_rlm.coverage.haystack import JSON_KINDS
from langgraph_rlm.coverage.mapped import Mapped, shifted, unescaped
from langgraph_rlm.coverage.normalised import Normalised
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.context import ContextHandle, FileSpan, manifest
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.storage.text_index import count_chars

WINDOW = 32 << 20
"""Bytes that are searched at once: they take four times as much memory."""

OVERLAP = 1 << 16
"""Bytes of a window that the next has too: more than a quote has."""

BACK = 1 << 20
"""Bytes before a quote in which the mark of its page is looked for."""

PAGE = re.compile(rb"\[page (\d{1,9}) of [^\]\n]{1,1000}\]")

Data = bytes | mmap.mmap


class Window:
    """A part of a source, normalised."""

    def __init__(self, mapped: Mapped) -> None:
        self._mapped = mapped
        self._normalised = Normalised(mapped.data)
        self.text = self._normalised.data
        """What is searched."""

    def stored(self, start: int, end: int) -> tuple[int, int]:
        """Give the bytes of the stored text that `text[start:end]` came from."""
        return self._mapped.stored(*self._normalised.stored(start, end))

    def own(self, stored: int) -> int:
        """Give the offset in `text` of a byte of the stored text, or of what comes after it."""
        return self._normalised.own(self._mapped.own(stored))


@dataclass(frozen=True)
class QuoteSource:
    """A text that quotes may be of."""

    name: str
    digest: str | None
    is_json: bool
    """Whether it is a JSON text, whose strings are quoted."""
    opened: Callable[[], AbstractContextManager[Data]]
    """Opens the stored text."""
    files: Callable[[], tuple[FileSpan, ...]]
    """Lists its files, where it is of several."""

    def windows(self) -> Iterator[Window]:
        """Give its parts, first to last, one at a time. Blocks.

        Raises:
            BlobError: it is missing or altered.
        """
        with self.opened() as data:
            start = 0
            while start < len(data):
                end = min(start + WINDOW, len(data))
                while not _starts(data, end):
                    end += 1
                yield self._window(data, start, end)
                if end == len(data):
                    break
                start = end - OVERLAP
                while not _starts(data, start):
                    start -= 1

    def window(self, start: int, end: int) -> Window:
        """Give the part between two bytes. Blocks; raises as `windows` does."""
        with self.opened() as data:
            return self._window(data, start, end)

    def _window(self, data: Data, start: int, end: int) -> Window:
        part = data[start:end]
        return Window(unescaped(part, start) if self.is_json else shifted(part, start))

    def whereabouts(self, start: int) -> tuple[str | None, int | None]:
        """Give the file and the page of a byte, as far as they are known."""
        first, path = 0, None
        for name, begin, size in self.files():
            if begin <= start < begin + max(1, size):
                first, path = begin, name
        with self.opened() as data:
            before = data[max(first, start - BACK) : start]
        pages = [match[1] for match in PAGE.finditer(before)]
        return path, int(pages[-1]) if pages else None

    def characters(self, start: int, end: int) -> tuple[int, int]:
        """Give the characters of some bytes."""
        with self.opened() as data:
            first = sum(
                count_chars(data[at : min(at + WINDOW, start)]) for at in range(0, start, WINDOW)
            )
            return first, first + count_chars(data[start:end])


def _starts(data: Data, offset: int) -> bool:
    return offset >= len(data) or is_start(data[offset : offset + 1], 0)


def text_source(name: str, text: str) -> QuoteSource:
    """Make the source of a text."""
    data = to_bytes(text)
    return QuoteSource(name, None, False, lambda: nullcontext(data), tuple)


def handle_source(name: str, handle: ContextHandle, blobs: BlobStore) -> QuoteSource:
    """Make the source of a stored context."""

    @contextmanager
    def opened() -> Generator[Data]:
        with Reader(handle, blobs).opened() as data:
            yield data

    is_json = handle.kind in JSON_KINDS
    files = lambda: tuple(manifest(handle, blobs))  # noqa: E731 - as short as its neighbour
    return QuoteSource(name, handle.digest, is_json, opened, files)
