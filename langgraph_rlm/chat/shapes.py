"""Shapes: what a loosely typed value of LangChain is, asked so that type checkers learn it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from langchain_core.messages import BaseMessage


def is_mapping(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Tell whether a value is a mapping, such as a JSON object."""
    return isinstance(value, Mapping)


def is_list(value: object) -> TypeGuard[Sequence[Any]]:
    """Tell whether a value is a list or a tuple."""
    return isinstance(value, list | tuple)


def blocks_of(message: BaseMessage) -> Sequence[Any]:
    """Give the blocks of a message, texts and dicts. Content that is one text is one block."""
    content: Any = message.content
    if isinstance(content, str):
        return [content]
    return content


def texts_of(message: BaseMessage) -> Iterator[str]:
    """Give the texts of a message where they are.

    `message.text` would copy them, and 100 MB take a third of a second.
    """
    for block in blocks_of(message):
        text = block if isinstance(block, str) else block.get("text")
        if isinstance(text, str):
            yield text


def chars_in(messages: Sequence[BaseMessage]) -> int:
    """Count the characters of the texts in messages."""
    return sum(len(text) for message in messages for text in texts_of(message))
