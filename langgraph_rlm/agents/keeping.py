"""Keeping: puts long texts of an agent's messages into the blob store, and notes in their place.

Blocks. Changes no message that it is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    RemoveMessage,
    ToolMessage,
)
from langgraph.types import Command

from langgraph_rlm.agents.notes import (
    histories_in,
    history_note,
    message_note,
    name_of,
    result_note,
)
from langgraph_rlm.agents.state import Contexts
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.json_types import is_array, is_dict

M = TypeVar("M", bound=BaseMessage)


@dataclass
class Keeper:
    """Puts texts away, and notes the contexts that come of them."""

    blobs: BlobStore
    most: int
    """Characters of a message that stay as they are."""
    contexts: Contexts = field(default_factory=Contexts)
    """Those that were made so far."""

    def result(self, given: Any) -> Any:
        """Give a tool's result as the agent gets it: a `ToolMessage` or a `Command`, whose long
        texts are notes."""
        if isinstance(given, ToolMessage):
            message = self.shortened(given)
            return given if message is given else self._command(message)
        if isinstance(given, Command):
            return self._shortened_command(cast("Command[Any]", given))
        return given

    def shortened(self, message: M) -> M:
        """Give a message with a note in the place of a text that is too long."""
        text = message.text
        if len(text) <= self.most or not isinstance(message, ToolMessage | HumanMessage):
            return message
        kind, note = "message", message_note
        if isinstance(message, ToolMessage):
            kind, note = message.name or "result", result_note
        handle = ingest(text, self.blobs)
        name = name_of(kind, handle.digest)
        self.contexts[name] = {**handle.as_dict(), "name": name}
        return message.model_copy(update={"content": _in_place(message, note(name, handle, text))})

    def history(self, moved: Sequence[AnyMessage]) -> list[BaseMessage]:
        """Keep messages as one context, and give the update that puts a note in their place."""
        handle = ingest([*moved], self.blobs)
        name = name_of("history", handle.digest)
        self.contexts[name] = {**handle.as_dict(), "name": name}
        note = history_note(name, moved, histories_in(moved))
        return [note, *(RemoveMessage(id=cast(str, each.id)) for each in moved[1:])]

    def _shortened_command(self, command: "Command[Any]") -> Any:
        update: Any = command.update
        messages = update.get("messages") if is_dict(update) else None
        if not is_array(messages):
            return command
        given = cast("list[BaseMessage]", messages)
        short = [self.shortened(each) if isinstance(each, ToolMessage) else each for each in given]
        if all(one is other for one, other in zip(short, given, strict=True)):
            return command
        changed = {**update, "messages": short, "rlm_contexts": self.contexts}
        return replace(command, update=changed)

    def _command(self, message: BaseMessage) -> "Command[Any]":
        return Command(update={"messages": [message], "rlm_contexts": self.contexts})


def older_of(messages: Sequence[AnyMessage], most: int) -> Sequence[AnyMessage]:
    """Give the older messages of a conversation that is too long; empty where it is not.

    The newer ones have at most a quarter of `most` characters. They begin with no tool's result:
    models want it behind the call that it is of.

    Args:
        messages: all of them.
        most: characters of all together.
    """
    sizes = [size_of(message) for message in messages]
    if sum(sizes) <= most:
        return []
    first, left = len(messages), most // 4
    while first and sizes[first - 1] <= left:
        first -= 1
        left -= sizes[first]
    while first < len(messages) and isinstance(messages[first], ToolMessage):
        first += 1
    if first == len(messages):  # the newest step is kept whole, whatever its size
        first = _newest_step(messages)
    return messages[:first] if first > 1 else []


def size_of(message: BaseMessage) -> int:
    """Count the characters of a message: its text, and what it gives tools."""
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    return len(message.text) + sum(len(str(call["args"])) for call in calls)


def _newest_step(messages: Sequence[AnyMessage]) -> int:
    """Where the newest message is that is no tool's result."""
    numbers = [n for n, message in enumerate(messages) if not isinstance(message, ToolMessage)]
    return numbers[-1] if numbers else 0


def _in_place(message: BaseMessage, note: str) -> Any:
    """Give a message's content with a note instead of its text; pictures and the like stay."""
    if isinstance(message.content, str):
        return note
    others = [
        block
        for block in message.content
        if isinstance(block, dict) and block.get("type") != "text"
    ]
    return [{"type": "text", "text": note}, *others]
