"""First reads: `grep` and `context_info` as they answered code of version 1.

Threads of then are replayed with them: what their cells printed has to come again. Code that is
written now never gets them.
"""

import mmap
import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle, manifest
from langgraph_rlm.storage.lines import (
    LINE_CHARS,
    Hit,
    Line,
    checked_pattern,
    line_end,
    line_pattern,
)
from langgraph_rlm.storage.media_reads import MediaReader
from langgraph_rlm.storage.ranges import Ranges, merge_ranges
from langgraph_rlm.storage.reads import (
    MAX_CONTEXT_LINES,
    MAX_MATCHES,
    Reader,
    check_number,
)
from langgraph_rlm.storage.text_index import start_after, start_before

PREVIEW_CHARS = 500
FILES_NAMED = 50


class FirstReader(Reader):
    """A reader that shows the first match of each line, and takes a "\\r" for part of its line."""

    def grep(
        self,
        pattern: str,
        *,
        max_matches: int = 50,
        context_lines: int = 0,
        ignore_case: bool = False,
        width: int = LINE_CHARS,
        start: int = 0,
    ) -> tuple[list[dict[str, Any]], Ranges]:
        """Find the first lines that match; a dict is about the first match of its line."""
        check_number("grep", "max_matches", max_matches, 1, MAX_MATCHES)
        check_number("grep", "context_lines", context_lines, 0, MAX_CONTEXT_LINES)
        regex = line_pattern(pattern, _by_line(checked_pattern(pattern)), ignore_case)
        shown: Ranges = []
        with self.opened() as data:
            hits = islice(_hits(regex, data), max_matches)
            found = list(self._matches(data, hits, context_lines, width, shown))
        return found, merge_ranges(shown)

    def info(self, page: int = 0) -> dict[str, Any]:
        """Tell what the context is, with its first characters, and name its first files."""
        handle = self.handle
        about: dict[str, Any] = {
            "kind": handle.kind,
            "length": handle.length,
            "bytes": handle.size,
            "items": handle.items,
        }
        if handle.index is not None:
            files = manifest(handle, self.blobs)[:FILES_NAMED]
            about["files"] = [{"path": path, "bytes": size} for path, _, size in files]
        preview, _ = self.peek(0, PREVIEW_CHARS)
        return about | {
            "source": handle.source,
            "skipped": list(handle.skipped),
            "preview": preview,
        }

    def _text_end(self, data: mmap.mmap, start: int, newline: int) -> int:
        return newline


def reader(
    handle: ContextHandle, blobs: BlobStore, version: int, check: Callable[[], None]
) -> Reader:
    """Make the reader for code of a version: what it was told of `grep` when it was written."""
    if handle.kind in MEDIA:
        return MediaReader(handle, blobs, check)
    kind = FirstReader if version == 1 else Reader
    return kind(handle, blobs, check)


def _by_line(pattern: str) -> str:
    """Let `\\A`, `\\Z` and `\\z` mean the ends of a line, as each line is searched by itself."""
    ends = {"\\A": "^", "\\Z": "$", "\\z": "$"}
    return re.sub(r"\\.", lambda escape: ends.get(escape[0], escape[0]), pattern, flags=re.DOTALL)


def _hits(regex: Any, data: mmap.mmap) -> Iterator[Hit]:
    """Search for the lines that match, first to last; no further than the caller asks."""
    hit = _next_hit(regex, data, 0)
    while hit is not None:
        yield hit
        hit = _next_hit(regex, data, hit.line.newline + 1)


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
    before = data.rfind(b"\n", line, start)
    line_start = before + 1 if before >= 0 else line
    newline = line_end(data, start, len(data))
    end = min(start_after(data, end), newline)
    return Hit(start, end, Line(line_start, newline, newline))
