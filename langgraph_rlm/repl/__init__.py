"""The REPL: one contract (`base`), its backends, and the cache and replay above them."""

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.repl.base import Backend


def open_backend(sandbox: str) -> Backend:
    """The backend of that name; nothing starts before its first session. Raises `ConfigurationError`."""
    if sandbox == "monty":
        from langgraph_rlm.repl.monty import MontyBackend

        return MontyBackend()
    if sandbox == "local":
        from langgraph_rlm.repl.local import LocalBackend

        return LocalBackend()
    raise ConfigurationError(
        f"sandbox={sandbox!r} is not known: 'monty' (isolated, the default) or 'local' (your Python, no isolation)."
    )
