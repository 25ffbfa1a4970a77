"""Results of a tool as plain JSON values: what code gets, and what a checkpoint holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.storage.context import Facts
from langgraph_rlm.storage.json_types import is_array, is_dict


class NoResult(Exception):
    """A tool returned what cannot be handed to code."""


class ToolFailed(Exception):
    """A tool said that its call failed. The message is all that code gets to see."""


@dataclass(frozen=True)
class Shown:
    """A picture, a sound or a PDF that a tool gave, for models to see."""

    data: bytes
    facts: Facts
    """What is known of it: `type` (MIME), `bytes`, of a picture `width` and `height`."""
    suffix: str
    """What its name ends with, such as `.png`."""


@dataclass(frozen=True)
class WithShown:
    """A result beside which there is what models can see."""

    shown: tuple[Shown, ...]
    value: Callable[[Sequence[str]], Any]
    """Makes the value for code, from the names that the things got."""


def handled(error: Exception, flag: Any) -> ToolFailed:
    """Say what a tool says of its error, by LangChain's `handle_tool_error` or
    `handle_validation_error`: True for the error's own words, a text, or a function that makes
    the text or content blocks. Raises what the function raises."""
    said: Any = str(error) or type(error).__name__
    if isinstance(flag, str):
        said = flag
    elif callable(flag):
        said = flag(error)
    return ToolFailed(_text_of(said))


def _text_of(said: Any) -> str:
    if not is_array(said):
        return str(said)
    texts = [each.get("text") if is_dict(each) else each for each in said]
    return "\n".join(str(text) for text in texts if text) or "it gave no text"


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
