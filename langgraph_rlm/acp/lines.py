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
import queue
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
LAST_SECONDS = 1.0
"""Seconds that the last messages may take."""

PARSE_ERROR, INVALID_REQUEST = -32700, -32600


class Lines:
    """A transport of the SDK, on file descriptors that are open.

    It reads and writes in threads that the end of the process does not wait for: a client may hold
    its side open, and neither write nor read.
    """

    def __init__(self, reads: int, writes: int, most_bytes: int = MOST_BYTES) -> None:
        """Take the descriptors, on the event loop that serves. Nothing is read yet."""
        self._reads = reads
        self._writes = writes
        self._most = most_bytes
        self._loop = asyncio.get_running_loop()
        self._came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._room = threading.Semaphore(AHEAD)
        self._going: queue.SimpleQueue[tuple[bytes, asyncio.Future[None]]] = queue.SimpleQueue()
        self._has_begun = False

    async def receive(self) -> dict[str, Any] | None:
        """Give the next message; None at the end, or after `end`."""
        self._begin()
        while (line := await self._came.get()) is not None:
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
        self._begin()
        text = json.dumps(message, separators=(",", ":"), default=str)
        written: asyncio.Future[None] = self._loop.create_future()
        self._going.put((text.encode("utf-8", "replace") + b"\n", written))
        await written

    async def close(self) -> None:
        """Wait a moment for what is still to be written. Whoever opened the descriptors closes
        them."""
        last: asyncio.Future[None] = self._loop.create_future()
        self._going.put((b"", last))
        await asyncio.wait({last}, timeout=LAST_SECONDS)

    def end(self) -> None:
        """Do as if the client had closed its side."""
        self._came.put_nowait(None)

    def _begin(self) -> None:
        if not self._has_begun:
            self._has_begun = True
            for work in (self._read, self._write):
                threading.Thread(target=work, name="acp-lines", daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the descriptor, or the loop, is closed
            for line in lines_of(self._reads, self._most):
                self._room.acquire()
                self._loop.call_soon_threadsafe(self._came.put_nowait, line)
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.end)

    def _write(self) -> None:
        while True:
            data, written = self._going.get()
            error: OSError | None = None
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(self._writes, left) :]
            except OSError as raised:
                error = raised
            try:
                self._loop.call_soon_threadsafe(_settle, written, error)
            except RuntimeError:  # the loop is closed
                return


def _settle(written: asyncio.Future[None], error: OSError | None) -> None:
    if written.done():
        return
    if error is None:
        written.set_result(None)
    else:
        written.set_exception(error)


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
