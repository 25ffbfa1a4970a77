"""Repeats: a request that a client sends again under the same `Idempotency-Key`.

It belongs to the run that the first one began, on whatever server: that goes on where it was cut
off, or its answer is given again, and nothing is paid twice. What is kept of a key is the digest of
its request, in a thread of its own.
"""

import hashlib
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint

from langgraph_rlm.chat.calls import Named
from langgraph_rlm.chat.ids import derived_run_id, thread_of
from langgraph_rlm.history.homes import RECORD
from langgraph_rlm.server.answers import Asked
from langgraph_rlm.server.errors import Refused

CHANNEL = "repeat"
CHECKPOINT = "1ef00000-0000-6000-8000-000000000000"
"""The one checkpoint of a key."""
LONGEST = 255
"""Characters of a key."""


def checked_repeat(key: str) -> str:
    """Give a client's key.

    Raises:
        Refused: it is too long, or has what is no plain character.
    """
    if len(key) > LONGEST or not (key.isascii() and key.isprintable()):
        message = f"An Idempotency-Key has at most {LONGEST} characters, all of plain ASCII."
        raise Refused(400, message, code="invalid_value")
    return key


class Repeats:
    """The requests of one database that may be sent again."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self._saver = saver

    async def check(self, asked: Asked, raw: bytes) -> None:
        """Keep what is asked under a key, the first time.

        Raises:
            Refused: something else was asked under it before.
        """
        config = _config(asked.owner, asked.repeat)
        digest = hashlib.sha256(asked.door.encode() + b"\0" + raw).hexdigest()
        saved = await self._saver.aget_tuple(config)
        if saved is None:
            await self._keep(config, digest)
            return
        if saved.checkpoint["channel_values"].get(CHANNEL) != digest:
            message = (
                "Another request was sent with this Idempotency-Key. A request that is sent again "
                "has to be the same, byte for byte; a new one needs a new key."
            )
            raise Refused(422, message, code="idempotency_key_reused")

    async def _keep(self, config: RunnableConfig, digest: str) -> None:
        checkpoint = empty_checkpoint()
        checkpoint["id"] = CHECKPOINT
        checkpoint["channel_values"] = {CHANNEL: digest}
        checkpoint["channel_versions"] = {CHANNEL: "1"}
        metadata: Any = {"source": "update", "step": -1, "parents": {}, RECORD: "repeat"}
        await self._saver.aput(config, checkpoint, metadata, {CHANNEL: "1"})


def run_of(repeat: str) -> Named | None:
    """Name the run that a request begins; None where its client gave no key."""
    if not repeat:
        return None
    return Named(derived_run_id("repeat", repeat), is_kept=True)


def response_of(repeat: str) -> str | None:
    """Give the id of the response that a request makes; None where its client gave no key."""
    if not repeat:
        return None
    return f"resp_{hashlib.sha256(f'repeat {repeat}'.encode()).hexdigest()[:32]}"


def _config(owner: str, repeat: str) -> RunnableConfig:
    thread = thread_of(owner, f"idempotency-key {repeat}")
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
