"""Threads: list what a database has of this package. Changes nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from langchain_core.language_models import FakeListChatModel
from langgraph.types import StateSnapshot

from langgraph_rlm.errors import BlobError
from langgraph_rlm.graph import create_rlm
from langgraph_rlm.history.homes import RECORD, Home, home_of, in_sync_use, time_of
from langgraph_rlm.log.entries import Log
from langgraph_rlm.pregel.leases import is_leased
from langgraph_rlm.pregel.sync import wait_for
from langgraph_rlm.rlm_graph import RLMGraph
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.digests import digests_in
from langgraph_rlm.storage.sweep import Inventory

QUESTION_CHARS = 200
"""Characters of a question that a listing has."""

ThreadState = Literal["done", "paused", "stopped", "running"]


@dataclass(frozen=True)
class Thread:
    """One thread in a listing."""

    id: str
    updated: datetime
    """When its newest checkpoint was written, with its time zone."""
    state: ThreadState
    """It has its answer; it waits for a human; it was cut off, and can be continued; it runs now,
    as far as that can be seen from here."""
    question: str
    """The start of its first question; empty where it is not known."""
    checkpoints: int
    bytes: int
    """Bytes in the database, and of the blobs that it names. Threads may share blobs."""


def threads(graph: Any, *, blob_store: str | Path | BlobStore | None = None) -> Sequence[Thread]:
    """Do what `athreads` does, from sync code."""
    own = in_sync_use(graph)
    return wait_for(lambda: athreads(own, blob_store=blob_store))


async def athreads(
    graph: Any, *, blob_store: str | Path | BlobStore | None = None
) -> Sequence[Thread]:
    """List the threads on which an RLM ran, the newest first.

    Args:
        graph: a graph with a checkpointer, or the checkpointer.
        blob_store: where the blobs are; None for the graph's store, else the default one.

    Raises:
        ConfigurationError: there is no checkpointer.
        BlobError: the store cannot be read.
    """
    home = await home_of(graph, blob_store)
    reader = graph if isinstance(graph, RLMGraph) else _reader(home)
    try:
        inventory = await asyncio.to_thread(Inventory, home.blobs.backend)
    except OSError as error:
        raise BlobError(f"The blob store {home.blobs.location} cannot be read: {error}.") from error
    found = [await _thread(home, reader, inventory, id) for id in await home.rows.threads()]
    return sorted((each for each in found if each), key=lambda each: each.updated, reverse=True)


def _reader(home: Home) -> RLMGraph:
    """Make a graph that reads states and is never run."""
    nobody = FakeListChatModel(responses=[""])
    return create_rlm(nobody, checkpointer=home.saver, blob_store=home.blobs)


async def _thread(home: Home, reader: RLMGraph, inventory: Inventory, thread: str) -> Thread | None:
    """Describe a thread; None for one of something else, or a record."""
    saved = await home.newest(thread)
    if saved is None or RECORD in saved.metadata or not await home.is_ours(thread):
        return None
    state = await reader.aget_state({"configurable": {"thread_id": thread}})
    rows = await home.rows.of(thread)
    known = inventory.digests
    is_running = await is_leased(home.database, thread)
    named = {digest for value in rows.values for digest in digests_in(value, known)}
    return Thread(
        id=thread,
        updated=time_of(saved),
        state="running" if is_running else _state(state),
        question=await asyncio.to_thread(_question, state, home.blobs),
        checkpoints=rows.checkpoints,
        bytes=rows.bytes + inventory.size_of(named),
    )


def _state(state: StateSnapshot) -> ThreadState:
    if state.interrupts:
        return "paused"
    return "stopped" if state.tasks else "done"


def _question(state: StateSnapshot, blobs: BlobStore) -> str:
    log: Log = state.values.get("log", {})
    for entry in log.values():
        if entry["kind"] == "run":
            try:
                return blobs.get_text(entry["question"])[:QUESTION_CHARS]
            except BlobError:  # a listing is how one finds out what is left
                return ""
    return ""
