"""Results of a tool as plain JSON values: what code gets, and what a checkpoint holds."""

from collections.abc import Sequence
from typing import Any

from langgraph_rlm.storage.json_types import is_array


class NoResult(Exception):
    """A tool returned what cannot be handed to code."""


def plain_result(value: Any) -> Any:
    """Make a plain JSON value (None, bool, int, float, str, list or dict) of a tool's result.

    Pydantic models and dataclasses become dicts. Messages become their content, and a list of
    messages a list of contents. Tuples and sets become lists, dates and paths text, and other
    objects their `str`.

    Raises:
        NoResult: it is a LangGraph `Command`: code has no graph that could apply it.
    """
    from langchain_core.messages import BaseMessage
    from langgraph.types import Command
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    if isinstance(value, Command):
        raise NoResult(
            "The tool returned a LangGraph Command, which only a ToolNode can apply. "
            "Return a value."
        )
    if isinstance(value, BaseMessage):
        content: Any = value.content
        return content
    items: Sequence[Any] = value if is_array(value) else ()
    if any(isinstance(item, BaseMessage | Command) for item in items):
        return [plain_result(item) for item in items]
    try:
        return to_jsonable_python(value, serialize_unknown=True, fallback=str)
    except (PydanticSerializationError, UnicodeDecodeError, ValueError):
        return str(value)
