"""Recursive Language Models as a LangGraph state graph: durable, pausable, sandboxed.

Importing this package loads nothing else: each public name is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph_rlm.blobs import BlobStore
    from langgraph_rlm.context import ContextHandle
    from langgraph_rlm.errors import (
        BlobError,
        ConfigurationError,
        ContextError,
        ReplayDivergedError,
        RLMError,
        SandboxError,
        ThreadBusyError,
    )
    from langgraph_rlm.graph import create_rlm
    from langgraph_rlm.limits import Limits, Usage

_HOME = {
    "create_rlm": "graph",
    "Limits": "limits",
    "Usage": "limits",
    "ContextHandle": "context",
    "BlobStore": "blobs",
    "RLMError": "errors",
    "ConfigurationError": "errors",
    "ContextError": "errors",
    "BlobError": "errors",
    "ReplayDivergedError": "errors",
    "SandboxError": "errors",
    "ThreadBusyError": "errors",
}
__all__ = [
    "BlobError",
    "BlobStore",
    "ConfigurationError",
    "ContextError",
    "ContextHandle",
    "Limits",
    "RLMError",
    "ReplayDivergedError",
    "SandboxError",
    "ThreadBusyError",
    "Usage",
    "create_rlm",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
