"""Lines: the messages of the protocol, one JSON object a line, on two file descriptors.

The SDK has streams of its own. These differ in what they do with a hostile client: a line that is
no message is answered, where the SDK's connection ends; a line that is too long is skipped, where
the SDK's holds it in memory; and `_meta`, which the SDK lays over the parameters that it has
checked, is left out. They also need no pipe: a file will do. Knows no session.
"""

import asyncio
import contextlib
import json
import logging
import os
import threading
from collections.abc import Generator
from typing import Any

from langgraph_rlm.storage.json_types import is_dict

LOG = logging.getLogger("langgraph_rlm.acp")

MOST_BYTES = 64 << 20
"""Bytes of the longest line that is read: a picture of 20 MB is 27 MB of base64."""
CHUNK = 1 << 16
AHEAD = 64
"""Messages that are read ahead of the one that is worked on."""

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


class Lines:
    """A transport of the SDK, on file descriptors that are open. Its reading is in a thread."""

    def __init__(self, reads: int, writes: int, most_bytes: int = MOST_BYTES) -> None:
        """Take the descriptors, on the event loop that serves. Nothing is read yet."""
        self._reads = reads
        self._writes = writes
        self._most = most_bytes
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._sending = asyncio.Lock()
        self._is_reading = False

    async def receive(self) -> dict[str, Any] | None:
        """Give the next message; None at the end, or after `end`."""
        if not self._is_reading:
            self._is_reading = True
            threading.Thread(target=self._read, name="acp-lines", daemon=True).start()
        while (line := await self._queue.get()) is not None:
            self._room.release()
            try:
                return message_of(line)
            except _Refused as refused:
                await self.send(refused.reply)
        return None

    async def send(self, message: dict[str, Any]) -> None:
        """Write a message, whole and in its turn.

        Raises:
            OSError: nobody reads any more.
        """
        text = json.dumps(message, separators=(",", ":"), default=str)
        data = text.encode("utf-8", "replace") + b"\n"
        async with self._sending:
            await asyncio.to_thread(_write, self._writes, data)

    async def close(self) -> None:
        """Leave the descriptors as they are: whoever opened them closes them."""

    def end(self) -> None:
        """Do as if the client had closed its side."""
        self._queue.put_nowait(None)

    def _read(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the descriptor, or the loop, is closed
            for line in lines_of(self._reads, self._most):
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.end)


class _Refused(Exception):
    """Raised for a line that is no message."""

    def __init__(self, code: int, why: str, id: Any = None) -> None:
        super().__init__(why)
        self.reply = {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": why}}


def lines_of(reads: int, most: int) -> Generator[bytes]:
    """Read lines; of one that is longer than `most` bytes its start alone, which is no JSON."""
    held = bytearray()
    while chunk := os.read(reads, CHUNK):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            held += end[: most + 1 - len(held)]
            if held.strip():
                yield bytes(held)
            held.clear()
        held += rest[: most + 1 - len(held)]
    if held.strip():
        yield bytes(held)


def message_of(line: bytes) -> dict[str, Any]:
    """Read a line as a message that the SDK's connection can take.

    Raises:
        _Refused: it is none.
    """
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise _Refused(PARSE_ERROR, "A line is no JSON, or is too long.") from None
    if not is_dict(found):
        raise _Refused(INVALID_REQUEST, "A message is one JSON object.")
    id = found.get("id")
    if id is not None and not isinstance(id, (str, int)):
        raise _Refused(INVALID_REQUEST, "The id of a message is a string or a number.")
    if not isinstance(found.get("method", ""), str):
        raise _Refused(INVALID_REQUEST, "The method of a message is a string.", id)
    if not is_dict(found.get("error", {})):
        raise _Refused(INVALID_REQUEST, "The error of a message is an object.")
    params = found.get("params")
    if is_dict(params):
        found["params"] = {name: each for name, each in params.items() if name != "_meta"}
    return found


def _write(writes: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(writes, left) :]
