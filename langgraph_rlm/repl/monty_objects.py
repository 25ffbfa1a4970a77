"""Monty's objects: those of classes that code itself has defined.

They reach the host as stand-ins, which know the name of the class and the attributes. What an
object is as text only the guest can say, while the object is alive.
"""

from collections.abc import Callable
from typing import Any

import pydantic_monty as monty

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.log.python import FINALS
from langgraph_rlm.repl.base import Value
from langgraph_rlm.storage.json_types import is_array, is_dict

HAS_OBJECTS = "_rlm_has_objects"
"""What the guest asks of the host: whether it would get stand-ins."""

TEXT_OF = "_rlm_text"
"""A function of the guest: the same value, with its text in the place of each object."""

HOST = "_rlm_host_"
"""Begins the name by which a function of `PRELUDE` calls the host's function of its own name."""

VALUE = "_rlm_value"
"""The variable of the guest that a value is put into, to be made text."""

PRELUDE = f"""
def {TEXT_OF}(value, depth=0):
    if depth > 50 or not {HAS_OBJECTS}(value):
        return value
    if isinstance(value, dict):
        pairs = [[{TEXT_OF}(key, depth + 1), {TEXT_OF}(value[key], depth + 1)] for key in value]
        return {{pair[0]: pair[1] for pair in pairs}}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [{TEXT_OF}(item, depth + 1) for item in value]
    try:
        return str(value)
    except Exception:
        return '<' + type(value).__name__ + '>'
""" + "".join(
    f"""
def {name}(*args, **kwargs):
    args = [{TEXT_OF}(value) for value in args]
    kwargs = {{name: {TEXT_OF}(kwargs[name]) for name in kwargs}}
    return {HOST}{name}(*args, **kwargs)
"""
    for name in FINALS
)
"""Source that makes FINAL hand objects over as their `str`."""

INNER = frozenset({HAS_OBJECTS, *(HOST + name for name in FINALS)})
"""Names that the guest's functions in `PRELUDE` call the host by."""

MAX_DEPTH = 100
"""Levels of a value in which the host looks for objects."""

UNSHOWN = "(a value with objects in a set, or as keys of a dict)"
"""What stands for a value that Monty cannot hand over."""


def function_named(name: str) -> Callable[[], None]:
    """Make what Monty takes for a function of the host of that name, and never calls."""

    def stand_in() -> None:
        raise SandboxError(f"{name} is answered by the host, not here.")

    stand_in.__name__ = name
    return stand_in


def output_of(snapshot: monty.MontyComplete) -> Any:
    """Give the value of a cell's last line, with stand-ins for objects."""
    try:
        return snapshot.output
    except TypeError:  # stand-ins have no hash
        return UNSHOWN


def arguments_of(snapshot: monty.FunctionSnapshot) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Give the arguments of a call, with stand-ins for objects; None if they cannot be had."""
    try:
        return snapshot.args, snapshot.kwargs
    except TypeError:
        return None


def has_objects(value: Any) -> bool:
    """Tell whether stand-ins are in what came from a guest."""
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, monty.MontyClassProxy):
            return True
        if is_dict(item):
            todo.extend(item.values())
        elif is_array(item):
            todo.extend(item)
    return False


def without_objects(value: Any, depth: int = 0) -> Value:
    """Put what the host itself can say of an object in the place of each: its class, or its fields.

    Monty's values are a hundred levels deep at the most, as far as anybody looks at them.
    """
    if isinstance(value, monty.MontyClassProxy):
        return _described(value, depth)
    if depth > MAX_DEPTH:
        return value
    if is_dict(value):
        return {key: without_objects(item, depth + 1) for key, item in value.items()}
    if is_array(value):
        return [without_objects(item, depth + 1) for item in value]
    return value


def _described(stand_in: monty.MontyClassProxy, depth: int) -> str:
    if not stand_in.is_dataclass or depth > MAX_DEPTH:
        return f"<{stand_in.name} object>"
    fields = without_objects(stand_in.attributes, depth + 1)
    return f"{stand_in.name}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"
