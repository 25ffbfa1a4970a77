"""Early writes: what a task saves before it ends, piece by piece, and finds when it runs again.

LangGraph saves what a task has written when the task ends. A task that does the work of a thousand
would lose all of it with a killed process, so its pieces are saved as pending writes of the open
checkpoint, under ids of tasks that LangGraph does not know. It gives those to no task, keeps them
where a branch leaves the checkpoint, and a `DeltaChannel` reads them as it reads any write of the
channel, so that no piece is stored twice (`tests/test_assumptions.py`).
"""

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from langgraph_rlm.pregel.keys import checkpoint_of, task_id

Saver = BaseCheckpointSaver[Any]


class Saved(dict[str, Any]):
    """What a task writes to a channel at its end, all of which it has saved before."""


class EarlyWrites:
    """The pieces of one execution of a task, each a key of a dict that its channel merges.

    Pieces that come while others are being saved are saved together next, in one write: savers take
    the same time for many as for one.
    """

    def __init__(self, saver: Saver, config: RunnableConfig, channel: str) -> None:
        """Save pieces for a task.

        Args:
            saver: of the task's graph.
            config: of the task.
            channel: whose reducer merges dicts.
        """
        self._saver = saver
        self._checkpoint = checkpoint_of(config)
        self._task = task_id(config)
        self._channel = channel
        self._gathered: dict[str, Any] = {}
        self._beside: dict[str, Any] = {}
        self._saving: asyncio.Task[None] | None = None

    async def found(self) -> "Found":
        """Read what an earlier execution of the task has saved."""
        saved = await self._saver.aget_tuple(self._checkpoint)
        return Found({}, {}) if saved is None else early_writes(saved, self._task, self._channel)

    def add(self, key: str, piece: Any, beside: Mapping[str, Any] | None = None) -> None:
        """Have a piece saved, soon.

        Args:
            key: of the piece in the channel's dict.
            piece: its value.
            beside: writes to other channels that belong to it.

        Raises:
            Exception: pieces before it could not be saved; what the saver raised.
        """
        self._gathered[key] = piece
        self._beside.update(beside or {})
        if self._saving is not None and self._saving.done():
            self._saving.result()
            self._saving = None
        if self._saving is None:
            self._saving = asyncio.create_task(self._save())

    async def settled(self) -> None:
        """Wait until all is saved. Raises what the saver raised."""
        if self._saving is not None:
            # what others wait for is not ended by the cancellation of this task
            await asyncio.shield(self._saving)

    async def _save(self) -> None:
        while self._gathered:
            pieces, self._gathered = self._gathered, {}
            beside, self._beside = self._beside, {}
            writes = [(self._channel, pieces), *beside.items()]
            id = _id(self._task, next(iter(pieces)))
            await self._saver.aput_writes(self._checkpoint, writes, id)


class Found(dict[str, Any]):
    """Pieces that a task has saved, by key."""

    def __init__(self, pieces: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
        super().__init__(pieces)
        self.beside = beside
        """What belongs to them in other channels; the first write to each."""


def early_writes(saved: CheckpointTuple, task: str, channel: str) -> Found:
    """Give what a task of a checkpoint has saved before its end."""
    own, pieces = set[str](), dict[str, Any]()
    for id, name, value in saved.pending_writes or []:
        if name == channel and isinstance(value, dict) and value:
            written = cast("dict[str, Any]", value)
            if id == _id(task, next(iter(written))):  # no task's, and no other one's pieces
                own.add(id)
                pieces |= written
    beside: dict[str, Any] = {}
    for id, name, value in saved.pending_writes or []:
        if id in own and name != channel:
            beside.setdefault(name, value)
    return Found(pieces, beside)


def _id(task: str, first: str) -> str:
    """The id that pieces are written under, which is no task's."""
    return str(uuid.uuid5(uuid.UUID(task), first))
