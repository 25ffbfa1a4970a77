"""Telemetry: what a run tells of its work while it works: to tracers, OpenTelemetry, `logging` and
the server's figures. It decides nothing, and knows no graph and no interpreter.
"""

from typing import TYPE_CHECKING, Any

from langgraph_rlm.lazy import imported

if TYPE_CHECKING:
    from langgraph_rlm.telemetry.instrumentor import RLMInstrumentor

_HOME = {"RLMInstrumentor": "instrumentor"}
__all__ = ["RLMInstrumentor"]


def __getattr__(name: str) -> Any:
    return imported(__name__, _HOME, name)
