"""Settings: what a run may have of its own, who says so, and how a caller's values are read.

What a caller gives is hostile: every name, type and length is checked here, and what is allowed in
`variant.py`. Makes no model and no runtime.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import ConfigurationError, SettingsError, shown
from langgraph_rlm.repl import NAMES
from langgraph_rlm.storage.json_types import is_array, is_dict

NAME_CHARS = 200
"""Most characters of a name that a caller gives."""

PROMPT_CHARS = 20_000
"""Most characters of a run's own prompt: it is sent with every call of a root model."""

MOST_TOOLS = 1_000
"""Most names of tools that a caller may list."""


LEFT_OUT = ("default", "title")
"""Of the schemas of limits. A default would not be true: what is left out is the graph's."""


def _limits_schema() -> dict[str, Any]:
    """Give the JSON schema of some limits."""
    properties: dict[str, Any] = Limits.model_json_schema()["properties"]
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            name: {key: value for key, value in each.items() if key not in LEFT_OUT}
            for name, each in properties.items()
        },
    }


@dataclass(kw_only=True)
class RunSettings:
    """What one run has instead of what its graph was made with. What is None is the graph's.

    It is the `context_schema` of an RLM: `rlm.invoke(input, context=RunSettings(...))`, a dict of
    the same names, or LangGraph's assistants. A context type of your own may inherit from it, or
    have it as a field that is named after the graph (`rlm`).

    A run that is resumed continues with the settings that it began with.
    """

    model: Annotated[str | None, Field(description="Model that writes the code.")] = None
    """A name of the graph's `models`, or `"provider:model"` where the owner allows it. Where the
    graph's `sub_model` was left out, it is the sub-model too."""
    sub_model: Annotated[str | None, Field(description="Model that llm_query asks.")] = None
    """As `model`."""
    prompt: Annotated[str | None, Field(description="Instructions, after the graph's own.")] = None
    """At most 20,000 characters."""
    limits: Annotated[Limits | Mapping[str, Any] | None, WithJsonSchema(_limits_schema())] = None
    """A `Limits` of which the fields count that it was made with, or a dict of some fields. They
    may be lower than the graph's; higher where the owner allows it."""
    tools: Annotated[
        Sequence[str] | None, Field(description="The only tools that code may call.")
    ] = None
    """Names of the graph's tools."""
    sandbox: Annotated[str | None, Field(description="Where code runs.")] = None
    """A name that the owner allows. A thread stays in the sandbox that it began in."""


FIELDS = tuple(field.name for field in fields(RunSettings))


@dataclass(frozen=True, kw_only=True)
class Configurable:
    """What a run may set for itself, by the word of who makes the graph.

    Without it, a run may choose among the graph's `models`, lower its limits, and leave tools out.

    Raises:
        ConfigurationError: a value of a wrong type, an unknown sandbox or limit.
    """

    models: Sequence[str] = ()
    """More models that may be asked for, each as `"provider:model"` or a pattern of it such as
    `"openai:gpt-5*"`. Their keys are those of your process."""
    limits: Limits | Mapping[str, Any] | None = None
    """The highest that limits may be set to, for the fields that are given; for others the graph's
    own are the highest. None as the value of a field allows any."""
    tools: bool = True
    """Whether a run may leave tools out."""
    prompt: bool = False
    """Whether a run may add instructions to the graph's own."""
    sandboxes: Sequence[str] = ()
    """Names of sandboxes that may be chosen beside the graph's own. `"local"` isolates nothing: who
    may choose it may run anything with your rights."""

    def __post_init__(self) -> None:
        """Check the owner's values."""
        for name in ("models", "sandboxes"):
            value = getattr(self, name)
            if not is_array(value) or not all(isinstance(each, str) for each in value):
                raise ConfigurationError(
                    f"configurable: {name}={shown(value)} must be a list of str."
                )
        if wrong := [each for each in self.models if not all(each.partition(":"))]:
            raise ConfigurationError(
                f"configurable: models has {', '.join(map(repr, wrong))}: write each as "
                "'provider:model', such as 'openai:gpt-5*'. Names of models= are allowed anyway."
            )
        if unknown := [each for each in self.sandboxes if each not in NAMES]:
            raise ConfigurationError(
                f"configurable: sandboxes has {', '.join(map(repr, unknown))}; there are "
                f"{', '.join(map(repr, NAMES))}."
            )
        for name in ("tools", "prompt"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigurationError(
                    f"configurable: {name}={shown(getattr(self, name))} must be True or False."
                )
        Limits.model_validate(self.ceiling)

    @property
    def ceiling(self) -> dict[str, Any]:
        """The limits that may be set higher than the graph's, each with the highest value."""
        return given_limits(self.limits)

    @staticmethod
    def of(given: "Configurable | Mapping[str, Any] | None") -> "Configurable":
        """Make it of what a user gives.

        Raises:
            ConfigurationError: an unknown name, or what the class itself raises.
        """
        if isinstance(given, Configurable):
            return given
        if given is not None and not is_dict(given):
            raise ConfigurationError(
                f"configurable={shown(given)} must be a Configurable, or a dict of its fields."
            )
        values = dict(given or {})
        known = [field.name for field in fields(Configurable)]
        for name in values:
            if name not in known:
                raise ConfigurationError(f"configurable has no {name!r}.{_near(name, known)}")
        return Configurable(**values)


def given_limits(limits: Limits | Mapping[str, Any] | None) -> dict[str, Any]:
    """Give the limits that somebody has set, and no defaults."""
    if isinstance(limits, Limits):
        return limits.model_dump(exclude_unset=True)
    return dict(limits or {})


def _near(name: str, known: Sequence[str]) -> str:
    """Say, after a space, what a name may have been meant to be, else what there is."""
    near = get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f" Did you mean {' or '.join(map(repr, near))}?"
    return f" There are: {', '.join(map(repr, known)) or 'none'}."


def refused(name: str, value: Any, why: str, known: Sequence[str] = ()) -> SettingsError:
    """Make the error of a setting that is not taken.

    Args:
        name: of the setting.
        value: that was given.
        why: completes `... is refused: `, with its full stop.
        known: values that would be taken, of which the nearest are told.
    """
    near = _near(value, known) if known and isinstance(value, str) else ""
    return SettingsError(f"The run setting {name}={shown(value)} is refused: {why}{near}")


# What a caller gives


def checked(values: Mapping[Any, Any], source: str) -> RunSettings:
    """Check the names, types and lengths of what a caller gives.

    Args:
        values: by name; None is not given.
        source: where they come from, for messages.

    Raises:
        SettingsError: an unknown name, or a value of a wrong type or length.
    """
    for name in values:
        if name not in FIELDS:
            raise SettingsError(
                f"{source} has {shown(name)}, which is not a setting of a run."
                f"{_near(str(name), FIELDS)}"
            )
    given = {name: value for name, value in values.items() if value is not None}
    return RunSettings(**{name: CHECKS[name](name, value) for name, value in given.items()})


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refused(name, value, "it must be a name, as a str that is not empty.")
    if len(value) > NAME_CHARS or not value.isprintable():
        raise refused(name, value, f"a name has at most {NAME_CHARS} characters, all printable.")
    return value


def _prompt(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise refused(name, value, "it must be a str that is not empty.")
    if len(value) > PROMPT_CHARS:
        why = f"it has {len(value):,} characters, and may have {PROMPT_CHARS:,}."
        raise refused(name, value, why)
    return value


def _tools(name: str, value: Any) -> list[str]:
    if not is_array(value) or len(value) > MOST_TOOLS:
        raise refused(name, value, f"it must be a list of at most {MOST_TOOLS:,} names of tools.")
    return sorted({_name(name, each) for each in value})


def _limits(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Limits) and not is_dict(value):
        raise refused(name, value, "it must be a Limits, or a dict of some of its fields.")
    given = given_limits(value)
    known = list(Limits.model_fields)
    for limit, number in given.items():
        if limit not in known:
            raise refused(
                name, value, f"there is no limit {shown(limit)}.{_near(str(limit), known)}"
            )
        if isinstance(number, float) and not math.isfinite(number):
            raise refused(name, value, f"{limit} must be a finite number.")
    try:
        whole = Limits.model_validate(given, strict=True)
    except ConfigurationError as error:
        raise refused(name, value, str(error)) from None
    return {limit: getattr(whole, limit) for limit in sorted(given)}


CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    "model": _name,
    "sub_model": _name,
    "prompt": _prompt,
    "limits": _limits,
    "tools": _tools,
    "sandbox": _name,
}


def as_dict(settings: RunSettings) -> dict[str, Any]:
    """Give the settings that are set, by name."""
    given = {name: getattr(settings, name) for name in FIELDS}
    return {name: value for name, value in given.items() if value is not None}
