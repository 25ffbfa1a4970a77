"""UTF-8: bytes from outside, made UTF-8 text, checked and counted as they pass.

Never holds more than a chunk.
"""

import codecs
from collections.abc import Iterable, Iterator
from itertools import chain

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.blobs import to_bytes

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, and the codecs that read what follows. UTF-32's begins like UTF-16's."""

PIECE = 1 << 16
"""Bytes that are decoded at a time, to count characters: what they make stays in the processor's
cache, so it takes half the time of a whole chunk."""

START = 512
"""Bytes that are enough to know a byte order mark or a tar archive."""

NUL_SHARE = 10
"""A text has at most one NUL in so many bytes.

A crash leaves some in a log. What is binary has more of them, or is not UTF-8 either.
"""

MAX_NULS = 16 << 20
"""Most NULs in a text of any size, so that an endless stream of them ends."""


class NotText(ContextError):
    """Bytes that are not text, or not in the encoding that they are said to have."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        """In two words, for a list of files."""


class Utf8:
    """Passes chunks on as UTF-8 text without a byte order mark, and counts their characters.

    UTF-16 and UTF-32 are known by their byte order mark. A few NULs are kept.
    """

    def __init__(self, name: str, encoding: str | None = None, errors: str = "strict") -> None:
        """Expect text.

        Args:
            name: what errors call it.
            encoding: a text encoding of Python's; None for UTF-8, or what a byte order mark says.
            errors: what becomes of bytes that are not in the encoding, as `open` takes it.
        """
        self._name = name
        self._encoding = encoding
        self._errors = errors
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._mark = 0
        """Bytes of the byte order mark."""
        self._nuls = 0
        self._first_nul = 0
        """The offset of the first NUL, when there is one."""
        self.chars = 0
        """Characters passed on so far."""
        self.size = 0
        """Bytes passed on so far."""

    def check(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass chunks on.

        Raises:
            NotText: they are binary, or not in their encoding.
        """
        for number, chunk in enumerate(self._in_utf8(chunks)):
            text = chunk if number else self._after_mark(chunk)
            self._count_nuls(text)
            self.chars += self._count(text)
            self.size += len(text)
            yield text
        self.chars += self._count(b"", final=True)
        if self._nuls * NUL_SHARE > self.size:
            raise self._too_many_nuls()

    def _in_utf8(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Give the same text in UTF-8, which is not checked yet."""
        rest = iter(chunks)
        start = start_of(rest)
        if start[257:262] == b"ustar":
            raise NotText("binary", f"{self._name} is binary: a tar archive. Unpack it first.")
        encoding = self._encoding or _marked(start)
        if encoding is None and self._errors != "strict":
            encoding = "utf-8"
        whole = chain([start] if start else [], rest)
        return _decoded(whole, self._name, encoding, self._errors) if encoding else whole

    def _after_mark(self, chunk: bytes) -> bytes:
        """Remove the byte order mark from the first chunk."""
        text = chunk.removeprefix(codecs.BOM_UTF8)
        self._mark = len(chunk) - len(text)
        return text

    def _count_nuls(self, text: bytes) -> None:
        if b"\0" not in text:  # looking for one takes a fifth of the time of counting
            return
        if not self._nuls:
            self._first_nul = self._mark + self.size + text.find(b"\0")
        self._nuls += text.count(b"\0")
        if self._nuls > MAX_NULS:
            self.size += len(text)
            raise self._too_many_nuls()

    def _count(self, text: bytes, *, final: bool = False) -> int:
        """Count the characters that end in a chunk. One that is cut there waits for the next."""
        pending = len(self._decoder.getstate()[0])
        if not pending and text.isascii():
            return len(text)
        count = 0
        for start in range(0, max(len(text), 1), PIECE):
            pending = len(self._decoder.getstate()[0])
            piece = text[start : start + PIECE]
            try:
                count += len(self._decoder.decode(piece, final))
            except UnicodeDecodeError as error:
                offset = self._mark + self.size + start - pending + error.start
                raise self._not_utf8(offset) from None
        return count

    def _not_utf8(self, offset: int) -> NotText:
        if self._nuls:
            return NotText(
                "binary",
                f"{self._name} is binary: a zero byte at offset {self._first_nul}, and at "
                f"{offset} a byte that is not UTF-8. Extract its text first. If it is text in "
                'another encoding, read it with langgraph_rlm.File(..., encoding="latin-1").',
            )
        return NotText(
            "not UTF-8",
            f"{self._name} is not UTF-8: see the byte at offset {offset}. Read it with its own "
            'encoding, such as langgraph_rlm.File(..., encoding="latin-1"), or convert it first: '
            "iconv -f LATIN1 -t UTF-8 IN > OUT",
        )

    def _too_many_nuls(self) -> NotText:
        guess = "utf-16-le" if self._first_nul % 2 else "utf-16-be"
        return NotText(
            "binary",
            f"{self._name} is binary: a zero byte at offset {self._first_nul}, and {self._nuls:,} "
            f"zero bytes (NUL) among {self.size:,}. Extract its text first. If it is UTF-16, read "
            f'it with langgraph_rlm.File(..., encoding="{guess}"); if it is text with NULs in it, '
            "remove them: tr -d '\\000' < IN > OUT",
        )


def start_of(chunks: Iterator[bytes], least: int = START) -> bytes:
    """Take the first `least` bytes or more; fewer if there are no more."""
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= least:
            break
    return start


def _marked(start: bytes) -> str | None:
    """Find the encoding that a byte order mark tells; None for UTF-8's, and where there is none."""
    for mark, encoding in MARKS.items():
        if start.startswith(mark):
            return encoding
    return None


def _decoded(chunks: Iterable[bytes], name: str, encoding: str, errors: str) -> Iterator[bytes]:
    """Turn text in any encoding into UTF-8.

    Raises:
        NotText: it is not in that encoding.
    """
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    read = 0
    for chunk in chain(filter(None, chunks), [b""]):
        pending = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeError as error:
            offset = read - pending + getattr(error, "start", 0)
            raise NotText(
                f"not {encoding}",
                f"{name} is not {encoding}: see the byte at offset {offset}. Read it with its own "
                'encoding: langgraph_rlm.File(..., encoding="latin-1").',
            ) from None
        read += len(chunk)
        if text:
            yield to_bytes(text)
