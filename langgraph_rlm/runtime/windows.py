"""Windows: how many tokens a root model takes, as the user, its profile or its own errors say."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage

from langgraph_rlm.log.text import clip
from langgraph_rlm.models.overflow import Overflow
from langgraph_rlm.models.wrapped import Model, model_name, profile_of
from langgraph_rlm.storage.blobs import to_bytes

UNKNOWN_WINDOW = 128_000
"""Tokens that a model without a profile is thought to take."""

BYTES_PER_TOKEN = 4
"""Bytes of UTF-8: about right for English and code, and nearer for Chinese than counting
characters."""

LEAST_CHARS = 500
"""What is left at least of a message that is cut to fit."""


class Windows:
    """The windows of the root models of one graph. What errors say is kept for the process."""

    def __init__(self, given: int | None) -> None:
        self._given = given
        self._learned: dict[str, int] = {}

    def of(self, model: Model) -> int:
        """Give the tokens that a model takes: what the user says, else its profile, else a cautious
        guess; never more than its own errors have said."""
        window = self._given or profile_of(model).get("max_input_tokens") or UNKNOWN_WINDOW
        return min(window, self._learned.get(model_name(model), window))

    def learn(self, model: Model, overflow: Overflow, messages: Sequence[AnyMessage]) -> None:
        """Take note of what was too long for a model.

        Args:
            model: that refused.
            overflow: what it said.
            messages: what it was sent.
        """
        sent = tokens_of(messages)
        window = overflow.window or sent * 3 // 4
        name = model_name(model)
        self._learned[name] = min(self._learned.get(name, window), window)

    def fitted(self, model: Model, messages: list[AnyMessage]) -> list[AnyMessage]:
        """Cut the longest messages to their ends where a conversation fills the window.

        What is cut then fits half of the window: the estimate of tokens may be wrong.
        """
        window = self.of(model)
        if tokens_of(messages) * 10 <= window * 9:
            return messages
        room = window // 2 * BYTES_PER_TOKEN - len(messages[0].text)
        longest = _longest(sorted(len(message.text) for message in messages[1:]), room)
        return [messages[0], *(_cut(message, longest) for message in messages[1:])]


def tokens_of(messages: Sequence[AnyMessage]) -> int:
    """Estimate the tokens of messages."""
    text = "".join(texts_of(messages))
    return (len(text) if text.isascii() else len(to_bytes(text))) // BYTES_PER_TOKEN


def chars_of(messages: Sequence[AnyMessage]) -> int:
    """Count the characters of messages."""
    return sum(map(len, texts_of(messages)))


def texts_of(messages: Sequence[AnyMessage]) -> list[str]:
    """Give the texts of messages. `message.text` takes ten times as long as a look at what most
    have, and a long conversation is counted before each call."""
    contents: list[Any] = [message.content for message in messages]
    for index, content in enumerate(contents):
        if content.__class__ is not str:
            contents[index] = str(messages[index].text)
    return contents


def _longest(lengths: Sequence[int], room: int) -> int:
    """Give the length to which the longest texts are cut, so that all have room.

    Args:
        lengths: of the texts, shortest first.
        room: characters for all of them.
    """
    for index, length in enumerate(lengths):
        share = room // (len(lengths) - index)
        if length > share:
            return max(share, LEAST_CHARS)
        room -= length
    return LEAST_CHARS


def _cut(message: AnyMessage, longest: int) -> AnyMessage:
    text = str(message.text)
    if len(text) <= longest or not isinstance(message.content, str):
        return message
    return message.model_copy(update={"content": clip(text, limit=longest)})
