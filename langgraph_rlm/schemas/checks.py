"""Checks: one checker of values against JSON schemas, with a policy for each origin of a schema.

Fetches nothing, and never reads text.
"""

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

from langgraph_rlm.log.text import canonical
from langgraph_rlm.schemas.dialects import (
    Unchecked,
    bounded,
    clipped,
    dialect_of,
    re2_pattern,
    time_limit,
    with_quick_patterns,
)
from langgraph_rlm.storage.json_types import is_dict, is_list

Schema = dict[str, Any]

NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose value maps names to schemas."""

DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords whose value is not a schema, whatever it looks like."""

UNSAFE = frozenset({"patternProperties", "$dynamicRef", "$recursiveRef"})
"""Keywords that a schema from code may not use."""

MAX_PROBLEMS = 5
"""Most problems of a value that are told."""


class Policy(Enum):
    """How far a schema is trusted, by who wrote it and whose values it checks."""

    FROM_CODE = "from code"
    """A model wrote it, so it may not harm the host: its patterns are RE2's, and a check that takes
    too long is given up."""
    FROM_USER = "from user"
    """A user's form of an answer. Only a `$ref` to nowhere is refused; `format` is checked."""
    USER_TOOL = "user tool"
    """A user's schema of a tool's arguments, whose values come from code.

    A pattern is run by RE2 where it takes it, else by Python's `re`: the user's own choice. What a
    `$ref` points to is not checked beforehand.
    """


def checked_schema(given: Any, policy: Policy) -> Schema:
    """Check that values can be checked against a schema, and give it back.

    Args:
        given: a JSON schema as plain JSON values; draft 2020-12 unless its `$schema` says
            otherwise.
        policy: by who wrote it.

    Raises:
        ValueError: it is not a JSON schema, a `$ref` points nowhere within it, or it asks for what
            code may not.
    """
    from jsonschema import SchemaError

    if not is_dict(given):
        raise ValueError(
            "a JSON schema is a dict such as {'type': 'array', 'items': {'type': 'string'}}, "
            f"got {clipped(repr(given))}"
        )
    try:
        dialect_of(given).check_schema(given)
        if policy is not Policy.USER_TOOL:
            for part in _subschemas(given):
                _check_part(part, given, policy)
    except SchemaError as error:
        raise ValueError(
            f"no valid JSON schema: {error.json_path}: {clipped(error.message)}"
        ) from None
    except RecursionError:
        raise ValueError("the JSON schema is nested too deeply") from None
    return given


def problems_of(value: Any, schema: Schema, policy: Policy) -> list[str]:
    """Tell what in a plain JSON value a checked schema refuses. Blocks.

    Returns:
        The first few problems, each with its JSON path, and of alternatives the most telling one.
        Empty if the value fits.

    Raises:
        Unchecked: the check takes too long, or never ends.
    """
    from jsonschema import exceptions

    library: Any = exceptions
    errors = errors_of(value, schema, policy, most=MAX_PROBLEMS)
    telling = [library.best_match([error]) for error in errors]
    return [f"{error.json_path}: {clipped(error.message)}" for error in telling]


def errors_of(
    value: Any, schema: Mapping[str, Any], policy: Policy, *, most: int | None = None
) -> list[Any]:
    """Check a plain JSON value against a checked schema. Blocks.

    Args:
        value: the value.
        schema: as `checked_schema` gives it.
        policy: by who wrote the schema.
        most: how many errors are looked for; None is all.

    Returns:
        The errors, as `jsonschema` has them.

    Raises:
        Unchecked: the check takes too long, or never ends.
    """
    from referencing.exceptions import Unresolvable

    try:
        with time_limit():
            return list(islice(_validator(canonical(schema), policy).iter_errors(value), most))
    except (RecursionError, Unresolvable) as error:
        raise Unchecked(f"the schema cannot be checked: {type(error).__name__}") from None


@lru_cache(maxsize=512)
def _validator(schema: str, policy: Policy) -> Any:
    """Make the validator of a schema, given as canonical text.

    The empty registry fetches nothing.
    """
    import referencing

    library: Any = referencing
    parsed = json.loads(schema)
    dialect = dialect_of(parsed)
    registry = library.Registry()
    if policy is Policy.FROM_CODE:
        return bounded(dialect)(parsed, registry=registry)
    if policy is Policy.USER_TOOL:
        return with_quick_patterns(dialect)(parsed, registry=registry)
    return dialect(parsed, registry=registry, format_checker=dialect.FORMAT_CHECKER)


# What a schema may say


def _subschemas(schema: Schema) -> Iterator[Schema]:
    """Give the schema and every schema in it."""
    yield schema
    for key, value in schema.items():
        if key in DATA:
            continue
        inside = [value]
        if key in NAMED and is_dict(value):
            inside = list(value.values())
        for part in _flat(inside):
            if is_dict(part):
                yield from _subschemas(part)


def _flat(values: list[Any]) -> Iterator[Any]:
    """Give each value, or the items of one that is a list."""
    for value in values:
        if is_list(value):
            yield from value
        else:
            yield value


def _check_part(part: Schema, whole: Schema, policy: Policy) -> None:
    reference = part.get("$ref")
    if isinstance(reference, str) and not _points_into(reference, whole):
        raise ValueError(
            f"$ref {clipped(repr(reference))} points nowhere: it must be '#' or as "
            "'#/$defs/name', and within the schema"
        )
    if policy is not Policy.FROM_CODE:
        return
    if refused := sorted(part.keys() & UNSAFE):
        raise ValueError(f"{', '.join(refused)} cannot be used in a schema here")
    pattern = part.get("pattern")
    if isinstance(pattern, str):
        re2_pattern(pattern)


def _points_into(reference: str, whole: Schema) -> bool:
    """Whether a `$ref` is a JSON pointer to a schema within the whole."""
    if reference != "#" and not reference.startswith("#/"):
        return False
    found: Any = whole
    for name in unquote(reference).split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if is_list(found) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        elif is_dict(found) and name in found:
            found = found[name]
        else:
            return False
    return isinstance(found, dict | bool)
