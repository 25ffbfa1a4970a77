"""Shapes: what a loosely typed value of LangChain is, asked so that type checkers learn it."""

from collections.abc import Mapping, Sequence
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
