"""Frames: the messages between the local backend and its worker, over a socket.

The worker loads this file by its path: it imports the standard library alone.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

HEADER = struct.Struct("!cQ")
TEXT, JSON = b"T", b"J"
UNBOUNDED = 2**63


class FrameError(Exception):
    """A frame that no honest peer sends."""


class Channel:
    """Frames over a socket: kind (text or JSON), length, bytes. Lone surrogates become `?`."""

    def __init__(self, stream: socket.socket, max_read: int = UNBOUNDED) -> None:
        self._stream = stream
        self._max_read = max_read
        self.max_sent = UNBOUNDED

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; `{"value": str}` goes as text, so that a large context costs one copy.

        Raises:
            ValueError: it is longer than `max_sent`, or not a JSON value.
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
        self._stream.sendall(HEADER.pack(kind, len(body)))
        self._stream.sendall(body)

    def read(self) -> Any:
        """Wait for a message.

        Raises:
            EOFError: the peer closed the socket.
            FrameError: it is not a frame, or longer than `max_read`.
            MemoryError: there is no room for it; the frame is skipped.
        """
        kind, size = HEADER.unpack(self._bytes(HEADER.size))
        if kind not in (TEXT, JSON) or size > self._max_read:
            raise FrameError(f"a frame of kind {kind!r} with {size} bytes")
        body = self._bytes(size)
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

    def _receive(self, view: memoryview) -> int:
        count = self._stream.recv_into(view)
        if count == 0:
            raise EOFError("the socket is closed")
        return count
