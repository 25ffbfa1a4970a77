"""Arguments of a tool, bound as Python binds them and checked against the tool's JSON schema.

Runs no tool.
"""

import keyword
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.text import plain
from langgraph_rlm.schemas import checks
from langgraph_rlm.schemas.dialects import Unchecked
from langgraph_rlm.storage.json_types import is_dict, is_list

Schema = Mapping[str, Any]
"""A JSON schema."""

PYTHON_NAMES = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}
SHOWN_DEPTH = 3
"""How deep a signature shows what is inside an object."""


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
        name = re.sub(r"\W", "_", self.name)
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
        shown = [
            self._parameter(name, schema, name in required)
            for name, schema in self._properties.items()
        ]
        signature = f"{self.function}({', '.join(shown)})"
        return f"{signature} -> {returns}" if returns else signature

    def _parameter(self, name: str, schema: Schema, required: bool) -> str:
        shown = f"{name}: {annotation(schema, self.schema)}"
        return shown if required else f"{shown} = {schema.get('default')!r}"

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
            f"Tool {name!r} needs a JSON schema of type 'object' for its arguments, got {schema!r}."
        )
    try:
        return checks.checked_schema(schema, checks.Policy.USER_TOOL)
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


# A schema as a Python annotation


def annotation(schema: Schema, whole: Schema, depth: int = 0) -> str:
    """Show a JSON schema as a Python annotation; an object with known fields as `{'name': str}`.

    Args:
        schema: what to show.
        whole: the schema that its `$ref`s point into.
        depth: how many objects it is inside of.
    """
    if "$ref" in schema:
        found = _resolved(schema["$ref"], whole)
        if found is None or depth >= SHOWN_DEPTH:
            return "dict"
        return annotation(found, whole, depth + 1)
    if "enum" in schema:
        return " | ".join(repr(value) for value in schema["enum"])
    if "const" in schema:
        return repr(schema["const"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            shown = [annotation(each, whole, depth) for each in schema[several]]
            return " | ".join(dict.fromkeys(shown))
    return _of_type(schema, whole, depth)


def _of_type(schema: Schema, whole: Schema, depth: int) -> str:
    kind: Any = schema.get("type")
    if is_list(kind):
        return " | ".join(PYTHON_NAMES.get(str(each), "any") for each in kind)
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"list[{annotation(schema['items'], whole, depth)}]"
    if kind == "object" and schema.get("properties") and depth < SHOWN_DEPTH:
        fields = [
            f"{name!r}: {annotation(field, whole, depth + 1)}"
            for name, field in schema["properties"].items()
        ]
        return f"{{{', '.join(fields)}}}"
    return PYTHON_NAMES.get(str(kind), "any")


def _resolved(reference: str, whole: Schema) -> Schema | None:
    """Find the schema that a `$ref` points to; None if it is not within the whole."""
    found: Any = whole
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not is_dict(found):
            return None
        found = found.get(part)
    return found if is_dict(found) else None
