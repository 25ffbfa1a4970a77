"""Returns: what the prompt says that a tool gives to code, which gets plain JSON and no classes."""

import inspect
from collections.abc import Callable
from typing import Any, get_type_hints

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from langgraph_rlm.tools.annotations import annotation


def first_returns(function: Callable[..., Any]) -> str:
    """Give the return annotation of a function as it stands; empty where there is none.

    Errors in turns by the rules 1 show it.
    """
    returned = inspect.signature(function).return_annotation
    if returned is inspect.Signature.empty:
        return ""
    return inspect.formatannotation(returned).replace("typing.", "")


def returns(function: Callable[..., Any]) -> str:
    """Give what code gets from a function, as a Python annotation; empty where that is not known.

    A class of the host's is shown as the plain value that its objects become.
    """
    try:
        returned: Any = get_type_hints(function).get("return", inspect.Signature.empty)
    except (NameError, TypeError, AttributeError, SyntaxError):  # the hint is of elsewhere
        return ""
    if returned is inspect.Signature.empty:
        return ""
    if returned is type(None):
        return "None"
    shown = inspect.formatannotation(returned).replace("typing.", "")
    return _as_json(returned) if "." in shown else shown


def _as_json(returned: Any) -> str:
    try:
        schema = TypeAdapter[Any](returned).json_schema(mode="serialization")
    except PydanticUserError:  # objects of it become their text, or are part of something larger
        return "str" if isinstance(returned, type) else ""
    return annotation(schema, schema)
