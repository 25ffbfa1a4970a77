"""Patterns: RE2, which takes time linear in the text, so that no pattern can stop the host."""

import importlib
from typing import Any


def compile_pattern(pattern: bytes, **settings: int) -> Any:
    """Compile an RE2 pattern for UTF-8 bytes.

    Args:
        pattern: in RE2's syntax: no lookaround and no back-references.
        settings: fields of `re2.Options`, such as `never_nl` and `max_mem`.

    Raises:
        ValueError: RE2 does not take the pattern; the message is its reason.
    """
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    for name, value in settings.items():
        setattr(options, name, value)
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise ValueError(_reason(error)) from None


def _reason(error: Exception) -> str:
    if error.args and isinstance(error.args[0], bytes):
        return error.args[0].decode("utf-8", "replace")
    return str(error)
