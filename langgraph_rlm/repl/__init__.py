"""The REPL: its contract (`base`), its backends, and the interpreters and replay above them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.repl.base import Backend


@dataclass(frozen=True)
class Sandbox:
    """One sandbox that comes with this package. Its module is imported when it is opened."""

    about: str
    """A few words for people."""
    module: str
    backend: str
    """The name of the `Backend` class in the module."""


SANDBOXES: Mapping[str, Sandbox] = {
    "python": Sandbox(
        "your Python, jailed by the Linux kernel", "langgraph_rlm.repl.python", "PythonBackend"
    ),
    "monty": Sandbox(
        "a safe subset of Python, anywhere", "langgraph_rlm.repl.monty", "MontyBackend"
    ),
    "local": Sandbox("your Python, NO isolation", "langgraph_rlm.repl.local", "LocalBackend"),
}
"""Sandboxes by the name that users give.

A new one needs nothing but a row here and a `Backend` that passes `repl_contract`.
"""

AUTO = "auto"
"""The name for `python` where this machine can have it, else `monty`; see `sandboxes.py`."""

DEFAULT_SANDBOX = AUTO

NAMES = (AUTO, *SANDBOXES)
"""What users may give as the name of a sandbox."""


def open_backend(sandbox: str | Backend) -> Backend:
    """Open a backend by its name, or return the user's own. No worker starts before a session.

    Raises:
        ConfigurationError: it is neither a known name nor a `Backend`.
    """
    if isinstance(sandbox, str):
        return _open_known(sandbox)
    # users give anything, whatever the annotation says
    if isinstance(sandbox, Backend):  # pyright: ignore[reportUnnecessaryIsInstance]
        return sandbox
    raise ConfigurationError(f"sandbox={sandbox!r} must be {_choices()}, or a Backend.")


def _open_known(name: str) -> Backend:
    if name not in SANDBOXES:
        raise ConfigurationError(f"sandbox={name!r} is not known: {_choices()}.")
    found = SANDBOXES[name]
    return getattr(import_module(found.module), found.backend)()


def _choices() -> str:
    known = ", ".join(f"{name!r} ({found.about})" for name, found in SANDBOXES.items())
    return f"{AUTO!r} (the first of these that this machine can have), {known}"
