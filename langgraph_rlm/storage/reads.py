"""Reads: `peek`, `grep` with its count, and `context_info`, from the stored text of any size.

Never loads it whole: it is mapped into memory.
"""

import mmap
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from langgraph_rlm.storage.blobs import BlobStore, to_text
from langgraph_rlm.storage.context import ContextHandle, Facts, FileSpan, facts_of, manifest
from langgraph_rlm.storage.counts import count_matches
from langgraph_rlm.storage.json_types import is_whole
from langgraph_rlm.storage.lines import (
    LINE_CHARS,
    Hit,
    Search,
    around,
    head_of,
    lines_after,
    lines_before,
    text_end,
)
from langgraph_rlm.storage.ranges import Ranges, merge_ranges
from langgraph_rlm.storage.text_index import Rising, count_chars, count_newlines, index_of

PREVIEW_CHARS = 300
"""Characters of a context that its question shows."""
PEEK_CHARS = 2000
MAX_PEEK_CHARS = 1_000_000
MAX_MATCHES = 10_000
MAX_CONTEXT_LINES = 100
MIN_WIDTH = 20
MAX_WIDTH = 10_000
MAX_GREP_CHARS = 20_000_000
"""Most characters that one `grep` shows, so that its answer always reaches the code."""
PAGE_FILES = 100
"""Files that `context_info` names on one page."""


class ShownLine(NamedTuple):
    """What the matches of one line have in common."""

    start: int
    """Its first byte."""
    number: int
    """Counted from 1, in its file for "files"."""
    path: str | None
    """The path of its file; None for other kinds."""
    before: list[str]
    """The lines before it, as they are shown."""
    after: list[str]


class Reader:
    """Reads of one context. Blocks; may be used from several threads at once."""

    def __init__(
        self, handle: ContextHandle, blobs: BlobStore, check: Callable[[], None] = lambda: None
    ) -> None:
        """Make a reader.

        Args:
            handle: of the context.
            blobs: the store that has it.
            check: called now and then by what may take minutes; it raises when that is too long.
        """
        self.handle = handle
        self.blobs = blobs
        self._check = check
        self._index = index_of(handle.digest)

    @property
    def length(self) -> int:
        """Characters of the stored text."""
        return self.handle.length

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
        with self.opened() as data:
            first_byte = self.byte_of(data, first)
            end_byte = self.byte_of(data, last)
            return to_text(data[first_byte:end_byte]), [(first_byte, end_byte)]

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
        """Find the first matches of an RE2 pattern, in time linear in the text.

        Lines end at "\\n" or "\\r\\n". A match never spans two, and a line may have several. A
        match of nothing, as of `^`, is the last of its line. After the first match of a line over
        64 KiB, one of over 32 KiB may give way to one within it.

        Args:
            pattern: searched in each line by itself; `\\d`, `\\w`, `\\s` and `\\b` know ASCII only.
            max_matches: most matches, 1 to 10,000.
            context_lines: lines shown before and after each, 0 to 100.
            ignore_case: whether letters match in either case.
            width: most characters shown of each line, 20 to 10,000.
            start: the character to begin at, such as the `end` of the last match of another call.

        Returns:
            A dict for each match: `line` (counted from 1, in its file for "files"), `start` and
            `end` (characters of the stored text, counted from 0, as `peek` takes them), `text` (the
            line around the match, between its context lines), and `path` for "files". Then the byte
            ranges of the lines shown.

        Raises:
            ValueError: RE2 does not take the pattern (lookaround, back-references), a number is out
                of its range, or the matches have more than 20,000,000 characters to show.
            BlobError: the blob is missing or altered.
        """
        check_number("grep", "max_matches", max_matches, 1, MAX_MATCHES)
        check_number("grep", "context_lines", context_lines, 0, MAX_CONTEXT_LINES)
        check_number("grep", "width", width, MIN_WIDTH, MAX_WIDTH)
        check_number("grep", "start", start, 0, self.length)
        search = Search(pattern, ignore_case=ignore_case)
        shown: Ranges = []
        with self.opened() as data:
            hits = islice(search.hits(data, self.byte_of(data, start)), max_matches)
            found = list(_bounded(self._matches(data, hits, context_lines, width, shown)))
        return found, merge_ranges(shown)

    def count(self, pattern: str, *, ignore_case: bool = False, start: int = 0) -> int:
        """Count the matches of a pattern: as many as `grep` would find without a limit.

        Args:
            pattern: as `grep` takes it.
            ignore_case: whether letters match in either case.
            start: the character to begin at.

        Raises:
            ValueError: RE2 does not take the pattern, or there is no such character.
            BlobError: the blob is missing or altered.
        """
        check_number("grep", "start", start, 0, self.length)
        search = Search(pattern, ignore_case=ignore_case)
        with self.opened() as data:
            return count_matches(search, data, self.byte_of(data, start), self._check)

    def info(self, page: int = 0) -> dict[str, Any]:
        """Tell what the context is.

        Args:
            page: which 100 files to name, for "files"; counted from 0.

        Returns:
            `kind`, `length` (characters), `bytes`, `items`, `source`, `skipped`. For "files" also
            `page`, `pages` (how many there are), and `files`: for each file of the page its `path`,
            `bytes`, `start` and `end` (characters, as `peek` takes them). What was not text at
            first has its `type`, and what is known of it: `pages`, `sheets`, `width`, ...

        Raises:
            ValueError: there is no such page.
            BlobError: the blob is missing or altered.
        """
        handle = self.handle
        files = manifest(handle, self.blobs)
        pages = max(1, -(-len(files) // PAGE_FILES))
        if not is_whole(page) or not 0 <= page < pages:
            raise ValueError(f"page={page!r}: it must be a whole number from 0 to {pages - 1:,}.")
        about: dict[str, Any] = {
            "kind": handle.kind,
            "length": handle.length,
            "bytes": handle.size,
            "items": handle.items,
            "source": handle.source,
            "skipped": list(handle.skipped),
        }
        known = facts_of(handle, self.blobs)
        with self.opened() as data:
            if handle.index is not None:
                of_page = files[page * PAGE_FILES : (page + 1) * PAGE_FILES]
                named = [self._file(data, file, known) for file in of_page]
                about |= {"page": page, "pages": pages, "files": named}
            else:
                for facts in known.values():
                    about |= _shown(facts)
        return about

    @contextmanager
    def opened(self) -> Generator[mmap.mmap]:
        """Map the stored text into memory."""
        with (
            self.blobs.path(self.handle.digest).open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            yield data

    def _slice(self, start: object, end: object) -> tuple[int, int]:
        """Find the first character and the one after the last."""
        if not is_whole(start) or not (end is None or is_whole(end)):
            raise ValueError(
                f"peek({start!r}, {end!r}): start and end must be whole numbers of characters."
            )
        length = self.handle.length
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

    def byte_of(self, data: mmap.mmap, char: int) -> int:
        """Find the byte where a character starts."""
        return char if self.handle.ascii else self._index.byte_of(data, char)

    def chars_before(self, data: mmap.mmap, byte: int) -> int:
        """Count the characters before a byte."""
        return byte if self.handle.ascii else self._index.chars_before(data, byte)

    def _file(self, data: mmap.mmap, file: FileSpan, known: Mapping[str, Facts]) -> dict[str, Any]:
        """Tell where one file is, and what it was."""
        path, first, size = file
        start, end = self.chars_before(data, first), self.chars_before(data, first + size)
        where: dict[str, Any] = {"path": path, "bytes": size, "start": start, "end": end}
        return where | _shown(known.get(path, {}))

    def _matches(
        self,
        data: mmap.mmap,
        hits: Iterable[Hit],
        context_lines: int,
        width: int,
        shown: Ranges,
    ) -> Iterator[dict[str, Any]]:
        """Show each match between its context lines. What is shown is added to `shown`."""
        files = manifest(self.handle, self.blobs)
        newlines = Rising(data, self._index.newlines_before, count_newlines)
        chars = Rising(data, self.chars_before, count_chars)
        line: ShownLine | None = None
        for hit in hits:
            if line is None or line.start != hit.line.start:
                line = self._line(data, hit, files, context_lines, width, shown, newlines)
            text = around(data, hit, width, shown)
            if context_lines:
                text = "\n".join([*line.before, text, *line.after])
            start, end = hit.start, hit.end
            if not self.handle.ascii:
                start, end = chars.before(start), chars.before(end)
            match: dict[str, Any] = {"line": line.number, "start": start, "end": end, "text": text}
            if line.path is not None:
                match["path"] = line.path
            yield match

    def _line(
        self,
        data: mmap.mmap,
        hit: Hit,
        files: Sequence[FileSpan],
        context_lines: int,
        width: int,
        shown: Ranges,
        newlines: Rising,
    ) -> ShownLine:
        """Find the number of a matching line, and show the lines around it."""
        path, first, last = _file_at(files, hit.start, len(data))
        earlier = self._index.newlines_before(data, first) if first else 0
        number = newlines.before(hit.line.start) - earlier + 1
        if not context_lines:
            return ShownLine(hit.line.start, number, path, [], [])
        before = lines_before(data, hit.line.start, first, context_lines)
        after = lines_after(data, hit.line.newline, last, context_lines)
        texts = [
            head_of(data, start, self._text_end(data, start, newline), width, shown)
            for start, newline in (*before, *after)
        ]
        count = len(before)
        return ShownLine(hit.line.start, number, path, texts[:count], texts[count:])

    def _text_end(self, data: mmap.mmap, start: int, newline: int) -> int:
        return text_end(data, start, newline)


def _shown(facts: Facts) -> Facts:
    """Leave out what is of no use to code: where the original is, and its size."""
    return {key: value for key, value in facts.items() if key not in ("original", "bytes")}


def check_number(function: str, name: str, value: object, least: int, most: int) -> None:
    """Check a number that a read was given.

    Raises:
        ValueError: it is no whole number, or out of its range.
    """
    if not is_whole(value) or not least <= value <= most:
        raise ValueError(
            f"{function}({name}={value!r}): it must be a whole number from {least:,} to {most:,}."
        )


def _bounded(matches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Pass matches on, as long as they do not show too much in all."""
    chars = 0
    for match in matches:
        chars += len(match["text"])
        if chars > MAX_GREP_CHARS:
            raise ValueError(
                f"grep has more than {MAX_GREP_CHARS:,} characters to show. "
                "Lower max_matches, context_lines or width."
            )
        yield match


def _file_at(files: Sequence[FileSpan], byte: int, size: int) -> tuple[str | None, int, int]:
    """Find the file that has a byte; it is the whole text when there are no files.

    Returns:
        Its path, its first byte, and the byte after its last.
    """
    if not files:
        return None, 0, size
    path, start, length = files[bisect_right(files, byte, key=lambda file: file[1]) - 1]
    return path, start, start + length
