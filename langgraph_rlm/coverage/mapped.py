"""Mapped: a text with its escapes undone, and where each of its bytes stood before.

Code sees the strings of a JSON context, not the JSON; a prompt may hold the `json.dumps` or the
`repr` of a piece, not the piece. Both are compared without their escapes. Never searches.
"""

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass, field

from langgraph_rlm.storage.blobs import to_bytes

PAIR = rb"u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
"""Two escapes for one character, as JSON has them for an emoji."""
ESCAPE = re.compile(rb"\\(?:[\\\"'/bfnrt]|" + PAIR + rb"|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})")
"""Escapes of JSON and of `repr`."""

MOST_ESCAPES = 1 << 20
"""Each takes a microsecond, and 32 bytes of memory."""

PLAIN = {
    b"b": b"\b",
    b"f": b"\f",
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
}


@dataclass(frozen=True)
class Mapped:
    """Some bytes, and where they stood in the stored text.

    Between two marks the bytes are those of the stored text, one for one.
    """

    data: bytes
    marks: "array[int]" = field(default_factory=lambda: array("Q", [0]))
    """Offsets in `data`, in order, the first one 0."""
    stored_marks: "array[int]" = field(default_factory=lambda: array("Q", [0]))
    """The offset of each mark in the stored text."""

    def stored(self, start: int, end: int) -> tuple[int, int]:
        """Give the bytes of the stored text that `data[start:end]` came from."""
        return self._stored(start), self._stored(end)

    def _stored(self, offset: int) -> int:
        mark = bisect_right(self.marks, offset) - 1
        return self.stored_marks[mark] + offset - self.marks[mark]

    def own(self, stored: int) -> int:
        """Give the first offset in `data` that came from the byte `stored`, or from after it."""
        mark = bisect_right(self.stored_marks, stored) - 1
        if mark < 0:
            return 0
        offset = self.marks[mark] + stored - self.stored_marks[mark]
        last = self.marks[mark + 1] if mark + 1 < len(self.marks) else len(self.data)
        return min(offset, last)


def shifted(data: bytes, start: int) -> Mapped:
    """Map bytes that stand in the stored text as they are, from the byte `start` on."""
    return Mapped(data, array("Q", [0]), array("Q", [start]))


def unescaped(data: bytes, start: int = 0) -> Mapped:
    """Undo the escapes of JSON and of `repr`, unless there are more than a text has.

    Args:
        data: a part of the stored text.
        start: the byte of the stored text at which it begins.
    """
    if data.count(b"\\") > MOST_ESCAPES:
        return shifted(data, start)
    pieces: list[bytes] = []
    marks, stored_marks = array("Q", [0]), array("Q", [start])
    size = last = 0
    for match in ESCAPE.finditer(data):
        meant = _meant(match[0])
        pieces += [data[last : match.start()], meant]
        size += match.start() - last
        last = match.end()
        _mark(marks, stored_marks, size, start + match.start())
        size += len(meant)
        _mark(marks, stored_marks, size, start + last)
    pieces.append(data[last:])
    return Mapped(b"".join(pieces), marks, stored_marks)


def _mark(marks: "array[int]", stored_marks: "array[int]", offset: int, stored: int) -> None:
    """Note where a byte stood; a later note about the same byte stands."""
    if marks[-1] == offset:
        stored_marks[-1] = stored
    else:
        marks.append(offset)
        stored_marks.append(stored)


def _meant(escape: bytes) -> bytes:
    """Give the bytes that an escape stands for."""
    kind = escape[1:2]
    if kind == b"x":
        return to_bytes(chr(int(escape[2:], 16)))
    if kind != b"u":
        return PLAIN.get(kind, kind)
    first = int(escape[2:6], 16)
    if len(escape) == 6:
        return to_bytes(chr(first))
    second = int(escape[8:], 16)
    return to_bytes(chr(0x10000 + ((first - 0xD800) << 10) + second - 0xDC00))
