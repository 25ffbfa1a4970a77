"""ACP: an RLM as an agent of the Agent Client Protocol, for editors and evaluation harnesses.

`serve` speaks the protocol on stdin and stdout; `create_agent` gives the agent for a connection of
one's own. Importing this package loads nothing: each public name is imported when it is first used.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.acp.agent import RLMAgent
    from langgraph_rlm.acp.serving import create_agent, serve

_HOME = {"RLMAgent": "agent", "create_agent": "serving", "serve": "serving"}
__all__ = ["RLMAgent", "create_agent", "serve"]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)


def __dir__() -> list[str]:
    return __all__
