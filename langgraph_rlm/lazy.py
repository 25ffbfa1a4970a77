"""Lazy: what is made when it is first needed: public names, things that a process has one of,
warnings that are given once."""

import os
import threading
import warnings
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")


def imported(package: str, modules: Mapping[str, str], name: str) -> Any:
    """Import one public name of a package, so that importing the package itself loads nothing.

    Args:
        package: the package's own name.
        modules: the module within it that has each name.
        name: the one that is wanted.

    Raises:
        AttributeError: the package has no such name.
    """
    if name not in modules:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return getattr(import_module(f"{package}.{modules[name]}"), name)


def per_process(make: Callable[[], T]) -> Callable[[], T]:
    """Make something once in each process: a forked child, which has none of its parent's threads
    and locks, makes its own."""
    made: list[T] = []
    lock = threading.Lock()

    def forget() -> None:
        nonlocal lock
        made.clear()
        lock = threading.Lock()  # a thread that is not here may have held the old one

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forget)

    @wraps(make)
    def get() -> T:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get


_warned: set[Hashable] = set()


def warn_once(key: Hashable, message: str) -> None:
    """Give a `RuntimeWarning` the first time that this process has one for `key`."""
    if key not in _warned:
        _warned.add(key)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
