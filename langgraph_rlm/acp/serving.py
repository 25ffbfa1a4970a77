"""Serving: an agent on stdin and stdout, until the client closes them or the process is stopped."""

import asyncio
import getpass
import os
import signal
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from langgraph_rlm.acp.agent import RLMAgent
from langgraph_rlm.acp.lines import Lines
from langgraph_rlm.acp.sdk import acp
from langgraph_rlm.acp.sessions import Files
from langgraph_rlm.hosting.sources import Source, source_of
from langgraph_rlm.storage.blobs import BlobStore

STDIN, STDOUT, STDERR = 0, 1, 2

OpenSource = Callable[[], AbstractAsyncContextManager[Source]]
"""Opens the threads for as long as the agent serves, on its event loop."""


def create_agent(
    graph: Any,
    *,
    allowed: Sequence[str | os.PathLike[str]] = (),
    files: Files = "named",
    blob_store: str | Path | BlobStore | None = None,
    by: str | None = None,
) -> RLMAgent:
    """Make an agent for a connection of one's own, such as `acp.run_agent`. Close it at the end.

    Call it on the event loop that serves.

    Args:
        graph: an RLM with a checkpointer, or a graph with RLMs as nodes.
        allowed: folders that sessions may be in; none for any that the client names.
        files: `"named"` for prompts that get the files that they name; `"folder"` for those that
            also get the whole of their session's folder. Clients can change it.
        blob_store: where the blobs are; None for the graph's store.
        by: who is noted as having decided about calls that wait.

    Raises:
        ConfigurationError: the graph has no checkpointer.
        ContextError: an allowed folder is not there.
    """
    source = source_of(graph, blob_store)
    return RLMAgent(source, allowed=[*map(str, allowed)], files=files, by=by)


def serve(
    graph: Any,
    *,
    allowed: Sequence[str | os.PathLike[str]] = (),
    files: Files = "named",
    blob_store: str | Path | BlobStore | None = None,
) -> None:
    """Serve a graph on stdin and stdout, until the client closes them, SIGTERM or Ctrl-C.

    What else is written to stdout meanwhile goes to stderr. Takes and raises what `create_agent`
    does.
    """

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Source]:
        yield source_of(graph, blob_store)

    run(opened, allowed=[*map(str, allowed)], files=files)


def run(open_source: OpenSource, *, allowed: Sequence[str], files: Files) -> None:
    """Serve on stdin and stdout. Runs are cancelled at the end, and can be continued."""
    with own_stdio() as (reads, writes):
        asyncio.run(_serve(open_source, reads, writes, allowed, files))


async def _serve(
    open_source: OpenSource, reads: int, writes: int, allowed: Sequence[str], files: Files
) -> None:
    async with open_source() as source:
        agent = RLMAgent(source, allowed=allowed, files=files, by=_user())
        lines = Lines(reads, writes)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; other threads
                loop.add_signal_handler(number, lines.end)
        served: Any = agent  # which leaves out what it cannot: the SDK says so to the client
        try:
            # resuming and closing sessions is stable in the protocol, but not yet in this SDK
            await acp.run_agent(served, lines, use_unstable_protocol=True)
        finally:
            await agent.close()


@contextmanager
def own_stdio() -> Generator[tuple[int, int]]:
    """Take stdin and stdout for the protocol alone, and give descriptors of them.

    Meanwhile stdin is empty and stdout is stderr, for this process and those that it starts: a
    `print` in a tool or a library would break the protocol. The descriptors stay open: a thread may
    wait at them until the process ends.
    """
    reads, writes = os.dup(STDIN), os.dup(STDOUT)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, STDIN)
    os.dup2(STDERR, STDOUT)
    os.close(nothing)
    try:
        yield reads, writes
    finally:
        os.dup2(reads, STDIN)
        os.dup2(writes, STDOUT)


def _user() -> str | None:
    """Say who decides: whoever started the process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return None
