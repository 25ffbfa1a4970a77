"""Text index: which byte of a stored text starts which character, and which line it is in.

Blocks of bytes are counted only as far as somebody asks. Never holds the text.
"""

import mmap
import threading
from array import array
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache

from langgraph_rlm.storage.blobs import to_bytes, to_text

BLOCK = 1 << 14
"""Bytes of a block."""

_CONTINUATION = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 that do not start a character."""


class TextIndex:
    """The characters and newlines before each block of one stored text."""

    def __init__(self) -> None:
        self._chars = array("Q", [0])
        self._newlines = array("Q", [0])
        self._lock = threading.Lock()

    def newlines_before(self, data: mmap.mmap, byte: int) -> int:
        """Count the newlines before a byte."""
        block = byte // BLOCK
        if block >= len(self._newlines):
            self._grow(data, lambda: len(self._newlines) > block)
        return self._newlines[block] + data[block * BLOCK : byte].count(b"\n")

    def chars_before(self, data: mmap.mmap, byte: int) -> int:
        """Count the characters that start before a byte."""
        block = byte // BLOCK
        if block >= len(self._chars):
            self._grow(data, lambda: len(self._chars) > block)
        return self._chars[block] + count_chars(data[block * BLOCK : byte])

    def byte_of(self, data: mmap.mmap, char: int) -> int:
        """Find the byte where a character starts; the text's size for the one after the last."""
        self._grow(data, lambda: self._chars[-1] > char)
        block = bisect_right(self._chars, char) - 1
        start = start_after(data, block * BLOCK)
        text = to_text(data[start : start_before(data, (block + 1) * BLOCK)])
        return start + len(to_bytes(text[: char - self._chars[block]]))

    def _grow(self, data: mmap.mmap, is_enough: Callable[[], bool]) -> None:
        """Count blocks until there are enough, or the text ends."""
        with self._lock:
            start = (len(self._newlines) - 1) * BLOCK
            while start < len(data) and not is_enough():
                block = data[start : start + BLOCK]
                self._chars.append(self._chars[-1] + count_chars(block))
                self._newlines.append(self._newlines[-1] + block.count(b"\n"))
                start += BLOCK


class Rising:
    """A count of what stands before bytes that are asked for in order: each goes on from the last.

    From the start of its block, as the index counts, that would be 8 KB for each match of a text.
    """

    def __init__(
        self,
        data: mmap.mmap,
        before: Callable[[mmap.mmap, int], int],
        within: Callable[[bytes], int],
    ) -> None:
        """Begin a count.

        Args:
            data: the stored text.
            before: counts what stands before a byte, wherever it is.
            within: counts what some bytes have.
        """
        self._data = data
        self._before = before
        self._within = within
        self._byte = self._count = 0

    def before(self, byte: int) -> int:
        """Count what stands before a byte."""
        if 0 <= byte - self._byte < BLOCK:
            self._count += self._within(self._data[self._byte : byte])
        else:
            self._count = self._before(self._data, byte)
        self._byte = byte
        return self._count


@lru_cache(maxsize=16)
def index_of(digest: str) -> TextIndex:  # pyright: ignore[reportUnusedParameter] - the cache's key
    """Give the index of a stored text, shared by all who read it."""
    return TextIndex()


def count_chars(data: bytes) -> int:
    """Count the characters that start in some bytes."""
    return len(data) if data.isascii() else len(data.translate(None, _CONTINUATION))


def count_newlines(data: bytes) -> int:
    """Count the newlines in some bytes."""
    return data.count(b"\n")


def start_before(data: mmap.mmap, byte: int) -> int:
    """Find the nearest start of a character at or before a byte."""
    start = min(max(byte, 0), len(data))
    while 0 < start < len(data) and data[start] & 0xC0 == 0x80:
        start -= 1
    return start


def start_after(data: mmap.mmap, byte: int) -> int:
    """Find the nearest start of a character at or after a byte."""
    start = min(max(byte, 0), len(data))
    while start < len(data) and data[start] & 0xC0 == 0x80:
        start += 1
    return start
