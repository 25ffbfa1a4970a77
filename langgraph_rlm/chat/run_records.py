"""Records: what the chat model keeps of a run beside the graph's state: in its checkpoints' metadata, and in notes between them.

A note is a pending write of a task that LangGraph does not know, on the newest checkpoint: it says what was shown to a human before
the graph goes on. Both are plain JSON, in any checkpointer.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

from langchain_core.messages import BaseMessage, message_to_dict, messages_from_dict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple, empty_checkpoint

from langgraph_rlm.budget.usage import Usage

KEY = "langgraph_rlm_chat"
REPLY = "langgraph_rlm_reply"


@dataclass(frozen=True)
class Record:
    """Of one run."""

    settings: str = ""
    """Digest of its `Settings` in the blob store."""
    before: dict[str, Any] = field(default_factory=dict[str, Any])
    """The run's usage when the newest reply was begun: what that reply spent is the rest."""
    task: str = ""
    """The LangGraph task that the rounds below belong to."""
    rounds: list[list[str]] = field(default_factory=list[list[str]])
    """Pauses by their digests, as they were shown to a human, a list for each time that the task was interrupted."""
    count: int = 0
    """Rounds of all tasks: the record with the most is the newest."""

    def begun(self, usage: Usage | None) -> "Record":
        """Another reply begins."""
        counts = ("input_tokens", "output_tokens", "input_token_details", "output_token_details")
        return replace(
            self, before={key: value for key, value in (usage or {}).items() if key in counts}
        )

    def within(self, task: str) -> "Record":
        """The record as `task` sees it: another task's rounds are none of its own."""
        return self if self.task == task else replace(self, task=task, rounds=[])

    def shown(self, pauses: Sequence[str]) -> "Record":
        """One more round."""
        return replace(self, rounds=[*self.rounds, list(pauses)], count=self.count + 1)

    @property
    def metadata(self) -> dict[str, str]:
        """For the config of a run."""
        return {KEY: json.dumps(asdict(self))}


def record_of(saved: CheckpointTuple) -> Record:
    """The newest record of a run."""
    texts = [
        cast(dict[str, Any], saved.metadata).get(KEY),
        *(value for _, channel, value in saved.pending_writes or [] if channel == KEY),
    ]
    records = [Record(**json.loads(text)) for text in texts if isinstance(text, str)]
    return max(records, key=lambda record: record.count, default=Record())


async def keep_reply(
    saver: BaseCheckpointSaver[Any], config: RunnableConfig, reply: BaseMessage
) -> None:
    """Keep the reply to a call that had no run, for a node that runs again."""
    metadata: Any = {
        "source": "update",
        "step": -1,
        "parents": {},
        REPLY: json.dumps(message_to_dict(reply)),
    }
    await saver.aput(config, empty_checkpoint(), metadata, {})


def reply_of(saved: CheckpointTuple) -> BaseMessage | None:
    """What `keep_reply` kept."""
    text = cast(dict[str, Any], saved.metadata).get(REPLY)
    return messages_from_dict([json.loads(text)])[0] if isinstance(text, str) else None


async def note(saver: BaseCheckpointSaver[Any], config: RunnableConfig, record: Record) -> None:
    """Keep a record with one more round before the human sees it."""
    task = f"{KEY}-{record.count}"
    await saver.aput_writes(config, [(KEY, record.metadata[KEY])], task)
