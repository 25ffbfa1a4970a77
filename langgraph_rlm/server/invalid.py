"""Invalid: what a client is told about a request that has a wrong field.

Pydantic's own messages name branches of unions and the paths to them, which are in no request. Here
an error names a path of the request, what stands there, and what may.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from langgraph_rlm.errors import shown
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.storage.json_types import is_dict, is_list

ALLOWED: Mapping[str, str] = {
    "content": "Give a text, or a list of parts.",
    "prompt": "Give a text, or a list of one; token ids are not taken.",
    "tool_choice": "Give 'none', 'auto', 'required', or "
    "{'type': 'function', 'function': {'name': ...}}.",
    "input": "Give a text, or a list of items.",
    "stop": "Give a text, or a list of at most 16 texts.",
    "tools": "Tools are {'type': 'function', 'function': {'name': ..., 'parameters': ...}}.",
}
"""What may stand in a field, by a name on the path to it; the last of them on a path counts."""


def invalid(error: ValidationError, body: Any) -> Refused:
    """Make the refusal of a request.

    Args:
        error: pydantic's.
        body: the request, as it was given.
    """
    first: Any = error.errors(include_url=False)[0]
    path = _path(first["loc"], body, is_missing=first["type"] == "missing")
    told = _problem(first)
    if first["type"].startswith("union_tag"):
        path = [*path, str(first["ctx"]["discriminator"]).strip("'")]
    where = ".".join(path) or None
    names = [name for name in path if name in ALLOWED]
    if names and not told.endswith("."):
        told = f"{told}. {ALLOWED[names[-1]]}"
    return Refused(400, f"{where}: {told}" if where else told, param=where, code="invalid_value")


def _path(location: Sequence[str | int], body: Any, *, is_missing: bool) -> list[str]:
    """Give the part of a location that is in the request: names of branches are left out.

    Args:
        location: pydantic's.
        body: the request.
        is_missing: the last part is a field that is not there.
    """
    path: list[str] = []
    value: Any = body
    for number, part in enumerate(location):
        is_last = number == len(location) - 1
        if _has(value, part):
            value = value[part]
        elif not (is_last and is_missing):
            continue
        path.append(str(part))
    return path


def _has(value: object, part: str | int) -> bool:
    if is_dict(value):
        return part in value
    return is_list(value) and isinstance(part, int) and part < len(value)


def _problem(first: Mapping[str, Any]) -> str:
    """Say what is wrong."""
    context: Mapping[str, Any] = first.get("ctx") or {}
    if first["type"] == "literal_error":
        return f"{shown(first['input'])} is not one of {_listed(str(context['expected']))}."
    if first["type"] == "union_tag_invalid":
        return f"{context['tag']!r} is not one of {context['expected_tags']}."
    if first["type"] == "union_tag_not_found":
        return "it is missing, and says what kind of message this is."
    return str(first["msg"]).removeprefix("Value error, ")


def _listed(expected: str) -> str:
    """Write pydantic's list of values as the other messages do."""
    return expected.replace(" or ", ", ")
