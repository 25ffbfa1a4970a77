"""Tools as functions for code.

`own.py` has the tools that the graph runs, `mcp.py` those among them that an MCP server has, and
`external.py` those that the caller runs.
"""

from langgraph_rlm.tools.arguments import BadArguments, RLMTool
from langgraph_rlm.tools.external import ExternalTool, as_external_tools
from langgraph_rlm.tools.given import as_tools
from langgraph_rlm.tools.names import by_function
from langgraph_rlm.tools.own import OwnTool, ToolCallInfo

__all__ = [
    "BadArguments",
    "ExternalTool",
    "OwnTool",
    "RLMTool",
    "ToolCallInfo",
    "as_external_tools",
    "as_tools",
    "by_function",
]
