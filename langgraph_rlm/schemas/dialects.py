"""Dialects: the validator classes of `jsonschema`, with keywords that cannot stop the host.

Knows nothing of who wrote a schema; see `checks.Policy`.
"""

import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from langgraph_rlm.log.text import canonical
from langgraph_rlm.storage.blobs import to_bytes
from langgraph_rlm.storage.json_types import is_list
from langgraph_rlm.storage.patterns import compile_pattern

Keyword = Callable[[Any, Any, Any, Any], "Iterator[Any] | None"]
"""How `jsonschema` checks one keyword.

Takes the validator, the keyword's value, the instance and the schema; gives errors or None.
"""

CHECK_SECONDS = 5.0
"""How long one check against a schema from code may take.

A schema that refers to itself can ask for exponentially much.
"""

PROBLEM_CHARS = 300
"""Most characters of one problem that is told."""

_deadline: ContextVar[float] = ContextVar("deadline")


class Unchecked(Exception):
    """A schema that cannot be checked against, whatever the value."""


@contextmanager
def time_limit() -> Generator[None]:
    """Let what `bounded` dialects check in this block take `CHECK_SECONDS` in all."""
    token = _deadline.set(time.monotonic() + CHECK_SECONDS)
    try:
        yield
    finally:
        _deadline.reset(token)


def clipped(text: str) -> str:
    """Cut a text to what one problem may have."""
    return text if len(text) <= PROBLEM_CHARS else f"{text[:PROBLEM_CHARS]}..."


def dialect_of(schema: Mapping[str, Any]) -> Any:
    """Give the validator class that a schema names; draft 2020-12 if it names none."""
    from jsonschema import Draft202012Validator, validators

    library: Any = validators
    return library.validator_for(schema, default=Draft202012Validator)


@lru_cache(maxsize=16)
def bounded(dialect: Any) -> Any:
    """Derive the same dialect in steps that are each quick, and that end when the time is up.

    Patterns are RE2's alone. Used within `time_limit`.
    """
    keywords: dict[str, Keyword] = {
        **dialect.VALIDATORS,
        "pattern": _pattern,
        "uniqueItems": _unique_items,
    }
    return _extended(dialect, {name: _timed(keyword) for name, keyword in keywords.items()})


@lru_cache(maxsize=16)
def with_quick_patterns(dialect: Any) -> Any:
    """Derive the same dialect, in which a pattern takes linear time wherever RE2 knows it.

    Lookarounds and back-references are the user's own choice: Python's `re` knows them.
    """
    slow: Keyword = dialect.VALIDATORS["pattern"]

    def pattern(
        validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
    ) -> Iterator[Any]:
        try:
            re2_pattern(pattern)
        except ValueError:
            yield from slow(validator, pattern, instance, schema) or ()
        else:
            yield from _pattern(validator, pattern, instance, schema)

    return _extended(dialect, {"pattern": pattern})


@lru_cache(maxsize=256)
def re2_pattern(pattern: str) -> Any:
    """Compile a pattern that takes time linear in the text, where `re` can take exponentially long.

    Raises:
        ValueError: RE2 does not take it.
    """
    try:
        return compile_pattern(to_bytes(pattern))
    except ValueError as error:
        raise ValueError(f"pattern {clipped(repr(pattern))} is no RE2 pattern: {error}") from None


def _extended(dialect: Any, keywords: Mapping[str, Keyword]) -> Any:
    from jsonschema import validators

    library: Any = validators
    return library.extend(dialect, validators=keywords)


def _timed(keyword: Keyword) -> Keyword:
    """Let a keyword raise `Unchecked` once the time is up."""

    def timed(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if time.monotonic() > _deadline.get():
            raise Unchecked(
                f"checking it against the schema took more than {CHECK_SECONDS:g} seconds: "
                "use a simpler schema"
            )
        yield from keyword(validator, value, instance, schema) or ()

    return timed


def _pattern(
    validator: Any, pattern: str, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    from jsonschema import ValidationError

    if isinstance(instance, str) and not re2_pattern(pattern).search(to_bytes(instance)):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique_items(
    validator: Any, unique: bool, instance: Any, schema: Mapping[str, Any]
) -> Iterator[Any]:
    """Compare items by their text; comparing each with each takes quadratically long."""
    from jsonschema import ValidationError

    if not unique or not is_list(instance):
        return
    if len({canonical(item) for item in instance}) < len(instance):
        yield ValidationError("it has equal items, and they must be unique")
