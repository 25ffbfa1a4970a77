"""Answers: the form that an answer must have, and the value of that form in what a model wrote.

Never calls a model. Values are plain JSON (no NaN, no integer beyond 64 bits), so that any
checkpoint takes them.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.text import plain
from langgraph_rlm.log.thoughts import without_thoughts
from langgraph_rlm.schemas.checks import (
    MAX_PROBLEMS,
    Policy,
    Schema,
    checked_schema,
    problems_of,
)
from langgraph_rlm.schemas.dialects import Unchecked
from langgraph_rlm.storage.json_types import is_dict

FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
BRACKET = re.compile(r"""[{\[](?P<json>\s*["{\[\d-])?""")
"""The start of an object or list, and whether it continues as JSON does."""
SEARCHED_CHARS = 1_000_000
"""A longer text is JSON as a whole, or is not searched for any."""
MAX_STARTS = 1_000
"""Brackets of a text that are tried as the start of a value."""


class Mismatch(Exception):
    """A text has no value of the form; the message says why, for a model to read."""


class Hopeless(Mismatch):
    """No text can have a value of the form: the schema itself cannot be checked against."""


@dataclass(frozen=True)
class Format:
    """The form that an answer must have."""

    schema: Schema
    check: Callable[[Any], Any]
    """Validates a plain JSON value, and gives it as plain JSON. Raises `Mismatch`. Blocks."""

    @property
    def text(self) -> str:
        """The JSON schema, as prompts and the state have it."""
        return json_of(self.schema)

    def read(self, text: str) -> Any:
        """Find the value in a text. Blocks.

        It is the text as JSON, else the JSON in a fence, else the JSON between prose; where the
        form takes strings, it may be the text itself.

        Raises:
            Mismatch: there is no such value, or there are several.
        """
        text = text if _is_json(text) else without_thoughts(text)
        text = text.strip()
        problem: Mismatch | None = None
        for values in _readings(text):
            fits, refused = self._checked(values)
            if fits and all(fit == fits[0] for fit in fits):
                return fits[0]
            if fits:
                refused = Mismatch(f"there are {len(fits)} values that match: give one alone")
            problem = problem or refused
        return self._as_string(text, problem)

    def admits(self, value: Any) -> bool:
        """Whether a plain JSON value has the form. Blocks."""
        try:
            self.check(value)
        except Mismatch:
            return False
        return True

    def _checked(self, values: list[Any]) -> tuple[list[Any], Mismatch | None]:
        """Give the values that have the form, and why the last of the others has not."""
        fits: list[Any] = []
        problem: Mismatch | None = None
        for value in values:
            try:
                fits.append(self.check(value))
            except Hopeless:
                raise
            except Mismatch as mismatch:
                problem = mismatch
        return fits, problem

    def _as_string(self, text: str, problem: Mismatch | None) -> Any:
        """Take a text itself as the value; if it has not the form, the earlier problem is told."""
        try:
            return self.check(text)
        except Hopeless:
            raise
        except Mismatch as mismatch:
            if problem is not None:
                raise problem from None
            if "string" in self.schema.get("type", "string"):
                raise mismatch from None
            raise Mismatch(f"it is no JSON: {_json_problem(text)}") from None


NOT_A_TYPE = (PydanticUserError, PydanticUndefinedAnnotation, AttributeError, TypeError)
"""What pydantic raises for what is not a type, such as an instance of some class."""


def user_format(given: Any) -> Format:
    """Make the form that a user asks for.

    Args:
        given: a JSON schema as a dict, or a type that pydantic knows: a model, a dataclass, a
            TypedDict, `list[Item]`.

    Raises:
        ConfigurationError: it is neither.
    """
    if is_dict(given):
        try:
            return _schema_format(plain(given), Policy.FROM_USER)
        except ValueError as error:
            raise ConfigurationError(f"response_format: {error}.") from None
    try:
        adapter = TypeAdapter[Any](given)
        return Format(adapter.json_schema(), lambda value: _validated(adapter, value))
    except NOT_A_TYPE as error:
        raise ConfigurationError(
            f"response_format={given!r} is neither a JSON schema (a dict) nor a type that pydantic "
            f"knows: {error}"
        ) from error


def code_schema(given: Any) -> str:
    """Check a JSON schema that model-written code asks for, and give it as text.

    Its fields stay in their order, which is the order that they are answered in.

    Raises:
        ValueError: it is not a JSON schema, or not one that is safe.
    """
    try:
        text = json_of(plain(given))
    except RecursionError:
        raise ValueError("the JSON schema is nested too deeply") from None
    return code_format(text).text


@lru_cache(maxsize=64)
def code_format(schema: str) -> Format:
    """Make the form that a text of `code_schema` stands for.

    It is kept, because each item of a batch asks for the same.
    """
    return _schema_format(json.loads(schema), Policy.FROM_CODE)


def _schema_format(given: Any, policy: Policy) -> Format:
    """Make the form of a JSON schema. Raises ValueError as `checked_schema` does."""
    schema = checked_schema(given, policy)

    def check(value: Any) -> Any:
        try:
            problems = problems_of(value, schema, policy)
        except Unchecked as error:
            raise Hopeless(str(error)) from None
        if problems:
            raise Mismatch("; ".join(problems))
        return value

    return Format(schema, check)


def _validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    """Let pydantic validate a value and fill defaults in; give JSON that the type takes again."""
    try:
        made = adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        problems = [
            f"{_path(each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise Mismatch("; ".join(problems[:MAX_PROBLEMS])) from None
    try:
        dumped = adapter.dump_python(made, mode="json", by_alias=True, round_trip=True)
        return json_value(json.dumps(dumped))
    except ValueError as error:
        raise Mismatch(str(error)) from None


def _path(location: tuple[int | str, ...]) -> str:
    """Write pydantic's location of an error as a JSON path."""
    path = "$"
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path


# JSON in text


def json_value(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is not JSON, or has what checkpoints cannot keep.
    """
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_of(value: Any) -> str:
    """Write a plain value as a JSON text."""
    return json.dumps(value, ensure_ascii=False)


def text_of(value: Any) -> str:
    """Write a structured answer as text: a str as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_of(value)


def _is_json(text: str) -> bool:
    """Whether a text is JSON as a whole: tags in its strings are no thoughts."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _readings(text: str) -> Iterator[list[Any]]:
    """Give the values that a text may mean, for each way to read it, the likeliest way first."""
    whole = list(_decoded([text]))
    if whole or len(text) > SEARCHED_CHARS:
        yield whole
        return
    yield list(_decoded(FENCE.findall(text)))
    yield _embedded(text)


def _decoded(texts: list[str]) -> Iterator[Any]:
    for text in texts:
        try:
            yield json_value(text)
        except ValueError:
            continue


def _embedded(text: str) -> list[Any]:
    """Find the outermost objects and lists between prose.

    None are found if one is broken off, since its parts would pass for the whole.
    """
    values: list[Any] = []
    end = 0
    for _, start in zip(range(MAX_STARTS), BRACKET.finditer(text), strict=False):
        if start.start() < end:
            continue
        try:
            value, end = _DECODER.raw_decode(text, start.start())
            values.append(value)
        except (ValueError, RecursionError):
            if start["json"]:
                return []
    return values


def _json_problem(text: str) -> str:
    try:
        json_value(text)
    except ValueError as error:
        return str(error)
    return "it is longer than is searched"


def _integer(text: str) -> int:
    if len(text) <= 20:
        value = int(text)
        if -(1 << 63) <= value < 1 << 64:
            return value
    raise ValueError(f"the integer {text[:40]} is beyond 64 bits: give it as a string")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is no number that JSON has")
    return value


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_number)
