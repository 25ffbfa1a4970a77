"""Run records: what the chat model keeps of a run beside the graph's state.

A record is in the metadata of the run's checkpoints, and in notes between them. A note is a pending
write of a task that LangGraph does not know, on the newest checkpoint: it says what was shown to a
human before the graph continues. Both are plain JSON, which any checkpointer keeps.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from langchain_core.messages import AIMessageChunk, message_to_dict, messages_from_dict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint

from langgraph_rlm.budget.usage import Usage

KEY = "langgraph_rlm_chat"
"""Key of a record in a checkpoint's metadata, and the channel of a note."""
REPLY = "langgraph_rlm_reply"
"""Key of a direct reply in a checkpoint's metadata."""

COUNTS = ("input_tokens", "output_tokens", "input_token_details", "output_token_details")
"""Keys of a `Usage` that a reply reports."""


@dataclass(frozen=True)
class RunRecord:
    """What is kept of one run."""

    settings: str = ""
    """Digest of its `Settings` in the blob store."""
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    """The run's usage when the newest reply was begun. What is spent since then is that reply's."""
    task: str = ""
    """The LangGraph task that the rounds below belong to."""
    rounds: list[list[str]] = field(default_factory=list[list[str]])
    """What a human was shown: for each time that the task was interrupted, digests of pauses."""
    count: int = 0
    """Rounds of all tasks so far. The record with the most is the newest."""

    def begun(self, usage: Usage | None) -> "RunRecord":
        """Note the usage before another reply begins."""
        spent = usage or {}
        return replace(self, before={key: value for key, value in spent.items() if key in COUNTS})

    def within(self, task: str) -> "RunRecord":
        """Give the record as `task` sees it: without the rounds of another task."""
        return self if self.task == task else replace(self, task=task, rounds=[])

    def shown(self, pauses: Sequence[str]) -> "RunRecord":
        """Add a round of pauses, by their digests."""
        return replace(self, rounds=[*self.rounds, list(pauses)], count=self.count + 1)

    @property
    def metadata(self) -> dict[str, str]:
        """The record as the config of a run takes it."""
        return {KEY: json.dumps(asdict(self))}


def record_of(saved: CheckpointTuple) -> RunRecord:
    """Read the newest record of a run from its newest checkpoint."""
    writes = saved.pending_writes or []
    texts = [saved.metadata.get(KEY), *(value for _, channel, value in writes if channel == KEY)]
    records = [RunRecord(**json.loads(text)) for text in texts if isinstance(text, str)]
    return max(records, key=lambda record: record.count, default=RunRecord())


async def write_note(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig, record: RunRecord
) -> None:
    """Keep a record with one more round, before the human sees it.

    Args:
        saver: the run's.
        config: of the run's newest checkpoint.
        record: with the round.
    """
    task = f"{KEY}-{record.count}"
    await saver.aput_writes(config, [(KEY, record.metadata[KEY])], task)


async def keep_reply(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig, reply: AIMessageChunk
) -> None:
    """Keep the reply to a call that needed no run, for when its node runs again."""
    text = json.dumps(message_to_dict(reply))
    metadata: Any = {"source": "update", "step": -1, "parents": {}, REPLY: text}
    await saver.aput(config, empty_checkpoint(), metadata, {})


async def kept_reply(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig
) -> AIMessageChunk | None:
    """Read what `keep_reply` kept; None where nothing is kept."""
    saved = await saver.aget_tuple(config)
    if saved is None:
        return None
    text = saved.metadata.get(REPLY)
    if not isinstance(text, str):
        return None
    reply: Any = messages_from_dict([json.loads(text)])[0]
    return reply
