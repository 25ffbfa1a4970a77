"""Reads: `peek`, `grep` and `context_info`, answered from the stored text of any size.

Never loads it whole: it is mapped into memory.
"""

import mmap
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore, to_text
from langgraph_rlm.storage.context import ContextHandle, manifest
from langgraph_rlm.storage.json_types import is_whole
from langgraph_rlm.storage.lines import (
    Hit,
    Ranges,
    around,
    head_of,
    hits,
    line_pattern,
    lines_after,
    lines_before,
)
from langgraph_rlm.storage.text_index import BLOCK, count_chars, index_of

PEEK_CHARS = 2000
MAX_PEEK_CHARS = 1_000_000
MAX_MATCHES = 10_000
MAX_CONTEXT_LINES = 100
PREVIEW_CHARS = 500
MAX_FILES_SHOWN = 50

File = tuple[str, int, int]
"""A file of a context: path, first byte in the stored text, bytes."""


class Reader:
    """Reads of one context. Blocks; may be used from several threads at once."""

    def __init__(self, handle: ContextHandle, blobs: BlobStore) -> None:
        self._handle = handle
        self._blobs = blobs
        self._index = index_of(handle.digest)

    def peek(self, start: int = 0, end: int | None = None) -> tuple[str, Ranges]:
        """Give the stored text's characters `[start:end]`, by the rules of Python's slices.

        Args:
            start: first character; a negative one counts from the end.
            end: character after the last; None is `start` + 2,000.

        Returns:
            The text, and its byte range.

        Raises:
            ValueError: not whole numbers, or more than 1,000,000 characters.
            BlobError: the blob is missing or altered.
        """
        first, last = self._slice(start, end)
        if first >= last:
            return "", []
        with self._open() as data:
            first_byte = self._byte_of(data, first)
            end_byte = self._byte_of(data, last)
            return to_text(data[first_byte:end_byte]), [(first_byte, end_byte)]

    def grep(
        self,
        pattern: str,
        *,
        max_matches: int = 50,
        context_lines: int = 0,
        ignore_case: bool = False,
    ) -> tuple[list[dict[str, Any]], Ranges]:
        """Find the first lines that match an RE2 pattern, in time linear in the text.

        Lines end at "\\n" alone, and a match never spans two.

        Args:
            pattern: searched in each line by itself; `\\d`, `\\w`, `\\s` and `\\b` know ASCII only.
            max_matches: most lines, 1 to 10,000.
            context_lines: lines shown before and after each, 0 to 100.
            ignore_case: whether letters match in either case.

        Returns:
            A dict for each line: `line` (counted from 1, in its file for "files"), `start` and
            `end` (characters of the line's first match in the stored text, as `peek` takes them),
            `text` (the line around the match, at most 500 characters, between its context lines),
            and `path` for "files". Then the byte ranges of the lines shown.

        Raises:
            ValueError: RE2 does not take the pattern (lookaround, back-references), or a number is
                out of its range.
            BlobError: the blob is missing or altered.
        """
        _check_whole("max_matches", max_matches, 1, MAX_MATCHES)
        _check_whole("context_lines", context_lines, 0, MAX_CONTEXT_LINES)
        regex = line_pattern(pattern, ignore_case)
        found: list[dict[str, Any]] = []
        shown: Ranges = []
        files = manifest(self._handle, self._blobs)
        with self._open() as data:
            for hit in islice(hits(regex, data), max_matches):
                found.append(self._match(data, hit, context_lines, files, shown))
        return found, merge_ranges(shown)

    def info(self) -> dict[str, Any]:
        """Tell what the context is.

        Returns:
            `kind`, `length` (characters), `bytes`, `items`, `source`, `skipped`, `preview` (the
            first 500 characters). For "files" also `files`: `{"path", "bytes"}` of the first 50.
        """
        handle = self._handle
        about: dict[str, Any] = {
            "kind": handle.kind,
            "length": handle.length,
            "bytes": handle.size,
            "items": handle.items,
        }
        if handle.index is not None:
            files = manifest(handle, self._blobs)[:MAX_FILES_SHOWN]
            about["files"] = [{"path": path, "bytes": size} for path, _, size in files]
        preview, _ = self.peek(0, PREVIEW_CHARS)
        return about | {
            "source": handle.source,
            "skipped": list(handle.skipped),
            "preview": preview,
        }

    @contextmanager
    def _open(self) -> Generator[mmap.mmap]:
        with (
            self._blobs.path(self._handle.digest).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data

    def _slice(self, start: object, end: object) -> tuple[int, int]:
        """Find the first character and the one after the last."""
        if not is_whole(start) or not (end is None or is_whole(end)):
            raise ValueError(
                f"peek({start!r}, {end!r}): start and end must be whole numbers of characters."
            )
        length = self._handle.length
        first, _, _ = slice(start, None).indices(length)
        if end is None:
            end = first + PEEK_CHARS
        _, last, _ = slice(None, end).indices(length)
        if last - first > MAX_PEEK_CHARS:
            raise ValueError(
                f"peek({start!r}, {end!r}) asks for {last - first:,} characters; "
                f"at most {MAX_PEEK_CHARS:,} at a time."
            )
        return first, last

    def _byte_of(self, data: mmap.mmap, char: int) -> int:
        return char if self._handle.ascii else self._index.byte_of(data, char)

    def _chars_before(self, data: mmap.mmap, byte: int) -> int:
        return byte if self._handle.ascii else self._index.chars_before(data, byte)

    def _match(
        self, data: mmap.mmap, hit: Hit, context_lines: int, files: list[File], shown: Ranges
    ) -> dict[str, Any]:
        """Show one matching line between its context lines."""
        path, first, last = _file_at(files, hit.start, len(data))
        before = lines_before(data, hit.line_start, first, context_lines)
        after = lines_after(data, hit.line_end, last, context_lines)
        texts = [head_of(data, start, end, shown) for start, end in before]
        texts.append(around(data, hit, shown))
        texts.extend(head_of(data, start, end, shown) for start, end in after)
        earlier = self._index.newlines_before(data, first)
        start = self._chars_before(data, hit.start)
        match: dict[str, Any] = {
            "line": self._index.newlines_before(data, hit.line_start) - earlier + 1,
            "start": start,
            "end": self._match_end(data, hit, start),
            "text": "\n".join(texts),
        }
        if files:
            match["path"] = path
        return match

    def _match_end(self, data: mmap.mmap, hit: Hit, start: int) -> int:
        """Count the characters before the end of a match that starts at character `start`."""
        if hit.end - hit.start < BLOCK:
            return start + count_chars(data[hit.start : hit.end])
        return self._chars_before(data, hit.end)


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    if not is_whole(value) or not least <= value <= most:
        raise ValueError(
            f"grep({name}={value!r}): it must be a whole number from {least} to {most:,}."
        )


def _file_at(files: list[File], byte: int, size: int) -> tuple[str | None, int, int]:
    """Find the file that has a byte; it is the whole text when there are no files.

    Returns:
        Its path, its first byte, and the byte after its last.
    """
    if not files:
        return None, 0, size
    path, start, length = files[bisect_right(files, byte, key=lambda file: file[1]) - 1]
    return path, start, start + length


def merge_ranges(ranges: Iterable[Sequence[int]]) -> Ranges:
    """Put byte ranges in order, without overlaps and empty ones."""
    merged: Ranges = []
    for start, end in sorted((start, end) for start, end in ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged
