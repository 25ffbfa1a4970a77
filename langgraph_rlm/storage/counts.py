"""Counts: how many matches a text has, where nobody wants to see them. Shows nothing.

A gigabyte can have twenty million, and making a `Hit` of each would take minutes.
"""

import mmap
import re
from collections.abc import Callable

from langgraph_rlm.storage.blobs import to_bytes
from langgraph_rlm.storage.lines import REACH, Line, Search

PIECE = 4 << 20
"""Bytes that are searched between two looks at the clock."""

RETURN = 0x0D
"""It may be part of a line's ending."""

_WORDS = re.compile(r"[^\\.^$|?*+()\[\]{}\r\n]+")
"""A pattern that matches itself alone."""


def count_matches(search: Search, data: mmap.mmap, first: int, check: Callable[[], None]) -> int:
    """Count what `search.hits(data, first)` gives.

    Args:
        search: the pattern.
        data: the stored text.
        first: the byte to begin at.
        check: called now and then; it raises where the count has taken too long.
    """
    words = _words_of(search)
    if words:
        return _count_words(words, data, first, check)
    return _Counting(search, data, check).from_byte(first)


def _words_of(search: Search) -> bytes:
    """Give the bytes that a pattern matches if they are always the same; else none.

    Words that overlap themselves, as `aa` does in `aaa`, are left out: a piece of a text does not
    tell where the first one is.
    """
    if search.ignore_case or not _WORDS.fullmatch(search.pattern):
        return b""
    words = to_bytes(search.pattern)
    overlaps = any(words.endswith(words[:size]) for size in range(1, len(words)))
    return b"" if overlaps else words


def _count_words(words: bytes, data: mmap.mmap, first: int, check: Callable[[], None]) -> int:
    count = 0
    for start in range(first, len(data), PIECE):
        check()
        count += data[start : start + PIECE + len(words) - 1].count(words)
    return count


class _Counting:
    """One count. Windows of text are searched as far as that gives what `Search.hits` gives."""

    def __init__(self, search: Search, data: mmap.mmap, check: Callable[[], None]) -> None:
        self._search = search
        self._data = data
        self._check = check
        self._checked = 0

    def from_byte(self, byte: int) -> int:
        """Count from a byte on."""
        count, data = 0, self._data
        line = self._search.line_at(data, byte)
        if byte > line.start:
            count, byte = self._in_line(byte, line), line.newline + 1
        while byte < len(data):
            self._look(byte)
            end = data.rfind(b"\n", byte, byte + REACH) + 1
            if end:
                count += self._in_lines(byte, end)
                byte = end
            else:
                line = self._search.line_at(data, byte)
                count += self._in_long_line(line)
                byte = line.newline + 1
        return count

    def _look(self, byte: int) -> None:
        if byte >= self._checked:
            self._checked = byte + REACH
            self._check()

    def _in_lines(self, first: int, last: int) -> int:
        """Count in whole lines that are short."""
        data, count = self._data, 0
        for match in self._search.regex.finditer(data, first, last):
            start, end = match.span()
            if start == end or data[end - 1] == RETURN:  # what these count as, their lines tell
                return sum(1 for _ in self._search.hits(data, first, last))
            count += 1
        return count

    def _in_long_line(self, line: Line) -> int:
        """Count in one line, which may be the whole text."""
        for hit in self._search.hits(self._data, line.start, line.newline):
            if hit.start == hit.end:
                return 1
            return 1 + self._in_line(hit.end, line)
        return 0

    def _in_line(self, at: int, line: Line) -> int:
        """Count the matches of a line that begin at a byte or after it."""
        count = 0
        while at < line.end:
            self._look(at)
            found, at = self._in_window(at, min(at + REACH, line.newline), line)
            count += found
            hit = self._search.further(self._data, at, line)
            if hit is None:
                return count
            count, at = count + 1, hit.end
        return count

    def _in_window(self, at: int, last: int, line: Line) -> tuple[int, int]:
        """Count the matches of a part of a line that are sure to be its next ones.

        Returns:
            How many, and the byte after the last of them.
        """
        count, middle = 0, at + REACH // 2
        for match in self._search.regex.finditer(self._data, at, last):
            start, end = match.span()
            if start == end or start > middle or end >= min(last, line.end):
                break
            count, at = count + 1, end
        return count, at
