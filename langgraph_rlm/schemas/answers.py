"""Structured answers: the form that an answer must have, and the value of that form in what a model wrote. Never calls a model.

Values are plain JSON (no NaN, no integer beyond 64 bits), so that any checkpoint takes them.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from pydantic import PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.log.reply import without_reasoning
from langgraph_rlm.log.text import plain
from langgraph_rlm.schemas.checks import (
    MAX_PROBLEMS,
    Schema,
    Unchecked,
    checked_schema,
    problems_of,
)

FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)^[ \t]*```", re.MULTILINE | re.DOTALL)
BRACKET = re.compile(r"""[{\[](?P<json>\s*["{\[\d-])?""")
"""The start of an object or list, and whether it goes on as JSON does."""
SEARCHED_CHARS = 1_000_000
"""A longer text is JSON as a whole, or is not searched for any."""
MAX_STARTS = 1_000
"""Brackets of a text that are tried as the start of a value."""


class Mismatch(Exception):
    """A text has no value of the form; the message says why, for a model to read."""


class Hopeless(Mismatch):
    """No text has: the schema itself cannot be checked against."""


@dataclass(frozen=True)
class Format:
    """The form that an answer must have."""

    schema: Schema
    check: Callable[[Any], Any]
    """The validated value of a plain JSON value, as plain JSON. Raises `Mismatch`. Blocks."""

    @property
    def text(self) -> str:
        """Its JSON schema, as prompts and the state have it."""
        return json_of(self.schema)

    def read(self, text: str) -> Any:
        """The value in a text: JSON as a whole, else in a fence, else between prose; where strings fit, the text itself. Blocks.

        Raises:
            Mismatch: there is no such value, or there are several.
        """
        text = without_reasoning(text).strip()
        problem: Mismatch | None = None
        for values in _readings(text):
            fits, refused = self._checked(values)
            if fits and all(fit == fits[0] for fit in fits):
                return fits[0]
            problem = problem or (
                Mismatch(f"there are {len(fits)} values that match: give one alone")
                if fits
                else refused
            )
        return self._as_string(text, problem)

    def admits(self, value: Any) -> bool:
        """Whether a plain JSON value has the form. Blocks."""
        try:
            self.check(value)
        except Mismatch:
            return False
        return True

    def _checked(self, values: list[Any]) -> tuple[list[Any], Mismatch | None]:
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
        try:
            return self.check(text)
        except Hopeless:
            raise
        except Mismatch as mismatch:
            takes_strings = "string" in self.schema.get("type", "string")
            raise problem or (
                mismatch if takes_strings else Mismatch(f"it is no JSON: {_json_problem(text)}")
            ) from None


NOT_A_TYPE = (PydanticUserError, PydanticUndefinedAnnotation, AttributeError, TypeError)
"""What pydantic raises for what is no type, such as an instance of some class."""


def user_format(given: Any) -> Format:
    """The form that a user asks for.

    Args:
        given: a JSON schema as a dict, or a type that pydantic knows: a model, a dataclass, a TypedDict, `list[Item]`.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(given, dict):
        try:
            return _schema_format(
                checked_schema(plain(cast(Schema, given)), from_code=False), from_code=False
            )
        except ValueError as error:
            raise ConfigurationError(f"response_format: {error}.") from None
    try:
        adapter = TypeAdapter[Any](given)
        return Format(adapter.json_schema(), lambda value: _validated(adapter, value))
    except NOT_A_TYPE as error:
        raise ConfigurationError(
            f"response_format={given!r} is neither a JSON schema (a dict) nor a type that pydantic knows: {error}"
        ) from error


def code_schema(given: Any) -> str:
    """A JSON schema that model-written code asks for, as text: its fields stay in their order, which is the order they are answered in.

    Raises:
        ValueError: it is none, or not one that is safe.
    """
    try:
        text = json_of(plain(given))
    except RecursionError:
        raise ValueError("the JSON schema is nested too deeply") from None
    return code_format(text).text


@lru_cache(maxsize=64)
def code_format(schema: str) -> Format:
    """The form that `code_schema` stands for; each item of a batch asks for the same."""
    return _schema_format(checked_schema(json.loads(schema), from_code=True), from_code=True)


def _schema_format(schema: Schema, *, from_code: bool) -> Format:
    def check(value: Any) -> Any:
        try:
            problems = problems_of(value, schema, from_code=from_code)
        except Unchecked as error:
            raise Hopeless(str(error)) from None
        if problems:
            raise Mismatch("; ".join(problems))
        return value

    return Format(schema, check)


def _validated(adapter: TypeAdapter[Any], value: Any) -> Any:
    """What pydantic makes of it, defaults filled in, back as JSON that the type takes again."""
    try:
        made = adapter.validate_json(json.dumps(value))
    except ValidationError as error:
        problems = [
            f"{_path(each['loc'])}: {each['msg']}"
            for each in error.errors(include_url=False, include_input=False)
        ]
        raise Mismatch("; ".join(problems[:MAX_PROBLEMS])) from None
    try:
        return json_value(
            json.dumps(adapter.dump_python(made, mode="json", by_alias=True, round_trip=True))
        )
    except ValueError as error:
        raise Mismatch(str(error)) from None


def _path(place: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)


# JSON in text


def json_value(text: str) -> Any:
    """The value of a JSON text. Raises `ValueError` where it is none, also for what checkpoints cannot keep."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_of(value: Any) -> str:
    """A plain value as a JSON text."""
    return json.dumps(value, ensure_ascii=False)


def text_of(value: Any) -> str:
    """A structured answer as text: a str as it is, anything else as JSON."""
    return value if isinstance(value, str) else json_of(value)


def _readings(text: str) -> Iterator[list[Any]]:
    """The values that a text may mean, the likeliest way to read it first."""
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
    """Objects and lists between prose, the outermost ones; none if one is broken off, since its parts would pass for the whole."""
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
    value = int(text) if len(text) <= 20 else None
    if value is None or not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"the integer {text[:40]} is beyond 64 bits: give it as a string")
    return value


def _number(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is no number that JSON has")
    return value


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_number)
