"""Names: what tools are called in code, where their own names cannot be. Knows no tool's body."""

import builtins
import re
from collections.abc import Collection, Iterable
from typing import TypeVar

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.tools.arguments import RLMTool

BUILTINS = frozenset(name.casefold() for name in dir(builtins))
"""A tool of such a name would hide what the rest of a cell needs."""

CONTEXTS = re.compile(r"context(_\d+)?")
"""Names of inputs in code."""

T = TypeVar("T", bound=RLMTool)


def by_function(tools: Iterable[T], reserved: Collection[str]) -> dict[str, T]:
    """Map tools by their names in code, and give each one that it can have.

    That is its own where it can be: a Python name that is no builtin, not reserved in the REPL, and
    not that of another tool in other letters. Else `_tool` is added, and a number where that is
    taken too. A tool that has a name in code keeps it.

    Args:
        tools: in the order in which they take their names.
        reserved: names in code that no tool may have.

    Raises:
        ConfigurationError: two tools have the same name of their own.
    """
    found: dict[str, T] = {}
    taken = {name.casefold() for name in reserved} | BUILTINS
    own: set[str] = set()
    for tool in tools:
        if tool.name in own:
            raise ConfigurationError(
                f"Two tools are named {tool.name!r}: rename one of them. MultiServerMCPClient(..., "
                "tool_name_prefix=True) puts the name of its server before that of each tool."
            )
        own.add(tool.name)
        if tool.function.casefold() in taken or CONTEXTS.fullmatch(tool.function):
            tool.function = _free(tool.function, taken)
        found[tool.function] = tool
        taken.add(tool.function.casefold())
    return found


def _free(name: str, taken: Collection[str]) -> str:
    base = f"{name}_tool"
    number = 2
    free = base
    while free.casefold() in taken:
        free = f"{base}_{number}"
        number += 1
    return free
