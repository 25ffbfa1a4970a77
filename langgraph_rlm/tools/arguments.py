"""Arguments of a tool, bound as Python binds them and checked against the tool's JSON schema.

Runs no tool.
"""

import json
import keyword
import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.errors import shown as shown_value
from langgraph_rlm.log.text import plain
from langgraph_rlm.schemas import checks
from langgraph_rlm.schemas.dialects import Unchecked
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.tools.annotations import Schema, annotation, as_name, as_value

SHOWN_PARAMETERS = 100
"""Most parameters of one tool that a signature shows."""


MAX_SCHEMA_CHARS = 200_000
"""Largest schema of a tool's arguments: a server may send any, and checking this one takes three
seconds."""


class BadArguments(Exception):
    """Code called a tool with arguments that do not fit its schema."""


class RLMTool:
    """A tool by its schema: what code may call it with."""

    is_external = False
    """Whether the caller runs it."""

    def __init__(self, name: str, description: str, schema: Schema) -> None:
        self.name = name
        self.description = description
        self.schema = schema
        """JSON schema of its arguments, an object."""
        self.function = self.plain_function
        """The name in code."""
        self._properties: Mapping[str, Schema] = schema.get("properties") or {}

    @property
    def plain_function(self) -> str:
        """The name in code that it would have if none were taken: `get-weather` is `get_weather`
        there."""
        # Python reads names in their compatible form: `ﬁnd`, with a ligature, is `find`
        name = re.sub(r"\W", "_", unicodedata.normalize("NFKC", self.name))
        is_name = name.isidentifier() and not keyword.iskeyword(name)
        return name if is_name else f"_{name}"

    @property
    def returns(self) -> str:
        """The type of the result, as a Python annotation; empty where that is not known."""
        return ""

    @property
    def signature(self) -> str:
        """`name(a: str, b: int = 1) -> float`, as the prompt shows it."""
        return self._signature(self.returns)

    @property
    def first_signature(self) -> str:
        """The signature as errors show it in turns by the rules 1 (`log/reply.py`)."""
        return self.signature

    def _signature(self, returns: str) -> str:
        required: set[str] = set(self.schema.get("required") or ())
        first = islice(self._properties.items(), SHOWN_PARAMETERS)
        shown = [self._parameter(name, schema, name in required) for name, schema in first]
        if len(self._properties) > SHOWN_PARAMETERS:
            shown.append("...")
        signature = f"{self.function}({', '.join(shown)})"
        return f"{signature} -> {returns}" if returns else signature

    def _parameter(self, name: str, schema: Schema, required: bool) -> str:
        shown = f"{as_name(name)}: {annotation(schema, self.schema)}"
        if required:
            return shown
        default = schema.get("default") if is_dict(schema) else None
        return f"{shown} = {as_value(default)}"

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind the call's arguments to their names, as plain JSON.

        Raises:
            BadArguments: too many, unknown, missing, or of a type that the schema refuses.
        """
        names = list(self._properties)
        if len(args) > len(names):
            raise BadArguments(f"{self.signature} takes {len(names)} arguments, got {len(args)}.")
        given = dict(zip(names, args, strict=False))
        if twice := sorted(given.keys() & kwargs.keys()):
            raise BadArguments(f"{self.signature} got two values for {', '.join(twice)}.")
        bound: dict[str, Any] = plain({**given, **kwargs})
        self.check(bound)
        return bound

    def check(self, given: Mapping[str, Any]) -> None:
        """Check arguments by name.

        Raises:
            BadArguments: unknown, missing, or of a type that the schema refuses.
        """
        unknown = sorted(given.keys() - self._properties.keys())
        if unknown and not self.schema.get("additionalProperties"):
            raise BadArguments(f"{self.signature} got unknown {', '.join(unknown)}.")
        self._check(given)

    def _check(self, given: Mapping[str, Any]) -> None:
        if problems := problems_of(given, self.schema):
            raise BadArguments(f"{self.signature}: {'; '.join(problems)}.")


# The JSON schema


def checked_schema(name: str, schema: Any) -> Schema:
    """Check that arguments can be checked against a tool's schema, and give it back.

    Raises:
        ConfigurationError: they cannot.
    """
    if not is_dict(schema) or schema.get("type", "object") != "object":
        raise ConfigurationError(
            f"Tool {name!r} needs a JSON schema of type 'object' for its arguments, got "
            f"{shown_value(schema)}."
        )
    try:
        size = len(json.dumps(schema, default=str))
        if size > MAX_SCHEMA_CHARS:
            raise ValueError(f"it has {size:,} characters; at most {MAX_SCHEMA_CHARS:,}")
        return checks.checked_schema(schema, checks.Policy.USER_TOOL)
    except RecursionError:
        raise ConfigurationError(f"The schema of tool {name!r}: it is nested too deeply.") from None
    except ValueError as error:
        raise ConfigurationError(f"The schema of tool {name!r}: {error}.") from None


def problems_of(value: Any, schema: Schema) -> list[str]:
    """Tell what in a plain JSON value a schema refuses, each with its JSON path.

    The deepest come first. Empty if the value fits. A check that never ends is a problem too.
    """
    try:
        errors = checks.errors_of(value, schema, checks.Policy.USER_TOOL)
    except Unchecked as error:
        return [str(error)]
    errors.sort(key=lambda error: (-len(error.absolute_path), str(error.json_path)))
    return [f"{error.json_path.removeprefix('$.')}: {error.message}" for error in errors]
