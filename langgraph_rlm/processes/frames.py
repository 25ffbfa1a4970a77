"""Frames: the messages between the local backend and its worker, over a socket.

The worker loads this file by its path: it imports the standard library alone.
"""

import json
import re
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

HEADER = struct.Struct("!cQ")
TEXT, JSON = b"T", b"J"
UNBOUNDED = 2**63
SEPARATORS = b",[{"
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"')


class FrameError(Exception):
    """A frame that no honest peer sends."""


def parts_of(body: bytes | bytearray, enough: int) -> int:
    """Count the lists, dicts and items of a JSON text, at least: each takes memory when it is read.

    Args:
        body: the text.
        enough: a count up to which separators within strings need not be told from others.
    """
    count = sum(body.count(separator) for separator in SEPARATORS)
    if count <= enough:
        return count
    without_strings = STRING.sub(b"", body)
    return sum(without_strings.count(separator) for separator in SEPARATORS)


class Channel:
    """Frames over a socket: kind (text or JSON), length, bytes. Lone surrogates become `?`."""

    def __init__(self, stream: socket.socket, max_read: int = UNBOUNDED) -> None:
        self._stream = stream
        self._max_read = max_read
        self._on_wait: Callable[[], None] | None = None
        self.max_sent = UNBOUNDED
        self.max_parts = UNBOUNDED
        """Most parts (see `parts_of`) of a JSON frame, in both directions."""

    def while_waiting(self, look: Callable[[], None], seconds: float) -> None:
        """Call something every so often while the peer is waited for; it may raise."""
        self._on_wait = look
        self._stream.settimeout(seconds)

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; `{"value": str}` goes as text, so that a large context costs one copy.

        Raises:
            ValueError: it is larger than `max_sent` and `max_parts` allow, or not a JSON value.
            OSError: the peer is gone.
        """
        if list(message) == ["value"] and isinstance(message["value"], str):
            kind, text = TEXT, message["value"]
        else:
            kind, text = JSON, json.dumps(message, ensure_ascii=False)
        body = text.encode("utf-8", "replace")
        if len(body) > self.max_sent:
            raise ValueError(
                f"{len(body)} bytes are more than can be handed to the host at once "
                f"({self.max_sent}): send a smaller piece."
            )
        if kind == JSON and parts_of(body, self.max_parts) > self.max_parts:
            raise ValueError(
                f"A value with so many parts cannot be handed to the host at once "
                f"(at most {self.max_parts}): send a smaller piece."
            )
        self._send(HEADER.pack(kind, len(body)))
        self._send(body)

    def read(self) -> Any:
        """Wait for a message.

        Raises:
            EOFError: the peer closed the socket.
            FrameError: it is not a frame, or larger than `max_read` and `max_parts` allow.
            MemoryError: there is no room for it; the frame is skipped.
        """
        kind, size = HEADER.unpack(self._bytes(HEADER.size))
        if kind not in (TEXT, JSON) or size > self._max_read:
            raise FrameError(f"a frame of kind {kind!r} with {size} bytes")
        body = self._bytes(size)
        if kind == JSON and parts_of(body, self.max_parts) > self.max_parts:
            raise FrameError(f"a frame with more than {self.max_parts} parts")
        try:
            return {"value": str(body, "utf-8")} if kind == TEXT else json.loads(body)
        except (ValueError, RecursionError) as error:
            raise FrameError(f"a frame that cannot be read: {error}") from error

    def _bytes(self, size: int) -> bytearray:
        try:
            buffer = bytearray(size)
        except MemoryError:
            self._skip(size)
            raise MemoryError(f"no room for {size} bytes from the host") from None
        view = memoryview(buffer)
        while view:
            view = view[self._receive(view) :]
        return buffer

    def _skip(self, size: int) -> None:
        scratch = memoryview(bytearray(1 << 16))
        while size:
            size -= self._receive(scratch[:size])

    def _send(self, body: bytes) -> None:
        view = memoryview(body)
        while view:
            view = view[self._patiently(lambda rest=view: self._stream.send(rest)) :]

    def _receive(self, view: memoryview) -> int:
        count = self._patiently(lambda: self._stream.recv_into(view))
        if count == 0:
            raise EOFError("the socket is closed")
        return count

    def _patiently(self, step: Callable[[], int]) -> int:
        """Try a step of the socket until it is done, and look around before and in between."""
        while True:
            if self._on_wait:
                self._on_wait()
            try:
                return step()
            except TimeoutError:
                if self._on_wait is None:
                    raise
