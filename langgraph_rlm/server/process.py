"""Process: a run process (`worker.py`), as an engine whose runs are in a process of their own.

It starts the run process, passes requests to it, and starts it again when it dies.
"""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import suppress

from langgraph_rlm.errors import ConfigurationError, RLMError
from langgraph_rlm.server.answers import Answer, Asked, Head
from langgraph_rlm.server.broken import BROKEN_OFF, restarted
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.server.wire import END, frame, head_frame, read_frame, read_head

LOG = logging.getLogger("langgraph_rlm.server")
PAUSE = 1.0
"""Seconds before a run process that died is started again."""
UP = 30.0
"""Seconds that a request waits for a run process that is being started."""
STOP = 10.0
"""Seconds that the run process may take to end."""


class Process:
    """One run process. See `Engine`."""

    def __init__(self, settings: Settings, path: str) -> None:
        """Start nothing yet.

        Args:
            settings: of the process.
            path: of its socket, in a folder that no other user can read.
        """
        self._settings = settings
        self._path = path
        self._process: asyncio.subprocess.Process | None = None
        self._up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether runs can begin."""
        return self._up.is_set()

    async def start(self) -> None:
        """Start the run process, and wait until it serves.

        Raises:
            ConfigurationError: it could not start; the message is what it said.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "langgraph_rlm.server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Ctrl-C is for the server, which ends this process when its requests have ended
            start_new_session=True,
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        given = {"path": self._path, "settings": self._settings.model_dump(mode="json")}
        process.stdin.write(json.dumps(given).encode() + b"\n")
        line = await process.stdout.readline()
        if not line:
            code = await process.wait()
            raise ConfigurationError(f"The process of the runs ended with {code}.")
        told = json.loads(line)
        if "error" in told:
            await process.wait()
            raise ConfigurationError(told["error"])
        self._up.set()

    async def keep_up(self) -> None:
        """Start the run process again whenever it dies.

        Nothing is lost: what its runs had done is in the database.
        """
        while self._process is not None:
            code = await self._process.wait()
            self._up.clear()
            LOG.error("The process of the runs ended with %s; it is started again.", code)
            await asyncio.sleep(PAUSE)
            with suppress(RLMError, OSError):  # the loop tries again
                await self.start()

    async def stop(self) -> None:
        """End the run process, and wait for its end."""
        process = self._process
        self._up.clear()
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), STOP)
        except TimeoutError:
            process.kill()
            await process.wait()

    async def answer(self, asked: Asked, body: AsyncIterator[bytes]) -> Answer:
        """Do what `Engine.answer` says."""
        started = False
        reader, writer = await self._connected()
        try:
            await _send_request(writer, asked, body)
            head = Head(**await read_head(reader))
            yield head
            started = True
            while part := await read_frame(reader):
                yield part
        except (OSError, asyncio.IncompleteReadError):
            if not started:
                raise restarted() from None
            if asked.door in BROKEN_OFF:  # of other doors, bytes are missing
                yield BROKEN_OFF[asked.door](restarted())
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to the run process.

        A request that comes while it is started again waits: nothing of the request was done yet.
        """
        try:
            await asyncio.wait_for(self._up.wait(), UP)
            return await asyncio.open_unix_connection(self._path)
        except (TimeoutError, OSError):
            message = (
                "The process of the runs is being started. "
                "Nothing of this request was done: try again later."
            )
            raise Refused(503, message, code="starting", headers={"retry-after": "1"}) from None


async def _send_request(
    writer: asyncio.StreamWriter, asked: Asked, body: AsyncIterator[bytes]
) -> None:
    writer.write(head_frame({**vars(asked), "options": dict(asked.options)}))
    async for part in body:
        if part:  # an empty frame would be the end
            writer.write(frame(part))
            await writer.drain()
    writer.write(END)
