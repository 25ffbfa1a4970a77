"""Pieces file: pieces of bytes as a file that is read."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO


class PiecesFile(io.RawIOBase):
    """A file of pieces that come one after the other. Only one of them is in memory."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def buffered(self) -> BinaryIO:
        """Give it as `open` gives a file of bytes."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
