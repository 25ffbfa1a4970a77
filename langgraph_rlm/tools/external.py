"""External tools: given as schemas, run by the caller. A call pauses with its name and arguments; the answer to the pause is its result."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from langchain_core.tools import BaseTool

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.tools.arguments import RLMTool, checked_schema

External = Mapping[str, Any] | type | BaseTool | Callable[..., Any]
"""An OpenAI or Anthropic function dict, a JSON schema with a title, a pydantic or TypedDict class, a LangChain tool, a function."""


class ExternalTool(RLMTool):
    """A tool of which only the schema is known here."""

    is_external = True
    alias: str | None = None
    """Its name in code, where its own is taken there."""

    @property
    def function(self) -> str:
        return self.alias or super().function

    def as_openai(self) -> dict[str, Any]:
        """As `bind_tools` takes it."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": dict(self.schema),
            },
        }


def as_external_tools(given: Sequence[Any]) -> list[ExternalTool]:
    """Tools from schemas of any kind that LangChain knows. A body, where there is one, is never run.

    Raises:
        ConfigurationError: it is no schema, or has no name.
    """
    return [_as_external(each) for each in given]


def _as_external(given: Any) -> ExternalTool:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    try:
        function = cast(Mapping[str, Any], convert_to_openai_tool(_nested(given))["function"])
        name, description = (
            cast(str, function["name"]),
            cast(str, function.get("description") or ""),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigurationError(
            "external_tools must be OpenAI functions, JSON schemas with a title, pydantic classes or LangChain tools, "
            f"got {given!r}: {error}"
        ) from error
    return ExternalTool(
        name,
        description,
        checked_schema(name, function.get("parameters") or {"type": "object", "properties": {}}),
    )


def _nested(given: object) -> Any:
    """The flat function of OpenAI's Responses API, in the form of its Chat Completions API."""
    function = (
        dict(cast(Mapping[str, Any], given)) if isinstance(given, Mapping) else dict[str, Any]()
    )
    if function.get("type") != "function" or "function" in function:
        return cast(object, given)
    return {
        "type": "function",
        "function": {key: value for key, value in function.items() if key != "type"},
    }
