"""Lines: where a pattern matches in a stored text, and how a line is shown.

Positions are bytes. Lines end at "\\n" or "\\r\\n".
"""

import mmap
import re
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from langgraph_rlm.storage.blobs import to_bytes, to_text
from langgraph_rlm.storage.patterns import compile_pattern
from langgraph_rlm.storage.ranges import Ranges
from langgraph_rlm.storage.text_index import count_chars, start_after, start_before

LINE_CHARS = 500
"""Most characters that `grep` shows of one line, unless it is told another number."""

CHAR_BYTES = 4
"""Most bytes of one character."""

CUT = "..."
"""Stands where a line is cut."""

REACH = 1 << 16
"""Bytes of a line that are searched for its next match at first.

A match of half as many is found whatever the line; a longer one may give way to one within it.
"""

NEWLINE = 0x0A

_QUOTE = r"\\Q.*?(?:\\E|\Z)"
_CLASS = r"\[\^?\]?(?:\[:\^?\w+:\]|\\.?|[^]\\])*+(?:\]|\Z)"
_PARTS = re.compile(rf"{_QUOTE}|\\.|{_CLASS}|\$", re.DOTALL)
"""What of a pattern may hold a `$`: quotes, escapes, classes, and it alone. Takes linear time."""


class Line(NamedTuple):
    """One line of the stored text."""

    start: int
    """Its first byte."""
    end: int
    """The byte after its text."""
    newline: int
    """The byte of its newline, or the end of the stored text."""


class Hit(NamedTuple):
    """One match, and its line."""

    start: int
    """Its first byte."""
    end: int
    """The byte after it."""
    line: Line


class Search:
    """A pattern that is looked for in each line by itself, in time linear in the text."""

    def __init__(self, pattern: object, *, ignore_case: bool) -> None:
        """Compile an RE2 pattern.

        Raises:
            ValueError: not a str, or RE2 does not take it.
        """
        self.pattern = checked_pattern(pattern)
        self.ignore_case = ignore_case
        self.regex = line_pattern(pattern, _by_line(self.pattern), ignore_case)
        self._may_cut = "\\C" in self.pattern  # it matches one byte, of any character

    def hits(self, data: mmap.mmap, first: int = 0, last: int | None = None) -> Iterator[Hit]:
        """Find every match, first to last; search no further than the caller asks.

        A match of nothing ends its line: `x*` and `^` match once a line, not at each character. In
        a line that has begun before `first`, it is left out.

        Args:
            data: the stored text.
            first: the byte to begin at.
            last: the byte after the last line; None for the end of the text.
        """
        end = len(data) if last is None else last
        line = self.line_at(data, first)
        if first > line.start:
            yield from self._rest_of_line(data, first, line)
            first = line.newline + 1
        while first < end:
            stopped = yield from self._plain_hits(data, first, end)
            if stopped is None:
                return
            yield from self._hits_of_line(data, stopped)
            first = stopped.line.newline + 1

    def _plain_hits(
        self, data: mmap.mmap, first: int, last: int
    ) -> Generator[Hit, None, "_Stopped | None"]:
        """Find the matches from the start of a line on that are what one search has found.

        Returns:
            Where that ends: at a match of nothing, one that may have the "\\r" of a line's ending,
            one in a long line, and one that may cut a character. None if there are no more.
        """
        line, at = Line(first, first, first - 1), None
        for match in self.regex.finditer(data, first, last):
            start, end = match.span()
            if start > line.newline:
                if start >= last and data[last - 1] == NEWLINE:
                    return None  # an empty match after the last newline, where there is no line
                line, at = _line_of(data, start, first), None
            is_long = line.newline - line.start > REACH
            if start == end or end > line.end or is_long or self._may_cut:
                return _Stopped(line, start, end, at)
            yield Hit(start, end, line)
            at = end
        return None

    def _hits_of_line(self, data: mmap.mmap, stopped: "_Stopped") -> Iterator[Hit]:
        """Find the matches of one line, or what is left of them, whatever they are."""
        line, at = stopped.line, stopped.behind
        if at is None:
            is_text = stopped.start == stopped.end or stopped.start < line.end
            if not is_text and self.regex.search(data[line.start : line.end]) is None:
                return  # it matches the "\r" before a newline, and nothing of the text
            hit = _hit(data, stopped.start, stopped.end, line)
            yield hit
            if hit.start == hit.end:
                return
            at = hit.end
        yield from self._rest_of_line(data, at, line)

    def _rest_of_line(self, data: mmap.mmap, at: int, line: Line) -> Iterator[Hit]:
        """Find the matches of a line at or after a byte of it, but for those of nothing."""
        hit = self.further(data, at, line)
        while hit is not None:
            yield hit
            hit = self.further(data, hit.end, line)

    def line_at(self, data: mmap.mmap, byte: int) -> Line:
        """Find the line that has a byte; the one after its newline begins a new one."""
        return _line_of(data, byte, 0)

    def further(self, data: mmap.mmap, at: int, line: Line) -> Hit | None:
        """Find the next match at or after a byte of a line, if it matches anything.

        Searching the whole rest of a line for each of its matches would take quadratic time for
        patterns such as `x.*z|x`. So a part is searched, and one of twice the length when that is
        not enough to be sure: altogether no more than a few times the line.
        """
        reach = REACH
        last = min(at + reach, line.newline)
        match = self.regex.search(data, at, last)
        while last < line.newline and not _is_sure(match, at + reach // 2, last):
            reach *= 2
            last = min(at + reach, line.newline)
            match = self.regex.search(data, at, last)
        if match is None:
            return None
        further = _hit(data, match.start(), match.end(), line)
        return further if further.start < further.end else None


class _Stopped(NamedTuple):
    """A match that has to be looked at with care."""

    line: Line
    start: int
    end: int
    behind: int | None
    """The end of the match before it in its line; None where it is the first."""


def _line_of(data: mmap.mmap, byte: int, first: int) -> Line:
    """Find the line that has a byte, which begins at byte `first` or after it."""
    start = max(data.rfind(b"\n", first, byte) + 1, first)
    newline = line_end(data, byte, len(data))
    return Line(start, text_end(data, start, newline), newline)


def _is_sure(match: Any, middle: int, last: int) -> bool:
    """Tell whether a match that was found before byte `last` is the next one of its line.

    One that comes after the middle is not: an earlier one might end after `last`. One that touches
    the end is not: it might be longer.
    """
    return match is not None and match.start() <= middle and match.end() < last


def _hit(data: mmap.mmap, start: int, end: int, line: Line) -> Hit:
    """Make a hit of what RE2 has matched: whole characters, within the text of its line."""
    first = min(start_before(data, start), line.end)
    last = min(start_after(data, end), line.end)
    return Hit(first, last, line)


def line_pattern(pattern: object, rewritten: str, ignore_case: bool) -> Any:
    """Compile an RE2 pattern that matches no newline.

    Args:
        pattern: as it was given, for the message.
        rewritten: what is compiled.
        ignore_case: whether letters match in either case.

    Raises:
        ValueError: RE2 does not take it.
    """
    settings = {"never_nl": True, "never_capture": True, "case_sensitive": not ignore_case}
    try:
        return compile_pattern(b"(?m)" + to_bytes(rewritten), **settings)
    except ValueError as error:
        raise ValueError(
            f"grep cannot take the pattern {pattern!r}: {error}. Patterns are RE2 (linear time), "
            "with no lookaround and no back-references: grep for a simpler pattern and filter the "
            "matches in Python instead."
        ) from None


def checked_pattern(pattern: object) -> str:
    """Give a pattern back, which must be a str.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"grep({pattern!r}): the pattern must be a str.")
    return pattern


def _by_line(pattern: str) -> str:
    """Let `$` match before "\\r\\n" too, and `\\A`, `\\Z` and `\\z` mean the ends of a line."""
    end = r"(?:\r?$)"
    anchors = {"\\A": "^", "\\Z": end, "\\z": end, "$": end}
    return _PARTS.sub(lambda part: anchors.get(part[0], part[0]), pattern)


def line_end(data: mmap.mmap, byte: int, last: int) -> int:
    """Find the first newline at or after a byte; `last` if there is none before that."""
    newline = data.find(b"\n", byte, last)
    return last if newline < 0 else newline


def text_end(data: mmap.mmap, start: int, newline: int) -> int:
    """Find the byte after a line's text: a "\\r" before its newline is not part of it."""
    if start < newline < len(data) and data[newline - 1] == 0x0D:
        return newline - 1
    return newline


def lines_before(data: mmap.mmap, line_start: int, first: int, count: int) -> Ranges:
    """Find at most `count` lines before the one at `line_start`, none before byte `first`."""
    lines: Ranges = []
    while len(lines) < count and line_start > first:
        end = line_start - 1
        line_start = max(data.rfind(b"\n", first, end) + 1, first)
        lines.append((line_start, end))
    return lines[::-1]


def lines_after(data: mmap.mmap, newline: int, last: int, count: int) -> Ranges:
    """Find at most `count` lines after the one that ends at `newline`, none after byte `last`."""
    lines: Ranges = []
    while len(lines) < count and newline + 1 < last:
        start = newline + 1
        newline = line_end(data, start, last)
        lines.append((start, newline))
    return lines


def head_of(data: mmap.mmap, start: int, end: int, width: int, shown: Ranges) -> str:
    """Show a line, or its first characters and "...". What is shown is added to `shown`."""
    most = start + CHAR_BYTES * (width + 1)
    text = to_text(data[start : start_before(data, min(end, most))])
    if len(text) <= width:
        shown.append((start, end))
        return text
    text = text[: width - len(CUT)]
    shown.append((start, start + len(to_bytes(text))))
    return text + CUT


def around(data: mmap.mmap, hit: Hit, width: int, shown: Ranges) -> str:
    """Show a matching line. What is shown is added to `shown`.

    A long line is cut to the match in the middle of what surrounds it, with "..." at each cut.
    """
    if hit.line.end - hit.line.start <= CHAR_BYTES * width:
        text = to_text(data[hit.line.start : hit.line.end])
        if len(text) <= width:
            shown.append((hit.line.start, hit.line.end))
            return text
    before, after = _beside(data, hit, width - 2 * len(CUT))
    start = hit.start - len(to_bytes(before))
    end = hit.start + len(to_bytes(after))
    shown.append((start, end))
    text = before + after
    if start > hit.line.start:
        text = CUT + text
    if end < hit.line.end:
        text += CUT
    return text


def _beside(data: mmap.mmap, hit: Hit, room: int) -> tuple[str, str]:
    """Cut a long line to `room` characters around its match.

    Returns:
        What is shown before the start of the match, and what from there on.
    """
    least = max(hit.line.start, hit.start - CHAR_BYTES * (room + 2 * len(CUT)))
    most = hit.start + CHAR_BYTES * room
    before = to_text(data[start_after(data, least) : hit.start])
    after = to_text(data[hit.start : start_before(data, min(hit.line.end, most))])
    matched = count_chars(data[hit.start : min(hit.end, most)])
    lead = max((room - matched) // 2, room - len(after), 0)
    before = before[max(0, len(before) - lead) :]
    return before, after[: room - len(before)]
