"""Delayed: a PostgreSQL that is so many milliseconds away, and what goes over the way.

A proxy of TCP in a thread of its own, in front of the server's socket. Bytes arrive as much later
as was asked for, in both directions, however many are under way. It reads what clients send as far
as to count statements, and a round trip is when a client sends again after it has been answered.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self


@dataclass
class Counted:
    """What has gone over the way."""

    connections: int = 0
    trips: int = 0
    statements: int = 0
    sent: int = 0
    """Bytes from clients."""

    def since(self, before: "Counted") -> "Counted":
        """Give what has come since then."""
        pairs = ((getattr(self, name), getattr(before, name)) for name in vars(self))
        return Counted(*(now - then for now, then in pairs))

    def copy(self) -> "Counted":
        """Give what has gone so far."""
        return Counted(**vars(self))


class Messages:
    """The messages that one client of PostgreSQL sends: a letter and a length each, the first one a
    length alone."""

    def __init__(self) -> None:
        self._bytes = b""
        self._has_begun = False

    def statements(self, data: bytes) -> int:
        """Count what is executed by what came: queries (`Q`) and prepared ones (`E`)."""
        self._bytes += data
        found = 0
        while True:
            head = 5 if self._has_begun else 4
            if len(self._bytes) < head:
                return found
            length = int.from_bytes(self._bytes[head - 4 : head]) + head - 4
            if len(self._bytes) < length:
                return found
            message, self._bytes = self._bytes[:length], self._bytes[length:]
            found += self._has_begun and message[:1] in b"QE"
            # a request for encryption (SSL, GSS) comes before the first message, and looks alike
            self._has_begun = self._has_begun or length != 8


class Delayed:
    """The proxy. A context manager."""

    def __init__(self, socket: str, seconds: float) -> None:
        """Take the path of the server's socket, and how long bytes take one way."""
        self._socket, self.seconds = socket, seconds
        self.counted = Counted()
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self._loop.close()

    def url(self, database: str = "postgres") -> str:
        """Of a database on this way."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}?sslmode=disable"

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._is_up.set()
        await self._over.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counted.connections += 1
        messages, state = Messages(), {"answered": True}

        def noted(data: bytes) -> None:
            self.counted.sent += len(data)
            self.counted.statements += messages.statements(data)
            self.counted.trips += state["answered"]
            state["answered"] = False

        def answered(_: bytes) -> None:
            state["answered"] = True

        to_server, from_client = await asyncio.open_unix_connection(self._socket)
        both = [
            asyncio.create_task(self._carry(reader, from_client, noted)),
            asyncio.create_task(self._carry(to_server, writer, answered)),
        ]
        self._tasks |= {*both}
        with suppress(asyncio.CancelledError):
            await asyncio.wait(both)
        self._tasks -= {*both}

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        noted: Callable[[bytes], None],
    ) -> None:
        """Carry bytes one way: each arrives when its time has come."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        delivering = asyncio.create_task(self._deliver(under_way, writer))
        try:
            while data := await reader.read(1 << 16):
                noted(data)
                await under_way.put((self._loop.time() + self.seconds, data))
        except OSError:  # a client that was killed
            pass
        finally:
            await under_way.put((self._loop.time() + self.seconds, b""))
            await _quietly(delivering)

    async def _deliver(
        self, under_way: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0, due - self._loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()


async def _quietly(task: Awaitable[None]) -> None:
    with suppress(OSError, asyncio.CancelledError):
        await task
