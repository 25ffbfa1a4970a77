"""Allowed schema: the JSON schema of a run's settings, with what one graph allows. Checks nothing.

LangGraph's server shows it to whoever makes an assistant.
"""

from collections.abc import Sequence
from typing import Any

from langgraph_rlm.runtime.settings import FIELDS, NAME_CHARS, PROMPT_CHARS
from langgraph_rlm.runtime.shared import RLMRuntime

ABOUT = "What a run has instead of what the graph was made with. What is left out is the graph's."


def allowed_schema(schema: dict[str, Any], rlm: RLMRuntime) -> dict[str, Any]:
    """Give the schema of a graph's `context_schema` with what the graph allows.

    Args:
        schema: of `RunSettings`, or of a type that inherits from it.
        rlm: the graph's runtime.
    """
    known: dict[str, Any] = schema["properties"]
    shown = {name: {**each, **_allowed(name, each, rlm)} for name, each in known.items()}
    about = {"description": ABOUT} if set(known) == set(FIELDS) else {}
    return {**schema, **about, "properties": shown}


def _allowed(name: str, schema: dict[str, Any], rlm: RLMRuntime) -> dict[str, Any]:
    """What the graph allows of one setting, as keys of its JSON schema."""
    allowed = rlm.configurable
    if name in ("model", "sub_model"):
        return _models(schema["description"], [*sorted(rlm.models), *allowed.models], rlm)
    if name == "prompt":
        return {"maxLength": PROMPT_CHARS} if allowed.prompt else {"enum": [None]}
    if name == "limits":
        return {"properties": _limits(schema["properties"], rlm)}
    if name == "tools":
        names = rlm.toolset.names if allowed.tools else []
        items = {"items": {"type": "string", "enum": names}, "type": "array"}
        return {"anyOf": [items, {"type": "null"}]}
    if name == "sandbox":
        names = [rlm.sessions.sandboxes.name, *allowed.sandboxes]
        return {"enum": [*dict.fromkeys(names), None]}
    return {}


def _models(about: str, known: Sequence[str], rlm: RLMRuntime) -> dict[str, Any]:
    """The names, where all are known; else patterns in words."""
    if any(set(name) & set("*?[") for name in rlm.configurable.models):
        return {"description": f"{about} One of: {', '.join(known)}.", "maxLength": NAME_CHARS}
    return {"enum": [*known, None]}


def _limits(properties: dict[str, Any], rlm: RLMRuntime) -> dict[str, Any]:
    ceiling, shown = rlm.configurable.ceiling, dict[str, Any]()
    for name, each in properties.items():
        highest = ceiling.get(name, getattr(rlm.limits, name))
        shown[name] = each if highest is None else {**each, "maximum": highest}
    return shown
