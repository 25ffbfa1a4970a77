"""Asked: where a call's settings come from, and the context that its tools get. Allows nothing.

The sources, the first that says something of a field counts:

1. `context=` of the call, where it is `RunSettings`, a child of it, a dict of its names, or has one
   of these under the graph's name;
2. `config["configurable"]`, under the graph's name;
3. `config["configurable"]` itself, by the same names, where nothing is around the graph: in the
   `configurable` of a graph around, `model` and `tools` mean something else.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from langgraph_rlm.errors import SettingsError, problems_in, shown
from langgraph_rlm.runtime.settings import FIELDS, RunSettings, as_dict, checked
from langgraph_rlm.storage.json_types import is_dict


class Asked(NamedTuple):
    """What a call asks for."""

    settings: RunSettings
    context: Any
    """`context=` as the nodes get it: an instance of the graph's `context_schema`."""


def asked_of(
    name: str,
    schema: Any,
    context: Any,
    around: Any,
    configurable: Mapping[str, Any],
    *,
    is_nested: bool,
) -> Asked:
    """Read what a call asks for.

    Args:
        name: of the graph.
        schema: its `context_schema`.
        context: that the call was given.
        around: the context of a graph around.
        configurable: of the call's config.
        is_nested: whether a graph is around.

    Raises:
        SettingsError: an unknown name, or a value of a wrong type or length.
    """
    own = _coerced(context, schema)
    given = _within(around if own is None else own, name)
    if name in configurable:
        given = {**_settings(configurable[name], f"configurable[{name!r}]"), **given}
    if not is_nested:
        plain = {field: configurable[field] for field in FIELDS if field in configurable}
        given = {**as_dict(checked(plain, "configurable")), **given}
    return Asked(RunSettings(**given), own)


def _within(context: Any, name: str) -> dict[str, Any]:
    """Give the settings in a context."""
    if isinstance(context, RunSettings):
        return as_dict(checked({field: getattr(context, field) for field in FIELDS}, "context"))
    if is_dict(context):
        found = context.get(name)
    else:
        found = getattr(context, name, None)
    return _settings(found, f"context, under {name!r},")


def _settings(given: Any, source: str) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, RunSettings):
        return _within(given, "")
    if not is_dict(given):
        raise SettingsError(f"{source} must be RunSettings or a dict, got {shown(given)}.")
    return as_dict(checked(given, source))


def _coerced(context: Any, schema: Any) -> Any:
    """Make an instance of the graph's schema of a dict, as LangGraph does, with its names checked.

    Raises:
        SettingsError: a name is unknown, or the schema refuses a value.
    """
    if not is_dict(context):
        return context
    if schema is RunSettings:
        return RunSettings(**as_dict(checked(context, "context")))
    known, name = _names_of(schema), getattr(schema, "__name__", "its type")
    unknown = [key for key in context if key not in known]
    if unknown:
        raise SettingsError(
            f"context has {shown(unknown[0])}, which {name} has not; it has "
            f"{', '.join(sorted(known))}."
        )
    if not is_dataclass(schema) and not issubclass(schema, BaseModel):
        return context
    make: Any = schema
    try:
        return make(**context)
    except ValidationError as error:
        raise SettingsError(f"context: {problems_in(error)}.") from None
    except TypeError as error:
        raise SettingsError(f"context does not fit {name}: {error}.") from None


def _names_of(schema: Any) -> set[str]:
    if is_dataclass(schema):
        return {field.name for field in fields(schema)}
    if issubclass(schema, BaseModel):
        return {*schema.model_fields}
    return {*schema.__annotations__}
