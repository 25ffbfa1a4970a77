"""Schemas: JSON schemas of answers, from users and from model-written code, and what in a value they refuse. Never reads text.

One from code may not harm the host: it fetches nothing, its patterns are RE2's, and a check that takes too long is given up.
"""

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache
from itertools import islice
from typing import Any, cast

from langgraph_rlm.log.text import canonical
from langgraph_rlm.storage.blobs import to_bytes

Schema = dict[str, Any]
Keyword = Callable[[Any, Any, Any, Any], "Iterator[Any] | None"]
"""Of `jsonschema`: validator, the keyword's value, the instance, the schema; gives errors or None."""

NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keywords whose value maps names to schemas."""
DATA = frozenset({"enum", "const", "default", "examples"})
"""Keywords whose value is no schema, whatever it looks like."""
MAX_PROBLEMS = 5
PROBLEM_CHARS = 300
CHECK_SECONDS = 5.0
"""How long one check against a schema from code may take: a schema that refers to itself can ask for exponentially much."""

_deadline: ContextVar[float] = ContextVar("deadline")


class Unchecked(Exception):
    """A schema that cannot be checked against, whatever the value."""


def checked_schema(given: Any, *, from_code: bool) -> Schema:
    """A schema that values can be checked against.

    Args:
        given: a JSON schema as plain JSON values; draft 2020-12 unless its `$schema` says otherwise.
        from_code: a model wrote it, so that it is held to what is safe.

    Raises:
        ValueError: it is no JSON schema, a `$ref` points nowhere within it, or it asks for what code may not.
    """
    from jsonschema import SchemaError

    if not isinstance(given, dict):
        raise ValueError(
            f"a JSON schema is a dict such as {{'type': 'array', 'items': {{'type': 'string'}}}}, got {_clipped(repr(given))}"
        )
    schema = cast(Schema, given)
    try:
        _dialect(schema).check_schema(schema)
        for part in _subschemas(schema):
            _check_part(part, schema, from_code)
    except SchemaError as error:
        raise ValueError(
            f"no valid JSON schema: {error.json_path}: {_clipped(error.message)}"
        ) from None
    except RecursionError:
        raise ValueError("the JSON schema is nested too deeply") from None
    return schema


def problems_of(value: Any, schema: Schema, *, from_code: bool) -> list[str]:
    """What in a plain JSON value a checked schema refuses, each with its place, the first few; empty if it fits. Blocks.

    Raises:
        Unchecked: the check takes too long, or never ends.
    """
    from referencing.exceptions import Unresolvable

    token = _deadline.set(time.monotonic() + CHECK_SECONDS)
    try:
        errors = _validator(canonical(schema), from_code)(value)
        return [f"{error.json_path}: {_clipped(error.message)}" for error in errors]
    except (RecursionError, Unresolvable) as error:
        raise Unchecked(f"the schema cannot be checked: {type(error).__name__}") from None
    finally:
        _deadline.reset(token)


def _clipped(text: str) -> str:
    return text if len(text) <= PROBLEM_CHARS else f"{text[:PROBLEM_CHARS]}..."


def _subschemas(schema: Schema) -> Iterator[Schema]:
    """The schema and every schema in it."""
    yield schema
    for key, value in schema.items():
        if key in DATA:
            continue
        inside = (
            list(cast(Schema, value).values())
            if key in NAMED and isinstance(value, dict)
            else [value]
        )
        for each in inside:
            for part in cast(list[Any], each) if isinstance(each, list) else [each]:
                if isinstance(part, dict):
                    yield from _subschemas(cast(Schema, part))


def _check_part(part: Schema, whole: Schema, from_code: bool) -> None:
    reference = part.get("$ref")
    if isinstance(reference, str) and not _points_into(reference, whole):
        raise ValueError(
            f"$ref {_clipped(repr(reference))} points nowhere: it must be '#' or as '#/$defs/name', and within the schema"
        )
    if not from_code:
        return
    if refused := sorted(part.keys() & {"patternProperties", "$dynamicRef", "$recursiveRef"}):
        raise ValueError(f"{', '.join(refused)} cannot be used in a schema here")
    if isinstance(pattern := part.get("pattern"), str):
        _compiled(pattern)


def _points_into(reference: str, whole: Schema) -> bool:
    from urllib.parse import unquote

    if reference != "#" and not reference.startswith("#/"):
        return False
    found: Any = whole
    for name in unquote(reference).split("/")[1:]:
        name = name.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdigit() and int(name) < len(cast(list[Any], found)):
            found = cast(list[Any], found)[int(name)]
        elif isinstance(found, dict) and name in found:
            found = cast(Schema, found)[name]
        else:
            return False
    return isinstance(found, dict | bool)


@lru_cache(maxsize=256)
def _validator(schema: str, from_code: bool) -> Callable[[Any], list[Any]]:
    """The first errors of a value, of those that are alternatives the most telling one."""
    import json

    import referencing
    from jsonschema import exceptions

    parsed = json.loads(schema)
    dialect = _dialect(parsed)
    options = {} if from_code else {"format_checker": dialect.FORMAT_CHECKER}
    kind = _bounded(dialect) if from_code else dialect
    validator = kind(
        parsed, registry=cast(Any, referencing).Registry(), **options
    )  # an empty registry fetches nothing
    return lambda value: [
        cast(Any, exceptions).best_match([error])
        for error in islice(validator.iter_errors(value), MAX_PROBLEMS)
    ]


def _dialect(schema: Schema) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return cast(Any, validator_for)(schema, default=Draft202012Validator)


# What a schema from code is checked with


@lru_cache(maxsize=16)
def _bounded(dialect: Any) -> Any:
    """The same dialect, in steps that are each quick and that end when the time is up."""
    from jsonschema import validators

    own: dict[str, Keyword] = {"pattern": _pattern, "uniqueItems": _unique_items}
    keywords = {name: _timed(keyword) for name, keyword in {**dialect.VALIDATORS, **own}.items()}
    return cast(Any, validators).extend(dialect, validators=keywords)


def _timed(keyword: Keyword) -> Keyword:
    def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if time.monotonic() > _deadline.get():
            raise Unchecked(
                f"checking it against the schema took more than {CHECK_SECONDS:g} seconds: use a simpler schema"
            )
        yield from keyword(validator, value, instance, schema) or ()

    return timed


@lru_cache(maxsize=16)
def with_quick_patterns(dialect: Any) -> Any:
    """The same dialect for a user's schema, whose values come from code: a pattern takes linear time wherever RE2 knows it."""
    from jsonschema import validators

    slow: Keyword = dialect.VALIDATORS["pattern"]

    def pattern(
        validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[Any]:
        try:
            _compiled(pattern)
        except (
            ValueError
        ):  # lookarounds and backreferences: the user's own choice, and Python's `re` knows them
            yield from slow(validator, pattern, instance, schema) or ()
        else:
            yield from _pattern(validator, pattern, instance, schema)

    return cast(Any, validators).extend(dialect, validators={"pattern": pattern})


def _pattern(
    validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """Linear in the text, where `re` can take exponentially long."""
    from jsonschema import ValidationError

    if isinstance(instance, str) and not _compiled(pattern).search(to_bytes(instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    """Raises `ValueError` for what RE2 does not take."""
    re2: Any = importlib.import_module("re2")
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(to_bytes(pattern), options)
    except re2.error as error:
        reason = (
            error.args[0].decode("utf-8", "replace")
            if error.args and isinstance(error.args[0], bytes)
            else str(error)
        )
        raise ValueError(f"pattern {_clipped(repr(pattern))} is no RE2 pattern: {reason}") from None


def _unique_items(
    validator: Any, unique: bool, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """By their text, where comparing each with each takes quadratically long."""
    from jsonschema import ValidationError

    if unique and isinstance(instance, list):
        items = cast(list[Any], instance)
        if len({canonical(item) for item in items}) < len(items):
            yield ValidationError("it has equal items, and they must be unique")
