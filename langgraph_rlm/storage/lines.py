"""Lines: the lines of a stored text that match a pattern, and how a line is shown.

Positions are bytes. Lines end at "\\n" alone.
"""

import mmap
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.storage.blobs import to_bytes, to_text
from langgraph_rlm.storage.patterns import compile_pattern
from langgraph_rlm.storage.text_index import count_chars, start_after, start_before

Ranges = list[tuple[int, int]]
"""The parts that a read has shown: (first byte, byte after the last) in the stored text.

In order, none empty.
"""

LINE_CHARS = 500
"""Most characters that `grep` shows of one line."""

CHAR_BYTES = 4
"""Most bytes of one character."""

CUT = "..."
"""Stands where a line is cut."""


@dataclass(frozen=True)
class Hit:
    """One matching line and its first match."""

    start: int
    """First byte of the match."""
    end: int
    """Byte after the match."""
    line_start: int
    line_end: int
    """Byte of the line's newline, or the text's end."""


def line_pattern(pattern: object, ignore_case: bool) -> Any:
    """Compile an RE2 pattern that sees each line by itself.

    Raises:
        ValueError: not a str, or RE2 does not take it.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"grep({pattern!r}): the pattern must be a str.")
    source = b"(?m)" + to_bytes(_by_line(pattern))
    try:
        return compile_pattern(source, never_nl=True, case_sensitive=not ignore_case)
    except ValueError as error:
        raise ValueError(
            f"grep cannot take the pattern {pattern!r}: {error}. Patterns are RE2 (linear time), "
            "with no lookaround and no back-references: grep for a simpler pattern and filter the "
            "matches in Python instead."
        ) from None


def _by_line(pattern: str) -> str:
    """Let `\\A`, `\\Z` and `\\z` mean the ends of a line, as each line is searched by itself."""
    ends = {"\\A": "^", "\\Z": "$", "\\z": "$"}
    return re.sub(r"\\.", lambda escape: ends.get(escape[0], escape[0]), pattern, flags=re.DOTALL)


def hits(regex: Any, data: mmap.mmap) -> Iterator[Hit]:
    """Search for the lines that match, first to last; no further than the caller asks."""
    hit = _next_hit(regex, data, 0)
    while hit is not None:
        yield hit
        hit = _next_hit(regex, data, hit.line_end + 1)


def _next_hit(regex: Any, data: mmap.mmap, line: int) -> Hit | None:
    """Find the first line that matches, at or after the line that starts at byte `line`."""
    if line >= len(data):
        return None
    match = regex.search(data, line)
    if match is None:
        return None
    start, end = match.span()
    if start >= len(data) and data[len(data) - 1] == 0x0A:
        return None  # an empty match after the last newline, where there is no line
    start = start_before(data, start)
    newline = data.rfind(b"\n", line, start)
    line_start = newline + 1 if newline >= 0 else line
    line_end = _line_end(data, start, len(data))
    return Hit(start, min(start_after(data, end), line_end), line_start, line_end)


def _line_end(data: mmap.mmap, byte: int, last: int) -> int:
    """Find the first newline at or after a byte; `last` if there is none before that."""
    newline = data.find(b"\n", byte, last)
    return last if newline < 0 else newline


def lines_before(data: mmap.mmap, line_start: int, first: int, count: int) -> Ranges:
    """Find at most `count` lines before the one at `line_start`, none before byte `first`."""
    lines: Ranges = []
    while len(lines) < count and line_start > first:
        end = line_start - 1
        line_start = max(data.rfind(b"\n", first, end) + 1, first)
        lines.append((line_start, end))
    return lines[::-1]


def lines_after(data: mmap.mmap, line_end: int, last: int, count: int) -> Ranges:
    """Find at most `count` lines after the one that ends at `line_end`, none after byte `last`."""
    lines: Ranges = []
    while len(lines) < count and line_end + 1 < last:
        start = line_end + 1
        line_end = _line_end(data, start, last)
        lines.append((start, line_end))
    return lines


def head_of(data: mmap.mmap, start: int, end: int, shown: Ranges) -> str:
    """Show a line, or its first characters and "...". What is shown is added to `shown`."""
    most = start + CHAR_BYTES * (LINE_CHARS + 1)
    text = to_text(data[start : start_before(data, min(end, most))])
    if len(text) <= LINE_CHARS:
        shown.append((start, end))
        return text
    text = text[: LINE_CHARS - len(CUT)]
    shown.append((start, start + len(to_bytes(text))))
    return text + CUT


def around(data: mmap.mmap, hit: Hit, shown: Ranges) -> str:
    """Show a matching line. What is shown is added to `shown`.

    A long line is cut to the match in the middle of what surrounds it, with "..." at each cut.
    """
    if hit.line_end - hit.line_start <= CHAR_BYTES * LINE_CHARS:
        text = to_text(data[hit.line_start : hit.line_end])
        if len(text) <= LINE_CHARS:
            shown.append((hit.line_start, hit.line_end))
            return text
    room = LINE_CHARS - 2 * len(CUT)
    before, after = _beside(data, hit, room)
    start = hit.start - len(to_bytes(before))
    end = hit.start + len(to_bytes(after))
    shown.append((start, end))
    text = before + after
    if start > hit.line_start:
        text = CUT + text
    if end < hit.line_end:
        text += CUT
    return text


def _beside(data: mmap.mmap, hit: Hit, room: int) -> tuple[str, str]:
    """Cut a long line to `room` characters around its match.

    Returns:
        What is shown before the start of the match, and what from there on.
    """
    least = max(hit.line_start, hit.start - CHAR_BYTES * LINE_CHARS)
    most = hit.start + CHAR_BYTES * room
    before = to_text(data[start_after(data, least) : hit.start])
    after = to_text(data[hit.start : start_before(data, min(hit.line_end, most))])
    matched = count_chars(data[hit.start : min(hit.end, most)])
    lead = max((room - matched) // 2, room - len(after), 0)
    before = before[max(0, len(before) - lead) :]
    return before, after[: room - len(before)]
