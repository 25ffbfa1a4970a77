"""Reads: `peek`, `grep` and `context_info`, answered from the stored text for any size. Never loads it whole."""

import importlib
import mmap
import re
import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

from langgraph_rlm.storage.blobs import BlobStore, to_bytes, to_text
from langgraph_rlm.storage.context import ContextHandle, manifest

Ranges = list[tuple[int, int]]
"""What a read has shown: (first byte, byte after the last) in the stored text, in order, none empty."""
PEEK_CHARS = 2000
MAX_PEEK_CHARS = 1_000_000
MAX_MATCHES = 10_000
MAX_CONTEXT_LINES = 100
LINE_CHARS = 500
"""Most characters that `grep` shows of one line."""
BLOCK = 1 << 14
"""Bytes between two marks of the index."""


class Reader:
    """Reads of one context. Blocks; may be used from several threads at once."""

    def __init__(self, handle: ContextHandle, blobs: BlobStore) -> None:
        self._handle, self._blobs = handle, blobs
        self._marks = _marks(handle.digest)

    def peek(self, start: int = 0, end: int | None = None) -> tuple[str, Ranges]:
        """The stored text's characters `[start:end]`, by the rules of Python's slices.

        Args:
            start: first character; a negative one counts from the end.
            end: character after the last; None is `start` + 2,000.

        Raises:
            ValueError: not whole numbers, or more than 1,000,000 characters.
            BlobError: the blob is missing or altered.
        """
        first, last = self._slice(start, end)
        if first >= last:
            return "", []
        with self._open() as data:
            a, b = self._byte(data, first), self._byte(data, last)
            return to_text(data[a:b]), [(a, b)]

    def grep(
        self,
        pattern: str,
        *,
        max_matches: int = 50,
        context_lines: int = 0,
        ignore_case: bool = False,
    ) -> tuple[list[dict[str, Any]], Ranges]:
        """The first lines that match an RE2 pattern, in time linear in the text. Lines end at "\\n" alone, and a match never spans two.

        Args:
            pattern: searched in each line by itself; `\\d`, `\\w`, `\\s` and `\\b` know ASCII only.
            max_matches: most lines, 1 to 10,000.
            context_lines: lines shown before and after each, 0 to 100.
            ignore_case: whether letters match in either case.

        Returns:
            A dict for each line: `line` (counted from 1, in its file for "files"), `start` and `end` (characters of the line's first
            match in the stored text, as `peek` takes them), `text` (the line around the match, at most 500 characters, between its
            context lines), and `path` for "files". Then the byte ranges of the lines shown.

        Raises:
            ValueError: RE2 does not take the pattern (lookaround, back-references), or a number is out of its range.
            BlobError: the blob is missing or altered.
        """
        _check_whole("max_matches", max_matches, 1, MAX_MATCHES)
        _check_whole("context_lines", context_lines, 0, MAX_CONTEXT_LINES)
        regex = _compile(pattern, ignore_case)
        found: list[dict[str, Any]] = []
        shown: Ranges = []
        files = manifest(self._handle, self._blobs)
        with self._open() as data:
            at = 0
            while len(found) < max_matches and (hit := _next_line(regex, data, at)):
                found.append(self._match(data, hit, context_lines, files, shown))
                at = hit.line_end + 1
        return found, merge_ranges(shown)

    def info(self) -> dict[str, Any]:
        """What the context is: `kind`, `length` (characters), `bytes`, `items`, `source`, `skipped`, `preview` (the first 500 characters).

        For "files" also `files`: `{"path", "bytes"}` of the first 50.
        """
        handle = self._handle
        about: dict[str, Any] = {
            "kind": handle.kind,
            "length": handle.length,
            "bytes": handle.size,
            "items": handle.items,
        }
        if handle.index is not None:
            about["files"] = [
                {"path": path, "bytes": size}
                for path, _, size in manifest(handle, self._blobs)[:50]
            ]
        return about | {
            "source": handle.source,
            "skipped": list(handle.skipped),
            "preview": self.peek(0, 500)[0],
        }

    @contextmanager
    def _open(self) -> Generator[mmap.mmap]:
        with (
            self._blobs.path(self._handle.digest).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data

    def _slice(self, start: object, end: object) -> tuple[int, int]:
        whole = [
            value
            for value in (start, end)
            if isinstance(value, int) and not isinstance(value, bool)
        ]
        if len(whole) != 2 - (end is None) or start is None:
            raise ValueError(
                f"peek({start!r}, {end!r}): start and end must be whole numbers of characters."
            )
        first, _, _ = slice(whole[0], None).indices(self._handle.length)
        _, last, _ = slice(None, whole[1] if len(whole) == 2 else first + PEEK_CHARS).indices(
            self._handle.length
        )
        if last - first > MAX_PEEK_CHARS:
            raise ValueError(
                f"peek({start!r}, {end!r}) asks for {last - first:,} characters; at most {MAX_PEEK_CHARS:,} at a time."
            )
        return first, last

    def _byte(self, data: mmap.mmap, char: int) -> int:
        return char if self._handle.ascii else self._marks.byte(data, char)

    def _char(self, data: mmap.mmap, byte: int) -> int:
        return byte if self._handle.ascii else self._marks.char(data, byte)

    def _match(
        self,
        data: mmap.mmap,
        hit: "_Hit",
        context_lines: int,
        files: list[tuple[str, int, int]],
        shown: Ranges,
    ) -> dict[str, Any]:
        path, first, last = _file_at(files, hit.start, len(data))
        before = _lines_before(data, hit.line_start, first, context_lines)
        after = _lines_after(data, hit.line_end, last, context_lines)
        texts = [_head(data, a, b, shown) for a, b in before]
        texts.append(_around(data, hit, shown))
        texts.extend(_head(data, a, b, shown) for a, b in after)
        line = (
            self._marks.line(data, hit.line_start)
            - (self._marks.line(data, first) if first else 0)
            + 1
        )
        start = self._char(data, hit.start)
        end = (
            start + _count_chars(data[hit.start : hit.end])
            if hit.end - hit.start < BLOCK
            else self._char(data, hit.end)
        )
        return {"line": line, "start": start, "end": end, "text": "\n".join(texts)} | (
            {"path": path} if files else {}
        )


class _Marks:
    """Characters and newlines before each block of one stored text; grows only as far as it is asked."""

    def __init__(self) -> None:
        self._chars, self._lines = array("Q", [0]), array("Q", [0])
        self._lock = threading.Lock()

    def line(self, data: mmap.mmap, byte: int) -> int:
        """Newlines before a byte."""
        block = byte // BLOCK
        self._grow(data, lambda: len(self._lines) > block)
        return self._lines[block] + data[block * BLOCK : byte].count(b"\n")

    def char(self, data: mmap.mmap, byte: int) -> int:
        """Characters that start before a byte."""
        block = byte // BLOCK
        self._grow(data, lambda: len(self._chars) > block)
        return self._chars[block] + _count_chars(data[block * BLOCK : byte])

    def byte(self, data: mmap.mmap, char: int) -> int:
        """Where a character starts; the text's size for the one after the last."""
        self._grow(data, lambda: self._chars[-1] > char)
        block = bisect_right(self._chars, char) - 1
        start = _right(data, block * BLOCK)
        text = to_text(data[start : _left(data, (block + 1) * BLOCK)])
        return start + len(to_bytes(text[: char - self._chars[block]]))

    def _grow(self, data: mmap.mmap, is_enough: Callable[[], bool]) -> None:
        with self._lock:
            while not is_enough() and (at := (len(self._lines) - 1) * BLOCK) < len(data):
                block = data[at : at + BLOCK]
                self._chars.append(self._chars[-1] + _count_chars(block))
                self._lines.append(self._lines[-1] + block.count(b"\n"))


@lru_cache(maxsize=16)
def _marks(digest: str) -> _Marks:  # pyright: ignore[reportUnusedParameter] - the cache's key
    return _Marks()


_CONTINUATION = bytes(range(0x80, 0xC0))


def _count_chars(data: bytes) -> int:
    return len(data) if data.isascii() else len(data.translate(None, _CONTINUATION))


def _left(data: mmap.mmap, at: int) -> int:
    """The nearest start of a character at or before a byte."""
    at = min(max(at, 0), len(data))
    while 0 < at < len(data) and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _right(data: mmap.mmap, at: int) -> int:
    """The nearest start of a character at or after a byte."""
    at = min(max(at, 0), len(data))
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(
            f"grep({name}={value!r}): it must be a whole number from {least} to {most:,}."
        )


# Matching


class _Hit:
    """One matching line and its first match, in bytes; `line_end` is the newline's place or the text's end."""

    def __init__(self, start: int, end: int, line_start: int, line_end: int) -> None:
        self.start, self.end, self.line_start, self.line_end = start, end, line_start, line_end


def _compile(pattern: object, ignore_case: bool) -> Any:
    """An RE2 pattern that sees each line by itself.

    Raises:
        ValueError: not a str, or RE2 does not take it.
    """
    if not isinstance(pattern, str):
        raise ValueError(f"grep({pattern!r}): the pattern must be a str.")
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors, options.never_nl, options.case_sensitive = False, True, not ignore_case
    try:
        return re2.compile(b"(?m)" + to_bytes(_by_line(pattern)), options)
    except re2.error as error:
        reason = (
            error.args[0].decode("utf-8", "replace")
            if error.args and isinstance(error.args[0], bytes)
            else str(error)
        )
        raise ValueError(
            f"grep cannot take the pattern {pattern!r}: {reason}. Patterns are RE2 (linear time), with no lookaround and no "
            "back-references: grep for a simpler pattern and filter the matches in Python instead."
        ) from None


def _by_line(pattern: str) -> str:
    """`\\A`, `\\Z` and `\\z` mean the ends of a line, as each line is searched by itself."""
    ends = {"\\A": "^", "\\Z": "$", "\\z": "$"}
    return re.sub(r"\\.", lambda escape: ends.get(escape[0], escape[0]), pattern, flags=re.DOTALL)


def _next_line(regex: Any, data: mmap.mmap, at: int) -> _Hit | None:
    """The first line at or after `at`, the start of a line, that matches."""
    if at >= len(data) or (match := regex.search(data, at)) is None:
        return None
    start, end = cast("tuple[int, int]", match.span())
    if start >= len(data) and data[len(data) - 1] == 0x0A:
        return None  # an empty match after the last newline: there is no line
    start = _left(data, start)
    line_start = data.rfind(b"\n", at, start) + 1 or at
    line_end = data.find(b"\n", start)
    line_end = len(data) if line_end < 0 else line_end
    return _Hit(start, min(_right(data, end), line_end), line_start, line_end)


def _file_at(
    files: list[tuple[str, int, int]], byte: int, size: int
) -> tuple[str | None, int, int]:
    """The path, first byte and end of the file that has a byte; the whole text when there are no files."""
    if not files:
        return None, 0, size
    path, start, length = files[bisect_right(files, byte, key=lambda file: file[1]) - 1]
    return path, start, start + length


# Showing


def _lines_before(data: mmap.mmap, line_start: int, first: int, count: int) -> Ranges:
    lines: Ranges = []
    while len(lines) < count and line_start > first:
        end = line_start - 1
        line_start = max(data.rfind(b"\n", first, end) + 1, first)
        lines.append((line_start, end))
    return lines[::-1]


def _lines_after(data: mmap.mmap, line_end: int, last: int, count: int) -> Ranges:
    lines: Ranges = []
    while len(lines) < count and line_end + 1 < last:
        start, line_end = line_end + 1, data.find(b"\n", line_end + 1, last)
        line_end = last if line_end < 0 else line_end
        lines.append((start, line_end))
    return lines


def _head(data: mmap.mmap, start: int, end: int, shown: Ranges) -> str:
    """A line, or its first characters and "..."."""
    text = to_text(data[start : _left(data, min(end, start + 4 * LINE_CHARS + 4))])
    if len(text) > LINE_CHARS:
        text = text[: LINE_CHARS - 3]
        shown.append((start, start + len(to_bytes(text))))
        return text + "..."
    shown.append((start, end))
    return text


def _around(data: mmap.mmap, hit: _Hit, shown: Ranges) -> str:
    """A matching line; of a long one the match in the middle of what surrounds it, with "..." where it is cut."""
    if hit.line_end - hit.line_start <= 4 * LINE_CHARS:
        text = to_text(data[hit.line_start : hit.line_end])
        if len(text) <= LINE_CHARS:
            shown.append((hit.line_start, hit.line_end))
            return text
    room = LINE_CHARS - 6
    before = to_text(
        data[_right(data, max(hit.line_start, hit.start - 4 * LINE_CHARS)) : hit.start]
    )
    rest = to_text(data[hit.start : _left(data, min(hit.line_end, hit.start + 4 * room))])
    matched = _count_chars(data[hit.start : min(hit.end, hit.start + 4 * room)])
    lead = before[max(0, len(before) - max((room - matched) // 2, room - len(rest), 0)) :]
    rest = rest[: room - len(lead)]
    start, end = hit.start - len(to_bytes(lead)), hit.start + len(to_bytes(rest))
    shown.append((start, end))
    return "..." * (start > hit.line_start) + lead + rest + "..." * (end < hit.line_end)


def merge_ranges(ranges: Iterable[Sequence[int]]) -> Ranges:
    """Byte ranges in order, without overlaps and empty ones."""
    merged: Ranges = []
    for start, end in sorted((start, end) for start, end in ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged
