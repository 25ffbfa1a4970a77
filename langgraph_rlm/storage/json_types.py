"""JSON types: checks for dicts and lists of unknown content that type checkers follow.

Plain `isinstance` leaves the content of a value of type `Any` unknown to them.
"""

from typing import Any, TypeGuard


def is_dict(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether a value is a dict, such as a JSON object. Its keys are not looked at."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether a value is a list, such as a JSON array."""
    return isinstance(value, list)


def is_array(value: object) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Whether a value is a list or a tuple: what JSON writes as an array."""
    return isinstance(value, (list, tuple))


def is_whole(value: object) -> TypeGuard[int]:
    """Whether a value is an integer; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)
