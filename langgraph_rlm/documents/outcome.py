"""Outcome: what reading one file gave, or why it could not be read. Plain JSON between processes.

Never holds text: that is in the file that the worker wrote.
"""

from dataclasses import dataclass, field
from typing import Any, BinaryIO

Facts = dict[str, Any]
"""What is known of a file beside its text: `pages`, `sheets`, `width`, ..."""


class Unreadable(Exception):
    """A file, or a part of one, cannot be read; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Part:
    """One file in what a worker wrote."""

    name: str
    """Relative to the file that was read; empty for that file itself."""
    start: int
    size: int
    is_text: bool
    """Whether its bytes are its text; else they are a file, which may have to be read in turn."""
    facts: Facts = field(default_factory=dict[str, Any])

    def as_list(self) -> list[Any]:
        """Give plain values."""
        return [self.name, self.start, self.size, self.is_text, self.facts]


@dataclass(frozen=True)
class Outcome:
    """What one file gave."""

    parts: tuple[Part, ...]
    skipped: tuple[str, ...] = ()
    """What in it was left out, with the reason."""

    def as_dict(self) -> dict[str, Any]:
        """Give plain values."""
        return {"parts": [part.as_list() for part in self.parts], "skipped": list(self.skipped)}

    @staticmethod
    def from_dict(given: dict[str, Any]) -> "Outcome":
        """Make what `as_dict` came from."""
        return Outcome(tuple(Part(*part) for part in given["parts"]), tuple(given["skipped"]))


class Parts:
    """Writes the parts of one file one after the other, within a number of files and bytes."""

    def __init__(self, out: BinaryIO, max_files: int, max_bytes: int) -> None:
        """Write to `out`, which is empty."""
        self._out = out
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._parts: list[Part] = []
        self._skipped: list[str] = []
        self.size = 0
        """Bytes written so far."""

    def skip(self, name: str, reason: str) -> None:
        """Note what is left out."""
        if len(self._skipped) < self._max_files:
            self._skipped.append(f"{name} ({reason})")

    def write(self, data: bytes) -> None:
        """Write some bytes of the next part.

        Raises:
            Unreadable: they are too many.
        """
        self.size += len(data)
        if self.size > self._max_bytes:
            raise Unreadable(f"over {self._max_bytes:,} bytes when unpacked")
        self._out.write(data)

    def end(self, name: str, start: int, *, is_text: bool, facts: Facts | None = None) -> None:
        """End a part that began at byte `start`.

        Raises:
            Unreadable: there are too many.
        """
        if len(self._parts) >= self._max_files:
            raise Unreadable(f"over {self._max_files:,} files in it")
        self._parts.append(Part(name, start, self.size - start, is_text, facts or {}))

    def text(self, name: str, text: str, facts: Facts | None = None) -> None:
        """Write a whole part of text."""
        start = self.size
        self.write(text.encode("utf-8", "replace"))
        self.end(name, start, is_text=True, facts=facts)

    def outcome(self) -> Outcome:
        """Give what was written."""
        return Outcome(tuple(self._parts), tuple(self._skipped))
