"""Text: values as text for readers and as canonical text for digests, and texts cut to what a model
may be shown."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic_core import PydanticSerializationError, to_json

CUT_CHARS = 100
"""More than the line that `clip` puts where it cuts."""


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal values give equal text. `value` must be as
    `plain` gives it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_texts(value: Mapping[str, Any]) -> str:
    """The same as `canonical` for a mapping to texts, lists of them, and lists of dicts whose keys
    are in order, in a fifth of the time: the prompts of a batch have megabytes."""
    try:
        return to_json(dict(sorted(value.items()))).decode()
    except PydanticSerializationError:  # lone surrogates
        return canonical(value)


def digest_of(canonical: str) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def plain(value: Any) -> Any:
    """A value of the guest as JSON values: tuples and sets become lists (sets sorted by text),
    other objects their `str`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        items = cast(Mapping[Any, Any], value).items()
        return {key if isinstance(key, str) else str(key): plain(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast(Sequence[Any], value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in cast(set[Any], value)), key=str)
    return str(value)


def answer_text(value: Any, rules: int) -> str:
    """Write an answer, or a context within a prompt, as text.

    Args:
        value: a str, which is given as it is, or anything else, which is written as JSON.
        rules: of the turn that it comes from (`log/reply.py`). By the rules 1 the keys of dicts
            were sorted; since then they keep their order.
    """
    if isinstance(value, str):
        return value
    return canonical(plain(value)) if rules == 1 else ordered(plain(value))


def ordered(value: Any) -> str:
    """JSON with the keys of dicts in their own order: what is kept for readers. Digests are made of
    `canonical`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def clip(text: str, *, limit: int) -> str:
    """Keep the head and the tail of what one cell printed.

    Args:
        text: a cell's stdout, any length.
        limit: most characters kept of `text`, both ends together; at least 2.

    Returns:
        `text` if it fits; else head, one line that counts what was left out, tail.

    Raises:
        ValueError: `limit` is below 2.
    """
    if limit < 2:
        raise ValueError(
            f"clip() keeps both ends of a text: limit={limit!r} is too small, give at least 2."
        )
    if len(text) <= limit:
        return text
    tail = limit // 2
    left_out = f"\n[... {len(text) - limit} characters left out ...]\n"
    return text[: limit - tail] + left_out + text[-tail:]


def shortened(text: str, most: int) -> str:
    """Cut a text of an entry, which was cut to the run's limit already, to a smaller window."""
    return text if len(text) <= most + CUT_CHARS else clip(text, limit=most)
