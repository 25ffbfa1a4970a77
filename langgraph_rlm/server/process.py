"""Process: the engine whose runs are in a process of their own. Starts it, hands requests on to it, and starts it anew when it dies."""

import asyncio
import json
import logging
import sys
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from langgraph_rlm.errors import ConfigurationError, RLMError
from langgraph_rlm.server.engine import Answer, Head
from langgraph_rlm.server.errors import RETRIED, Refused
from langgraph_rlm.server.replies import failed
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.server.wire import END, frame, head_frame, read_frame, read_head

LOG = logging.getLogger("langgraph_rlm.server")
PAUSE = 1.0
"""Seconds before a process that died is started again."""
UP = 30.0
"""Seconds that a request waits for a process that is being started."""
STOP = 10.0
"""Seconds that it may take to end."""


@asynccontextmanager
async def open_process(settings: Settings) -> AsyncGenerator["Process"]:
    """The process of the runs, up.

    Raises:
        ConfigurationError: its database cannot be opened, or a package is missing.
    """
    with tempfile.TemporaryDirectory(
        prefix="langgraph-rlm-"
    ) as folder:  # readable by this user alone
        process = Process(settings, str(Path(folder, "runs.sock")))
        await process.start()
        keeper = asyncio.create_task(process.keep_up())
        try:
            yield process
        finally:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
            await process.stop()


class Process:
    """The engine. See `Engine`."""

    def __init__(self, settings: Settings, path: str) -> None:
        self._settings, self._path = settings, path
        self._process: asyncio.subprocess.Process | None = None
        self._up = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether runs can begin."""
        return self._up.is_set()

    async def start(self) -> None:
        """Start it, and wait until it serves. Raises `ConfigurationError`: what it said when it could not."""
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "langgraph_rlm.server.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the server, which ends this one when its requests have ended
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            json.dumps(
                {"path": self._path, "settings": self._settings.model_dump(mode="json")}
            ).encode()
            + b"\n"
        )
        line = await process.stdout.readline()
        told = (
            json.loads(line)
            if line
            else {"error": f"The process of the runs ended with {await process.wait()}."}
        )
        if "error" in told:
            await process.wait()
            raise ConfigurationError(told["error"])
        self._up.set()

    async def keep_up(self) -> None:
        """Start it anew whenever it dies: what its runs had done is in the database."""
        while self._process is not None:
            code = await self._process.wait()
            self._up.clear()
            LOG.error("The process of the runs ended with %s; it is started again.", code)
            await asyncio.sleep(PAUSE)
            with suppress(RLMError, OSError):  # it is tried again
                await self.start()

    async def stop(self) -> None:
        """End it, and wait for its end."""
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

    async def complete(self, owner: str, body: AsyncIterator[bytes]) -> Answer:
        """See `Engine`."""
        started = False
        reader, writer = await self._connected()
        try:
            writer.write(head_frame({"owner": owner}))
            async for part in body:
                if part:
                    writer.write(frame(part))
                    await writer.drain()
            writer.write(END)
            head = Head(**await read_head(reader))
            yield head
            started = True
            while part := await read_frame(reader):
                yield part
        except (OSError, asyncio.IncompleteReadError):
            if not started:
                raise _restarted() from None
            yield failed(_restarted().body)
        finally:
            writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the process. A request that comes while it is started again waits: nothing of it has been done."""
        try:
            await asyncio.wait_for(self._up.wait(), UP)
            return await asyncio.open_unix_connection(self._path)
        except (TimeoutError, OSError):
            message = "The process of the runs is being started. Nothing of this request was done: try again later."
            raise Refused(503, message, code="starting", headers={"retry-after": "1"}) from None


def _restarted() -> Refused:
    message = "The process of the runs ended, and starts again. What the run had done is kept."
    return Refused(503, message, code="restarted", headers=RETRIED)
