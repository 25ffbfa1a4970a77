"""MCP adapters: what `langchain-mcp-adapters` keeps of a server's tool, and tools made anew of it.

The package gives LangChain tools whose bodies are closures, and says nothing else of the tool that
the server has: not even the schema of its results. What the closures hold is read here alone;
`tests/test_mcp_tools.py` has a test for it. Connects to nobody.
"""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_core.tools import BaseTool

MODULE = "langchain_mcp_adapters.tools"
"""Where the bodies of its tools are defined."""

CALLBACKS = "langchain_mcp_adapters.callbacks"

HELD = ("tool", "session", "connection", "callbacks", "tool_interceptors", "server_name")
"""What the closure of a body holds."""

CALL_TIME = timedelta(minutes=10)
"""How long a call may take where the user has set no `read_timeout_seconds`. The SDK waits without
end for a server over HTTP that died in the middle of a call."""

Intercept = Callable[[Any, Callable[[Any], Awaitable[Any]]], Awaitable[Any]]
"""An interceptor of the package's: takes the request of a call, and what handles it."""

OnElicitation = Callable[[Any, Any, Any], Awaitable[Any]]
"""A callback of the package's: takes the session's context, what is asked, and which tool asks."""


@dataclass(frozen=True)
class ServerTool:
    """A tool as its MCP server tells of it, and the way there."""

    server: str
    """The server's name, as the user gave it; empty where there is none."""
    output_schema: Any
    """JSON schema of `structuredContent`. The server's own words: nothing of it is checked."""
    _held: dict[str, Any]

    @property
    def takes_elicitation(self) -> bool:
        """Whether nobody answers yet what the server asks its user in the middle of a call, and
        somebody could: the session is made for each call."""
        if self._held["connection"] is None:
            return False
        given = _session_options(self._held["connection"])
        callbacks = self._held["callbacks"]
        is_answered = getattr(callbacks, "on_elicitation", None) or "elicitation_callback" in given
        return not is_answered

    def body(self, outer: Intercept, inner: Intercept, on_elicitation: OnElicitation | None) -> Any:
        """Make the body of the same tool, with an interceptor around those that it has, and one
        within.

        Args:
            outer: gets each result as the server gave it, failed ones too.
            inner: makes each call.
            on_elicitation: answers what the server asks its user; None to leave that as it is.
        """
        adapters: Any = import_module(MODULE)  # not there where the types are checked
        held = self._held
        connection: Any = held["connection"]
        callbacks: Any = held["callbacks"]
        if connection is not None:  # the package writes into `session_kwargs`, for each call
            given = {"read_timeout_seconds": CALL_TIME, **_session_options(connection)}
            connection = {**connection, "session_kwargs": given}
        if on_elicitation is not None:
            known: Any = callbacks or import_module(CALLBACKS).Callbacks()
            callbacks = replace(known, on_elicitation=on_elicitation)
        made = adapters.convert_mcp_tool_to_langchain_tool(
            held["session"],
            held["tool"],
            connection=connection,
            callbacks=callbacks,
            tool_interceptors=[outer, *(held["tool_interceptors"] or ()), inner],
            server_name=held["server_name"],
        )
        return made.coroutine


def _session_options(connection: Any) -> dict[str, Any]:
    """Give a copy of what a user gives to each session."""
    return dict(connection.get("session_kwargs") or {})


def server_tool(tool: "BaseTool") -> ServerTool | None:
    """Give what a LangChain tool holds of an MCP server's; None for any other tool."""
    body: Any = getattr(tool, "coroutine", None)
    if getattr(body, "__module__", "") != MODULE:
        return None
    held = inspect.getclosurevars(body).nonlocals
    if not held.keys() >= {*HELD}:
        return None
    schema: Any = getattr(held["tool"], "outputSchema", None)
    return ServerTool(
        server=str(held["server_name"] or ""),
        output_schema=schema,
        _held={name: held[name] for name in HELD},
    )
