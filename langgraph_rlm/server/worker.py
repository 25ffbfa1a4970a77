"""Worker: the run process, which answers requests that come over a socket.

`process.py` starts it. It ends when its standard input does, as it does when the parent dies.

Runs have a process of their own because their work (JSON of 100 MB, models' clients, checkpoints)
holds Python's lock, and with it everything else that the same process would serve.
"""

import asyncio
import gc
import json
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from importlib import import_module
from typing import Any

from langgraph_rlm.errors import RLMError
from langgraph_rlm.processes.collector import tune_collector
from langgraph_rlm.server.answers import Asked, Head, refused
from langgraph_rlm.server.engine import Engine
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.logs import log_to_stderr
from langgraph_rlm.server.opening import open_engine
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.server.wire import END, frame, frames, head_frame, read_head

BACKLOG = 2048
SLOW_IMPORTS = ("langgraph_rlm.chat.model", "langchain_openai")
"""Modules that take seconds to import, which no request should wait for."""


async def main(path: str, settings: Settings) -> None:
    """Serve on the socket at `path` until standard input ends."""
    # on a busy machine the HTTP side goes first: it takes little, and clients wait for it
    os.nice(5)
    tune_collector()
    log_to_stderr(settings.log_level)
    for module in SLOW_IMPORTS:
        import_module(module)
    async with open_engine(settings) as engine:
        connections = Connections(engine)
        server = await asyncio.start_unix_server(connections.serve, path, backlog=BACKLOG)
        gc.freeze()
        _tell({"ready": True})
        os.dup2(2, 1)  # nobody reads stdout any more: what libraries print goes to the log
        await asyncio.to_thread(sys.stdin.buffer.read)
        server.close()
        await connections.close()


class Connections:
    """The requests under way."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request; cancel it when the other side closes."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            request = await read_head(reader)
            is_read = asyncio.Event()
            work = asyncio.create_task(self._answer(request, reader, writer, is_read))
            gone = asyncio.create_task(_gone(reader, is_read))
            self._tasks.add(work)
            try:
                await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (work, gone):
                    task.cancel()
                await asyncio.gather(work, gone, return_exceptions=True)
                self._tasks.discard(work)
        writer.close()

    async def close(self) -> None:
        """Cancel what is still under way: what its runs have done is in the database."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(
        self,
        request: dict[str, Any],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_read: asyncio.Event,
    ) -> None:
        try:
            answer = self._engine.answer(Asked(**request), _body(reader, is_read))
            async with aclosing(answer) as parts:
                async for part in parts:
                    writer.write(_head(part) if isinstance(part, Head) else frame(part))
                    await writer.drain()
        except Refused as error:
            head, text = refused(error)
            writer.write(_head(head) + frame(text))
        writer.write(END)
        await writer.drain()


async def _body(reader: asyncio.StreamReader, is_read: asyncio.Event) -> AsyncGenerator[bytes]:
    async for part in frames(reader):
        yield part
    is_read.set()


async def _gone(reader: asyncio.StreamReader, is_read: asyncio.Event) -> None:
    """Wait until the other side closes, once its request is read."""
    await is_read.wait()
    await reader.read(1)


def _head(head: Head) -> bytes:
    return head_frame({"status": head.status, "headers": head.headers})


def _tell(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.buffer.readline())
    try:
        asyncio.run(main(given["path"], Settings.model_validate(given["settings"])))
    except RLMError as error:
        _tell({"error": str(error)})
        sys.exit(1)
