"""MCP: an RLM's questions as tools of a Model Context Protocol server (`docs/mcp.md`)."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server import MCPServer

WAIT_SECONDS = 45.0
"""Seconds that a call waits for an answer: less than the minute after which many clients give up a
call that does not end."""
ABANDONED_SECONDS = 600.0
"""Seconds after which a run that nobody waits for is stopped. It can be resumed."""
MOST_RUNS = 128
"""Questions that are worked on at once."""


def check_sdk() -> None:
    """Look whether the official SDK is there.

    Raises:
        ConfigurationError: it is not.
    """
    try:
        import_module("mcp")
    except ImportError as error:
        raise ConfigurationError(
            "The MCP server needs the official SDK: pip install 'langgraph-rlm[mcp]'"
        ) from error


def create_server(
    graph: Any,
    *,
    folders: "Sequence[str | Path]" = (),
    agent_may_approve: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    abandoned_seconds: float = ABANDONED_SECONDS,
    max_runs: int = MOST_RUNS,
    name: str = "langgraph-rlm",
) -> "MCPServer[Any]":
    """Make an MCP server whose tools ask a graph.

    Give the server to a transport of the SDK: `server.run()` for stdio, or mount
    `server.streamable_http_app()`. Threads belong to the user that the application around it puts
    into the request's scope; where there is none, everybody who knows a thread's id may use it.

    Args:
        graph: an RLM, or a graph with RLMs as nodes, with a checkpointer.
        folders: the only ones whose files clients may ask about; none leaves them texts.
        agent_may_approve: whether the tool `resume` takes answers to calls that wait. Without it
            only people answer: by the client's elicitation, or in another process.
        wait_seconds: how long a call waits for an answer where it does not say.
        abandoned_seconds: after how long a run that nobody waits for is stopped.
        max_runs: questions that are worked on at once; further ones are refused.
        name: of the server, which clients show.

    Raises:
        ConfigurationError: the graph has no checkpointer, or the extra `mcp` is missing.
        ContextError: one of the folders is not there.
    """
    check_sdk()
    from contextlib import nullcontext

    from langgraph_rlm.history.homes import saver_of
    from langgraph_rlm.hosting.sources import OneGraph
    from langgraph_rlm.mcp.folders import Folders
    from langgraph_rlm.mcp.server import Serving, server_of
    from langgraph_rlm.storage.allowed import Allowed

    saver_of(graph)
    serving = Serving(
        folders=Folders(Allowed(folders)),
        agent_may_approve=agent_may_approve,
        wait_seconds=wait_seconds,
        abandoned_seconds=abandoned_seconds,
        max_runs=max_runs,
        name=name,
    )
    return server_of(lambda: nullcontext(OneGraph(graph)), serving)
