"""Storing: the contexts of a prompt are read and stored, and the client sees how far that is."""

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from langgraph_rlm.acp.sdk import acp, schema
from langgraph_rlm.acp.shown import Update
from langgraph_rlm.errors import ContextError
from langgraph_rlm.hosting.visible import printable
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.joined import FileDone

QUIET_SECONDS = 1.0
"""Reading that takes less than this shows nothing; after it, an update comes as often."""

Tell = Callable[[Sequence[Update]], Awaitable[None]]


async def stored(
    contexts: Mapping[str, Any], blobs: BlobStore, tell: Tell, every: float = QUIET_SECONDS
) -> dict[str, ContextHandle] | None:
    """Store the contexts of a prompt; None where there are none. Reading stops where this is
    cancelled.

    Args:
        contexts: anything that `ingest.ingest` takes, by name.
        blobs: stores them.
        tell: sends updates to the client.
        every: seconds between two of them.

    Raises:
        ContextError: one cannot be read.
    """
    if not contexts:
        return None
    reading = _Reading(contexts, blobs)
    work = asyncio.create_task(asyncio.to_thread(reading.read))
    try:
        while not (await asyncio.wait({work}, timeout=every))[0]:
            await tell([reading.shown("in_progress")])
        if reading.is_shown:
            await tell([reading.shown("failed" if work.exception() else "completed")])
        return work.result()
    finally:
        reading.stop()
        work.cancel()


class _Reading:
    """The reading of some contexts, in a thread."""

    def __init__(self, contexts: Mapping[str, Any], blobs: BlobStore) -> None:
        self._contexts = contexts
        self._blobs = blobs
        self._stopped = threading.Event()
        self._last: FileDone | None = None
        self._id = f"read:{uuid.uuid4().hex}"
        self.is_shown = False

    def read(self) -> dict[str, ContextHandle]:
        """Store all. Blocks."""
        return {
            name: ingest(value, self._blobs, on_file=self._on_file)
            for name, value in self._contexts.items()
        }

    def stop(self) -> None:
        """Stop at the next file."""
        self._stopped.set()

    def shown(self, status: schema.ToolCallStatus) -> Update:
        """Say how far it is."""
        title = "Reading files"
        if self._last is not None:
            title = f"Reading files: {self._last.done:,} of {self._last.total:,}"
        told: Any = {"title": title, "kind": "read", "status": status}
        if self._last is not None:
            told["content"] = [acp.tool_content(acp.text_block(printable(self._last.name)))]
        if self.is_shown:
            return acp.update_tool_call(self._id, **told)
        self.is_shown = True
        return acp.start_tool_call(self._id, **told)

    def _on_file(self, file: FileDone) -> None:
        if self._stopped.is_set():
            raise ContextError("The reading of the prompt's files was stopped.")
        self._last = file
