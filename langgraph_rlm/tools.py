"""Tools as code sees them: one function each, positional and keyword arguments checked against the tool's schema."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, ValidationError

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log import plain

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


class BadArguments(Exception):
    """Code called a tool with arguments that do not fit its schema."""


class RLMTool:
    """One LangChain tool, callable from code."""

    def __init__(self, tool: "BaseTool") -> None:
        self._tool = tool
        self.name = tool.name
        self.description = tool.description
        self._parameters = list(tool.args)

    @property
    def signature(self) -> str:
        """`name(a: type, b: type)`, as the prompt shows it."""
        shown = [f"{name}: {schema.get('type', 'any')}" for name, schema in self._tool.args.items()]
        return f"{self.name}({', '.join(shown)})"

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by name, as plain JSON.

        Raises:
            BadArguments: too many, unknown, missing, or of a type that the schema refuses.
        """
        if len(args) > len(self._parameters):
            raise BadArguments(f"{self.signature} takes {len(self._parameters)} arguments, got {len(args)}.")
        given = dict(zip(self._parameters, args, strict=False))
        twice, unknown = given.keys() & kwargs.keys(), kwargs.keys() - set(self._parameters)
        if twice or unknown:
            raise BadArguments(f"{self.signature} got {'two values for' if twice else 'unknown'} {', '.join(sorted(twice or unknown))}.")
        given.update(kwargs)
        self._check(given)
        return plain(given)

    def _check(self, given: Mapping[str, Any]) -> None:
        schema = self._tool.get_input_schema()
        if not (inspect.isclass(schema) and issubclass(schema, BaseModel)):
            return
        try:
            schema.model_validate(given)
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise BadArguments(f"{self.signature}: {problems}.") from None

    async def run(self, arguments: Mapping[str, Any]) -> Any:
        """Run the tool and give its result as plain JSON. Raises whatever the tool raises."""
        return plain(await self._tool.ainvoke(dict(arguments)))


def as_tools(tools: Sequence["BaseTool | Callable[..., Any]"], reserved: frozenset[str]) -> dict[str, RLMTool]:
    """LangChain tools and plain functions by name.

    Raises:
        ConfigurationError: a name is reserved in the REPL, is no identifier, or is used twice.
    """
    found: dict[str, RLMTool] = {}
    for given in tools:
        tool = _as_tool(given)
        if tool.name in reserved or tool.name in found or not tool.name.isidentifier():
            raise ConfigurationError(
                f"Tool {tool.name!r} cannot be a function in the REPL: the name is taken or is no Python identifier. "
                f"Rename it; taken are {', '.join(sorted(reserved | found.keys()))}."
            )
        found[tool.name] = RLMTool(tool)
    return found


def _as_tool(given: "BaseTool | Callable[..., Any]") -> "BaseTool":
    from langchain_core.tools import BaseTool, StructuredTool

    if isinstance(given, BaseTool):
        return given
    if not callable(cast(object, given)):
        raise ConfigurationError(f"tools must be LangChain tools or functions, got {given!r}.")
    if inspect.iscoroutinefunction(given):
        return StructuredTool.from_function(coroutine=given, infer_schema=True)
    return StructuredTool.from_function(func=given, infer_schema=True)
