"""Secrets: keys of this process, and what looks like a key, taken out of what clients are told."""

import os
import re

SHORTEST = 8
"""Characters of a value in the environment that is taken for a secret."""

_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
"""How the name of a variable with a secret ends."""
_KEYS = re.compile(r"\b(sk|pk|key|Bearer)[-_ ][A-Za-z0-9_*.\-]{8,}")


def without_secrets(text: str) -> str:
    """Give a text without anything that looks like a key, or is one of this process."""
    for secret in _secrets():
        text = text.replace(secret, "[secret]")
    return _KEYS.sub("[secret]", text)


def _secrets() -> list[str]:
    """List the secrets of the environment; one variable may hold several, with commas."""
    values = [
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST and name.upper().endswith(_NAMES)
    ]
    parts = [part.strip() for value in values for part in value.split(",")]
    return [part for part in parts if len(part) >= SHORTEST]
