"""Arguments of a tool: bound by position and by name as Python binds them, and checked against the tool's JSON schema.

Schemas are checked with `jsonschema` (draft 2020-12 unless a schema names another); a `$ref` never leaves its schema.
"""

import keyword
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.text import canonical, plain
from langgraph_rlm.schemas.checks import with_quick_patterns

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
    """The caller runs it."""

    def __init__(self, name: str, description: str, schema: Schema) -> None:
        self.name = name
        self.description = description
        self.schema = schema
        """JSON schema of its arguments, an object."""
        self._properties = cast(Mapping[str, Schema], schema.get("properties") or {})

    @property
    def function(self) -> str:
        """Its name in code: `get-weather` is `get_weather` there."""
        name = re.sub(r"\W", "_", self.name)
        return f"_{name}" if not name or name[0].isdigit() or keyword.iskeyword(name) else name

    @property
    def returns(self) -> str:
        """What it returns, as a Python annotation; empty where that is not known."""
        return ""

    @property
    def signature(self) -> str:
        """`name(a: str, b: int = 1) -> float`, as the prompt shows it."""
        required = set(cast(Sequence[str], self.schema.get("required") or ()))
        shown = [
            self._parameter(name, schema, name in required)
            for name, schema in self._properties.items()
        ]
        return f"{self.function}({', '.join(shown)}){f' -> {self.returns}' if self.returns else ''}"

    def _parameter(self, name: str, schema: Schema, required: bool) -> str:
        shown = f"{name}: {annotation(schema, self.schema)}"
        return shown if required else f"{shown} = {schema.get('default')!r}"

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The call's arguments by name, as plain JSON.

        Raises:
            BadArguments: too many, unknown, missing, or of a type that the schema refuses.
        """
        names = list(self._properties)
        if len(args) > len(names):
            raise BadArguments(f"{self.signature} takes {len(names)} arguments, got {len(args)}.")
        given = dict(zip(names, args, strict=False))
        if twice := sorted(given.keys() & kwargs.keys()):
            raise BadArguments(f"{self.signature} got two values for {', '.join(twice)}.")
        bound = cast(dict[str, Any], plain({**given, **kwargs}))
        self.check(bound)
        return bound

    def check(self, given: Mapping[str, Any]) -> None:
        """Check arguments by name. Raises `BadArguments`."""
        unknown = sorted(given.keys() - self._properties.keys())
        if unknown and not self.schema.get("additionalProperties"):
            raise BadArguments(f"{self.signature} got unknown {', '.join(unknown)}.")
        self._check(given)

    def _check(self, given: Mapping[str, Any]) -> None:
        if problems := problems_of(given, self.schema):
            raise BadArguments(f"{self.signature}: {'; '.join(problems)}.")


T = TypeVar("T", bound=RLMTool)


def by_function(tools: Iterable[T], reserved: Collection[str]) -> dict[str, T]:
    """Tools by their names in code.

    Raises:
        ConfigurationError: a name is reserved in the REPL, or used twice.
    """
    found: dict[str, T] = {}
    for tool in tools:
        if tool.function in reserved or tool.function in found:
            raise ConfigurationError(
                f"Tool {tool.name!r} cannot be a function in the REPL: the name is taken. "
                f"Rename it; taken are {', '.join(sorted({*reserved, *found}))}."
            )
        found[tool.function] = tool
    return found


def annotation(schema: Schema, whole: Schema, depth: int = 0) -> str:
    """A JSON schema as a Python annotation; an object with known fields as `{'name': str}`.

    Args:
        schema: what to show.
        whole: the schema that its `$ref`s point into.
        depth: how many objects it is inside of.
    """
    if "$ref" in schema:
        found = _resolved(cast(str, schema["$ref"]), whole)
        return (
            "dict" if found is None or depth >= SHOWN_DEPTH else annotation(found, whole, depth + 1)
        )
    if "enum" in schema:
        return " | ".join(repr(value) for value in cast(Sequence[Any], schema["enum"]))
    if "const" in schema:
        return repr(schema["const"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " | ".join(
                dict.fromkeys(
                    annotation(each, whole, depth)
                    for each in cast(Sequence[Schema], schema[several])
                )
            )
    return _of_type(schema, whole, depth)


def _of_type(schema: Schema, whole: Schema, depth: int) -> str:
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(PYTHON_NAMES.get(str(each), "any") for each in cast(list[Any], kind))
    if kind == "array" and isinstance(schema.get("items"), Mapping):
        return f"list[{annotation(schema['items'], whole, depth)}]"
    if kind == "object" and schema.get("properties") and depth < SHOWN_DEPTH:
        fields = cast(Mapping[str, Schema], schema["properties"])
        return f"{{{', '.join(f'{name!r}: {annotation(field, whole, depth + 1)}' for name, field in fields.items())}}}"
    return PYTHON_NAMES.get(str(kind), "any")


def _resolved(reference: str, whole: Schema) -> Schema | None:
    found: Any = whole
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = cast(Mapping[str, Any], found).get(part) if isinstance(found, Mapping) else None
    return cast("Schema | None", found) if isinstance(found, Mapping) else None


def checked_schema(name: str, schema: Any) -> Schema:
    """A schema that arguments can be checked against. Raises `ConfigurationError` if it is none."""
    from jsonschema import SchemaError

    if not isinstance(schema, Mapping) or cast(Schema, schema).get("type", "object") != "object":
        raise ConfigurationError(
            f"Tool {name!r} needs a JSON schema of type 'object' for its arguments, got {schema!r}."
        )
    try:
        _validator_class(cast(Schema, schema)).check_schema(schema)
    except SchemaError as error:
        raise ConfigurationError(
            f"The schema of tool {name!r} is no valid JSON schema: {error.message} at {error.json_path}."
        ) from None
    return cast(Schema, schema)


def problems_of(value: Any, schema: Schema) -> list[str]:
    """What in a plain JSON value a schema refuses, each with its place; empty if it fits."""
    errors = sorted(
        _validator(canonical(schema))(value),
        key=lambda error: (-len(error.absolute_path), str(error.json_path)),
    )
    return [f"{error.json_path.removeprefix('$.')}: {error.message}" for error in errors]


@lru_cache(maxsize=256)
def _validator(schema: str) -> Callable[[Any], Sequence[Any]]:
    import json

    import referencing

    parsed = json.loads(schema)
    validator = with_quick_patterns(_validator_class(parsed))(
        parsed, registry=cast(Any, referencing).Registry()
    )  # an empty registry fetches nothing
    return lambda value: list(validator.iter_errors(value))


def _validator_class(schema: Schema) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return cast(Any, validator_for)(schema, default=Draft202012Validator)
