"""External tools: given as schemas, and run by the caller.

A call pauses with its name and arguments; the answer to the pause is its result.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.tools.arguments import RLMTool, checked_schema

External = Mapping[str, Any] | type | BaseTool | Callable[..., Any]
"""What a user may give as an external tool.

An OpenAI or Anthropic function dict, a JSON schema with a title, a pydantic or TypedDict class, a
LangChain tool, or a function.
"""

MOST_OF_A_NAME = 64
PROVIDERS_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI takes for the name of a tool; others take no less."""


class ExternalTool(RLMTool):
    """A tool of which only the schema is known here."""

    is_external = True

    @property
    def native_name(self) -> str:
        """The name under which the root model calls it without code. Providers take few characters
        in it."""
        return self.name if PROVIDERS_NAME.fullmatch(self.name) else self.function[:MOST_OF_A_NAME]

    def as_openai(self) -> dict[str, Any]:
        """Write the tool in the form that `bind_tools` takes."""
        function = {
            "name": self.native_name,
            "description": self.description,
            "parameters": dict(self.schema),
        }
        return {"type": "function", "function": function}


def as_external_tools(given: Sequence[Any]) -> list[ExternalTool]:
    """Make tools of schemas of any kind that LangChain knows. A body is never run.

    Raises:
        ConfigurationError: one is not a schema, or has no name.
    """
    return [_as_external(each) for each in given]


def _as_external(given: Any) -> ExternalTool:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    nested = _nested(given)
    try:
        converted = convert_to_openai_tool(given if nested is None else nested)
        function: dict[str, Any] = converted["function"]
        name: str = function["name"]
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            "external_tools must be OpenAI functions, JSON schemas with a title, "
            f"pydantic classes or LangChain tools, got {given!r}: {error}"
        ) from error
    parameters: Any = function.get("parameters") or {"type": "object", "properties": {}}
    description = function.get("description") or ""
    return ExternalTool(name, description, checked_schema(name, parameters))


def _nested(given: Any) -> dict[str, Any] | None:
    """Bring the flat function of OpenAI's Responses API into the form of its Chat Completions API.

    None for anything else.
    """
    if not isinstance(given, Mapping):
        return None
    function: dict[str, Any] = {**given}
    if function.get("type") != "function" or "function" in function:
        return None
    del function["type"]
    return {"type": "function", "function": function}
