"""Results of a tool, whatever its type, as plain JSON values: what code gets, and what a checkpoint holds."""

from collections.abc import Sequence
from typing import Any, cast


class NoResult(Exception):
    """A tool returned what cannot be handed to code."""


def plain_result(value: Any) -> Any:
    """None, bool, int, float, str, list or dict.

    Pydantic models and dataclasses become dicts, messages their content (a list of messages a list of contents), tuples and
    sets lists, dates and paths text; other objects their `str`.

    Raises:
        NoResult: a LangGraph `Command`: code has no graph that could apply it.
    """
    from langchain_core.messages import BaseMessage
    from langgraph.types import Command
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if isinstance(value, Command):
        raise NoResult(
            "The tool returned a LangGraph Command, which only a ToolNode can apply. Return a value."
        )
    if isinstance(value, BaseMessage):
        return cast(Any, value.content)
    items: Sequence[Any] = cast(Any, value) if isinstance(value, list | tuple) else ()
    if any(isinstance(item, BaseMessage | Command) for item in items):
        return [plain_result(item) for item in items]
    try:
        return to_jsonable_python(value, serialize_unknown=True, fallback=str)
    except (PydanticSerializationError, UnicodeDecodeError, ValueError):
        return str(cast(object, value))
