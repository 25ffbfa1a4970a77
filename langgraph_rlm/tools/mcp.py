"""Tools of MCP servers, as `langchain-mcp-adapters` makes them. Whatever a server says is hostile.

A server writes names, descriptions, schemas and results, and code of a model calls it. So its words
stand in the prompt on one short line, and a call gives the value that the server says it gives, or
raises.
"""

import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.errors import shown as shown_value
from langgraph_rlm.log.text import clip
from langgraph_rlm.pregel.mcp_adapters import ServerTool
from langgraph_rlm.storage.context import encodable
from langgraph_rlm.tools.annotations import Schema, annotation
from langgraph_rlm.tools.arguments import checked_schema
from langgraph_rlm.tools.elicitation import on_elicitation, until_asked
from langgraph_rlm.tools.mcp_results import WRAPPED, is_wrapped, value_of
from langgraph_rlm.tools.own import OwnTool
from langgraph_rlm.tools.results import ToolFailed, WithShown, plain_result

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

LOG = logging.getLogger("langgraph_rlm.tools")

Handler = Callable[[Any], Awaitable[Any]]
"""Makes a call of the server, by its request."""

CONNECTION_CLOSED, REQUEST_TIMEOUT = -32000, 408
"""Codes of the SDK's own errors, which no server sends."""

MOST_SHOWN = 200
"""Characters of a text that tracers get to see."""

MOST_OF_A_DESCRIPTION = 1_000
"""Characters of a server's description of a tool that the prompt shows."""

MOST_OF_A_NAME = 64
"""Characters of a tool's name in code."""

MOST_OF_AN_ERROR = 500
"""Characters of what is told of a lost connection."""


class McpTool(OwnTool):
    """One tool of an MCP server."""

    def __init__(self, tool: "BaseTool", server: ServerTool) -> None:
        super().__init__(tool)
        self._server = server
        self._output = _output_schema(server)
        self.function = self.plain_function[:MOST_OF_A_NAME]
        self.description = one_line(tool.description) or f"a tool of the server {server.server}"
        asked = on_elicitation if server.takes_elicitation else None
        self._raising = self._raising.model_copy(
            update={"coroutine": server.body(self._valued, _asking, asked)}
        )

    @property
    def returns(self) -> str:
        """What code gets, by the tool's output schema; empty where it has none."""
        if self._output is None:
            return ""
        schema: Schema = self._output
        if is_wrapped(schema):
            schema = schema["properties"][WRAPPED]
        return annotation(schema, self._output)

    def _value(self, out: Any) -> Any:
        received = getattr(out, "artifact", None)
        return received.value if isinstance(received, Received) else plain_result(out)

    async def _valued(self, request: Any, handler: Handler) -> Any:
        """Take the value out of a result, around all interceptors of the user's."""
        from langchain_core.messages import ToolMessage

        try:
            result = await handler(request)
        except Exception as error:
            if not is_of_connection(error):
                raise
            raise ToolFailed(_told(error, self._server.server)) from error
        if not hasattr(result, "structuredContent"):
            return result  # an interceptor of the user's has made something else of it
        value = value_of(result, self._output)
        # the message is what tracers get to see
        return ToolMessage(_shown(value), tool_call_id="", artifact=Received(value))


@dataclass(frozen=True)
class Received:
    """The value of a result, on its way through LangChain's tool."""

    value: Any


async def _asking(request: Any, handler: Handler) -> Any:
    """Make one call of the server, within all interceptors of the user's."""
    return await until_asked(lambda: handler(request))


def one_line(text: str) -> str:
    """Write what a server says as one short line, which cannot look like a part of the prompt: no
    line of it begins there, and no code."""
    plain = re.sub(r"[\s\x00-\x1f\x7f-\x9f\u2028\u2029`]+", " ", encodable(text)).strip()
    return clip(plain, limit=MOST_OF_A_DESCRIPTION).replace("\n", " ")


def _output_schema(server: ServerTool) -> dict[str, Any] | None:
    """Give the output schema of a tool, if it is one: a wrong one says nothing."""
    schema = server.output_schema
    if schema is None:
        return None
    try:
        return {**checked_schema("output", schema)}
    except ConfigurationError:
        LOG.info("A tool of the MCP server %s has no valid output schema.", server.server)
        return None


def _shown(value: Any) -> str:
    text = value.value([""] * len(value.shown)) if isinstance(value, WithShown) else value
    return shown_value(text) if not isinstance(text, str) else text[:MOST_SHOWN]


# Connections


def is_of_connection(error: Exception) -> bool:
    """Tell whether an error is of the way to a server, or its word that it cannot serve a call."""
    import anyio
    import httpx
    from mcp import McpError  # pyright: ignore

    of_connection: Any = (
        *(McpError, ExceptionGroup, OSError, TimeoutError),
        *(httpx.HTTPError, anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream),
    )
    return isinstance(error, of_connection)


def _told(error: Exception, server: str) -> str:
    """Say what has failed: a server's own words, or that the connection was lost."""
    cause: Any = _first(error)
    code = getattr(getattr(cause, "error", None), "code", None)
    said = clip(f"{type(cause).__name__}: {cause}", limit=MOST_OF_AN_ERROR)
    if code is not None and code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
        return f"the MCP server {server!r} refuses the call: {cause}"
    return (
        f"the connection to the MCP server {server!r} failed ({said}). Whether the call took "
        "effect is not known. The next call connects anew."
    )


def _first(error: Any) -> Any:
    """Give the first error within a group of errors, which a lost connection is told as."""
    while isinstance(error, BaseExceptionGroup):
        error = cast(Any, error).exceptions[0]
    return error
