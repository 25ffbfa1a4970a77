"""Worker: the process of the runs, behind a socket. Started by `process.py`; ends when its standard input does, as that of a dead parent.

A process of its own because a run's work (JSON of 100 MB, models' clients, checkpoints) holds Python's lock, and with it whatever else
the process serves.
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
from langgraph_rlm.server.chats import open_chat
from langgraph_rlm.server.engine import Engine, Head, Local, refused
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.savers import open_saver
from langgraph_rlm.server.settings import Settings
from langgraph_rlm.server.wire import END, frame, frames, head_frame, read_head

BACKLOG = 2048


async def main(path: str, settings: Settings) -> None:
    """Serve on the socket until standard input ends."""
    os.nice(
        5
    )  # where the machine is full, the HTTP side goes first: it takes little, and clients wait for it
    for slow in (
        "langgraph_rlm.chat.model",
        "langchain_openai",
    ):  # seconds, which no request should wait for
        import_module(slow)
    async with open_saver(settings.db) as saver:
        connections = Connections(
            Local(open_chat(settings, saver), keep_alive_seconds=settings.keep_alive_seconds)
        )
        server = await asyncio.start_unix_server(connections.serve, path, backlog=BACKLOG)
        gc.freeze()
        _tell({"ready": True})
        os.dup2(2, 1)  # nobody reads on: what libraries print goes where the log goes
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
            owner = (await read_head(reader))["owner"]
            is_read = asyncio.Event()
            work = asyncio.create_task(self._answer(owner, reader, writer, is_read))
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
        owner: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_read: asyncio.Event,
    ) -> None:
        async def body() -> AsyncGenerator[bytes]:
            async for part in frames(reader):
                yield part
            is_read.set()

        try:
            async with aclosing(self._engine.complete(owner, body())) as parts:
                async for part in parts:
                    writer.write(
                        head_frame({"status": part.status, "headers": part.headers})
                        if isinstance(part, Head)
                        else frame(part)
                    )
                    await writer.drain()
        except Refused as error:
            head, text = refused(error)
            writer.write(head_frame({"status": head.status, "headers": head.headers}) + frame(text))
        writer.write(END)
        await writer.drain()


async def _gone(reader: asyncio.StreamReader, is_read: asyncio.Event) -> None:
    await is_read.wait()
    await reader.read(1)


def _tell(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    given = json.loads(sys.stdin.buffer.readline())
    try:
        asyncio.run(main(given["path"], Settings.model_validate(given["settings"])))
    except RLMError as error:
        _tell({"error": str(error)})
        sys.exit(1)
