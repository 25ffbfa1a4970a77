"""Several: contexts that were given together, each under a name of the user's. Stores none."""

import builtins
import keyword
import re
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any, TypeGuard

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.files import File
from langgraph_rlm.storage.frames import is_frame
from langgraph_rlm.storage.json_types import is_array, is_dict
from langgraph_rlm.storage.rows import is_langchain

OWN = re.compile(r"context(_\d+)?|answer|history")
"""Names that code knows already."""


def is_several(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether a dict holds contexts: one of its values is more than JSON, such as a Path.

    A dict of JSON values alone is one context, of the kind `dict`.
    """
    return is_dict(value) and any(_is_more_than_json(item) for item in value.values())


def _is_more_than_json(value: object) -> bool:
    if isinstance(value, (PathLike, File, ContextHandle, bytes, bytearray)):
        return True
    if is_array(value):
        return bool(value) and _is_more_than_json(value[0])
    return is_langchain(value) or is_frame(value) or hasattr(value, "read")


def names_in_code(names: Iterable[object]) -> list[str]:
    """Make names that code can have of what a user calls contexts, in their order.

    `"2024 sales"` becomes `_2024_sales`. A name that Python or code has already, such as `list` or
    `context`, gets a `_` at its end.

    Raises:
        ContextError: one is not a text, is empty, or two come out the same.
    """
    found: dict[str, object] = {}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ContextError(
                f"A context is named {name!r}: names of contexts must be texts that are not empty."
            )
        made = _identifier(name)
        if made in found:
            raise ContextError(
                f"The contexts {found[made]!r} and {name!r} would both be {made!r} in code: "
                "rename one of them."
            )
        found[made] = name
    return [*found]


def _identifier(name: str) -> str:
    made = re.sub(r"\W+", "_", name.strip())
    if not made.isidentifier():
        made = f"_{made}"
    is_taken = keyword.iskeyword(made) or hasattr(builtins, made) or OWN.fullmatch(made)
    return f"{made}_" if is_taken else made
