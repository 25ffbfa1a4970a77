"""Tool options: OpenAI's options about tools for a model of any provider. Never calls a model."""

import inspect
from collections.abc import Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from langgraph_rlm.models.wrapped import is_openai
from langgraph_rlm.storage.json_types import is_dict


def tool_options_of(model: BaseChatModel, given: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a model's `bind_tools` takes besides the tools.

    Args:
        model: of any provider.
        given: `tool_choice` in any of OpenAI's forms, and options that OpenAI's API has. Models of
            other providers get those that their `bind_tools` names; most would raise on others.
    """
    options = dict(given)
    choice = _portable(options.pop("tool_choice", None))
    if choice is not None:
        options["tool_choice"] = choice
    if is_openai(model):
        return options
    taken = {"tool_choice", *inspect.signature(type(model).bind_tools).parameters}
    return {name: value for name, value in options.items() if name in taken}


def _portable(choice: Any) -> Any:
    """Write a choice as all of LangChain's models take it: `"any"`, or the name of a tool."""
    if choice in ("required", True):
        return "any"
    if choice in ("auto", False):  # what is not said is so
        return None
    if not is_dict(choice):
        return choice
    if choice.get("type") in ("auto", "any", "none"):
        return _portable(choice["type"])
    function = choice.get("function")
    return (function if is_dict(function) else choice).get("name")
