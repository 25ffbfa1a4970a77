"""Pieces: a stored text cut at lines, records and files, whatever its size. Searches nothing.

Nothing here decodes more of a text than it gives: a gigabyte is cut in a moment.
"""

import mmap
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from langgraph_rlm.storage.blobs import to_text
from langgraph_rlm.storage.context import manifest
from langgraph_rlm.storage.json_types import is_array, is_dict, is_whole
from langgraph_rlm.storage.lines import line_end, text_end
from langgraph_rlm.storage.ranges import Ranges
from langgraph_rlm.storage.reads import MAX_PEEK_CHARS, Reader, check_number
from langgraph_rlm.storage.text_index import start_before

MAX_LINES = 100_000
MIN_RANGE_CHARS = 100
MAX_RANGE_CHARS = 5_000_000
MAX_RANGES = 200_000
"""Most ranges that one call gives."""
NEW_LINE, NEW_RECORD, SPACE = b"\n", b"},", b" "
BORDERS = (NEW_LINE, NEW_RECORD, SPACE)
"""Where a text is cut, best first: behind a line, behind a record of a JSON file that is one line,
between words."""


def read_lines(reader: Reader, start: int = 0, max_lines: int = 100) -> tuple[Any, Ranges]:
    """Give whole lines, and where the next one starts.

    Args:
        reader: of the context.
        start: the character to begin at; a line that has begun before it is given from there on.
        max_lines: most lines, 1 to 100,000; fewer, where they have over 1,000,000 characters.

    Returns:
        `lines`, without their endings, and `next`: the character where the one after them starts,
        None at the end. A line of over 1,000,000 characters comes in parts. Then the byte ranges.

    Raises:
        ValueError: a number is out of its range.
        BlobError: the blob is missing or altered.
    """
    check_number("read_lines", "start", start, 0, reader.length)
    check_number("read_lines", "max_lines", max_lines, 1, MAX_LINES)
    lines: list[str] = []
    room, char = MAX_PEEK_CHARS, start
    with reader.opened() as data:
        first = byte = reader.byte_of(data, start)
        while byte < len(data) and len(lines) < max_lines:
            newline = line_end(data, byte, min(len(data), byte + 4 * (MAX_PEEK_CHARS + 1)))
            after = min(newline + 1, len(data))
            text = to_text(data[byte : start_before(data, after)])
            if len(text) > room:
                if lines:
                    break
                text = text[:room]
                after = reader.byte_of(data, char + room)
            lines.append(to_text(data[byte : text_end(data, byte, min(newline, after))]))
            room, char, byte = room - len(text), char + len(text), after
        more = byte < len(data)
    return {"lines": lines, "next": char if more else None}, [(first, byte)]


def chunk_ranges(reader: Reader, chars: int = 100_000) -> tuple[list[dict[str, Any]], Ranges]:
    """Cut the whole text into ranges that end at lines, records and files where they can.

    Args:
        reader: of the context.
        chars: most characters of a range, 100 to 5,000,000.

    Returns:
        `start` and `end` of each range in characters, as `peek` takes them, in order and without
        gaps; of files also `path`, and no range has parts of two. No byte counts as read.

    Raises:
        ValueError: `chars` is out of its range, or there are more than 200,000 ranges.
        BlobError: the blob is missing or altered.
    """
    check_number("chunk_ranges", "chars", chars, MIN_RANGE_CHARS, MAX_RANGE_CHARS)
    with reader.opened() as data:
        found: list[dict[str, Any]] = []
        for each in _ranges(reader, data, chars):
            found.append(each)
            if len(found) > MAX_RANGES:
                raise ValueError(
                    f"chunk_ranges(chars={chars:,}) gives more than {MAX_RANGES:,} ranges: "
                    "take a larger `chars`."
                )
    return found, []


def _ranges(reader: Reader, data: mmap.mmap, chars: int) -> Iterator[dict[str, Any]]:
    files = manifest(reader.handle, reader.blobs)
    spans = files or [("", 0, len(data))]
    for number, (path, first, _) in enumerate(spans):
        is_last = number + 1 == len(spans)
        last = len(data) if is_last else spans[number + 1][1]
        start = reader.chars_before(data, first)
        while first < last:
            byte = min(last, reader.byte_of(data, min(start + chars, reader.length)))
            if byte < last:
                byte = _border(data, first, byte)
            end = reader.chars_before(data, byte)
            span: dict[str, Any] = {"start": start, "end": end}
            if files:
                span["path"] = path
            yield span
            first, start = byte, end


def _border(data: mmap.mmap, first: int, last: int) -> int:
    """Find the best byte to cut a text at, in the second half of what may be one range."""
    middle = first + (last - first) // 2
    for border in BORDERS:
        found = data.rfind(border, middle, last)
        if found >= 0:
            return found + len(border)
    return last


def file_names(reader: Reader, pattern: str | None = None) -> tuple[list[str], Ranges]:
    """Name the files of a context, in order; none for other kinds.

    Args:
        reader: of the context.
        pattern: as of a shell, such as `*.py`, for a whole path or its last part; None for all.

    Raises:
        ValueError: the pattern is no str.
        BlobError: the manifest is missing or altered.
    """
    if pattern is not None and not isinstance(pattern, str):  # pyright: ignore[reportUnnecessaryIsInstance] - comes from code
        raise ValueError(f"file_names({pattern!r}): the pattern must be a str, such as '*.py'.")
    names = [path for path, _, _ in manifest(reader.handle, reader.blobs)]
    if pattern is None:
        return names, []
    return [name for name in names if _fits(name, pattern)], []


def _fits(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern)


def byte_ranges_of(reader: Reader, items: Sequence[Any]) -> list[list[list[int]]]:
    """Turn ranges of characters, as code has them, into ranges of bytes.

    Args:
        reader: of the context.
        items: for each prompt one range or several: dicts with `start` and `end`, as `chunk_ranges`
            and `grep` give them, or pairs of numbers.

    Raises:
        ValueError: one is something else, does not lie in the text, or is too much for one prompt.
        BlobError: the blob is missing or altered.
    """
    with reader.opened() as data:
        return [
            [[reader.byte_of(data, char) for char in span] for span in _spans(reader, given)]
            for given in items
        ]


def _spans(reader: Reader, given: Any) -> list[Sequence[int]]:
    """Read the ranges of one prompt."""
    several = given if is_array(given) and not _is_pair(given) else [given]
    spans = [_span(reader, each) for each in several]
    chars = sum(end - start for start, end in spans)
    if chars > MAX_RANGE_CHARS:
        raise ValueError(
            f"{chars:,} characters for one prompt, at most {MAX_RANGE_CHARS:,}: cut the range."
        )
    return spans


def _span(reader: Reader, given: Any) -> Sequence[int]:
    """Read the two numbers of a range."""
    pair: Any = given
    if is_dict(given):
        pair = [given.get("start"), given.get("end")]
    if not _is_pair(pair) or not 0 <= pair[0] <= pair[1] <= reader.length:
        raise ValueError(
            f"{str(given)[:100]!r} is no range: give {{'start': ..., 'end': ...}} in characters "
            f"from 0 to {reader.length:,}, as chunk_ranges and grep do."
        )
    return pair


def _is_pair(value: Any) -> bool:
    return is_array(value) and len(value) == 2 and all(is_whole(each) for each in value)
