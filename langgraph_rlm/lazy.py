"""Lazy: a package's public names, each imported when it is first used, so that importing the package loads nothing."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def imported(package: str, homes: Mapping[str, str], name: str) -> Any:
    """One public name. Raises `AttributeError`: it is none.

    Args:
        package: the package's own name.
        homes: the module within it that has each name.
        name: the one wanted.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{homes[name]}"), name)
