"""Given: tools of what users give: LangChain tools, those of MCP servers, and plain functions."""

import inspect
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.pregel.mcp_adapters import server_tool
from langgraph_rlm.tools.mcp import McpTool
from langgraph_rlm.tools.own import OwnTool

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool


def as_tools(tools: Sequence["BaseTool | Callable[..., Any]"]) -> list[OwnTool]:
    """Make tools of LangChain tools and plain functions.

    Raises:
        ConfigurationError: one is neither, or needs something that only an agent can inject.
    """
    return [_own_tool(_as_tool(given)) for given in tools]


def _own_tool(tool: "BaseTool") -> OwnTool:
    server = server_tool(tool)
    return OwnTool(tool) if server is None else McpTool(tool, server)


def _as_tool(given: Any) -> "BaseTool":
    from langchain_core.tools import BaseTool, StructuredTool

    if isinstance(given, BaseTool):
        return given
    if not callable(given) or not hasattr(given, "__name__"):
        raise ConfigurationError(
            f"tools must be LangChain tools or named functions, got {given!r}."
        )
    about = inspect.getdoc(given) or f"The function {given.__name__}."
    if inspect.iscoroutinefunction(given):
        return StructuredTool.from_function(coroutine=given, description=about)
    return StructuredTool.from_function(func=given, description=about)
