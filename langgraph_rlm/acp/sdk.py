"""SDK: the official SDK of the Agent Client Protocol, or the error that says how to get it."""

from langgraph_rlm.errors import ConfigurationError

try:
    import acp
    from acp import RequestError, schema
except ImportError as error:
    raise ConfigurationError(
        "The Agent Client Protocol needs its SDK: pip install 'langgraph-rlm[acp]'"
    ) from error

__all__ = ["RequestError", "acp", "schema"]
