"""Normalised: a text as quotes of it are compared, and where its bytes stood before.

White space counts as one blank, every quotation mark as the same (those within a quote change), a
dash as a hyphen, and what nobody sees, such as a soft hyphen, does not count. Upper and lower case
stay.
"""

from bisect import bisect_right

from langgraph_rlm.coverage.common import is_start

PIECE = 1 << 16
"""Bytes that are normalised at once: to find where one of them stood, its piece is done again."""

MOST_LONGER = 1_000
"""Bytes by which a piece may be longer, so that it ends well."""

PLAIN = bytes.maketrans(b'\t\r\n\f\v"', b"     '")

SAME = {
    " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000",
    "'": "\u2018\u2019\u201a\u201b\u2039\u203a\u2032\u201c\u201d\u201e\u201f\u00ab\u00bb\u2033",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212",
    "...": "\u2026",
    "": "\u00ad\u200b\u200c\u200d\u2060\ufeff",
}
"""Characters, by what they count as."""

REPLACED = [(char.encode(), meant.encode()) for meant, chars in SAME.items() for char in chars]


def normalise(data: bytes) -> bytes:
    """Normalise a text of UTF-8."""
    if not data.isascii():
        for char, meant in REPLACED:
            data = data.replace(char, meant)
    data = data.translate(PLAIN)
    while b"  " in data:  # five times as fast as a regular expression
        data = data.replace(b"  ", b" ")
    return data


class Normalised:
    """A normalised text."""

    def __init__(self, data: bytes) -> None:
        """Normalise a text.

        Args:
            data: UTF-8. It is kept too.
        """
        self._stored = data
        self._borders = [0]
        self._starts = [0]
        pieces: list[bytes] = []
        while self._borders[-1] < len(data):
            border = _border(data, self._borders[-1] + PIECE)
            pieces.append(normalise(data[self._borders[-1] : border]))
            self._borders.append(border)
            self._starts.append(self._starts[-1] + len(pieces[-1]))
        self.data = b"".join(pieces)

    def stored(self, start: int, end: int) -> tuple[int, int]:
        """Give the bytes of the text that `data[start:end]`, whole characters, came from."""
        return self._last_at(start), self._first_at(end)

    def own(self, stored: int) -> int:
        """Give the offset in `data` of a byte of the text, or of the next character."""
        piece = min(bisect_right(self._borders, stored), len(self._borders) - 1) - 1
        return self._starts[max(0, piece)] + self._size(max(0, piece), stored)

    def _size(self, piece: int, stored: int) -> int:
        """Count the bytes that come of a piece up to a byte of the text."""
        first = self._borders[piece]
        while stored > first and not is_start(self._stored, stored):
            stored -= 1
        return len(normalise(self._stored[first:stored]))

    def _last_at(self, offset: int) -> int:
        """Give the last byte of the text before which `offset` bytes come out, or fewer."""
        piece = min(bisect_right(self._starts, offset), len(self._starts) - 1) - 1
        low, high = self._borders[piece], self._borders[piece + 1]
        while low < high:
            middle = (low + high + 1) // 2
            if self._starts[piece] + self._size(piece, middle) <= offset:
                low = middle
            else:
                high = middle - 1
        while not is_start(self._stored, low):
            low -= 1
        return low

    def _first_at(self, offset: int) -> int:
        """Give the first byte of the text before which `offset` bytes come out."""
        if offset <= 0:
            return 0
        piece = max(0, bisect_right(self._starts, offset - 1) - 1)
        low, high = self._borders[piece], self._borders[piece + 1]
        while low < high:
            middle = (low + high) // 2
            if self._starts[piece] + self._size(piece, middle) >= offset:
                high = middle
            else:
                low = middle + 1
        return low


def _border(data: bytes, border: int) -> int:
    """Find a byte near `border` at which a text may be cut: behind a letter or the like of ASCII,
    so that no white space and no character is cut in two."""
    for near in range(border, min(border + MOST_LONGER, len(data))):
        if data[near - 1] < 0x80 and not data[near - 1 : near].isspace() and is_start(data, near):
            return near
    near = min(border, len(data))
    while not is_start(data, near):
        near += 1
    return near
