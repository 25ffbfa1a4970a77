"""Annotations: a JSON schema as a Python annotation, as the prompt shows it. Checks nothing."""

import keyword
from collections.abc import Mapping, Sequence
from typing import Any

from langgraph_rlm.errors import SHOWN_CHARS
from langgraph_rlm.errors import shown as shown_value
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

SHOWN_PARTS = 200
"""Most parts of a schema that are shown: one that refers to itself has no end of them."""

SHOWN_VALUES = 50
"""Most values of an enumeration that are shown."""


def annotation(schema: Any, whole: Schema) -> str:
    """Show a JSON schema as a Python annotation; an object with known fields as `{'name': str}`.

    Args:
        schema: what to show.
        whole: the schema that its `$ref`s point into.
    """
    return _Annotations(whole).shown(schema, 0)


def as_name(name: str) -> str:
    """Give the name of a parameter as a signature shows it.

    One that is no name in Python is shown as text: code gives it as `**{'an-id': 1}`.
    """
    is_name = name.isidentifier() and not keyword.iskeyword(name) and len(name) <= SHOWN_CHARS
    return name if is_name else shown_value(name).replace("`", "'")


def shown_name(name: str) -> str:
    """Give a tool's own name as the prompt shows it: on one line, and within its backticks."""
    is_plain = name.isprintable() and "`" not in name and len(name) <= SHOWN_CHARS
    return name if is_plain else as_value(name)


class _Annotations:
    """Shows the parts of one schema."""

    def __init__(self, whole: Schema) -> None:
        self._whole = whole
        self._left = SHOWN_PARTS

    def shown(self, schema: Any, depth: int) -> str:
        """Show a part. `depth` is how many objects it is inside of."""
        self._left -= 1
        if self._left < 0 or not is_dict(schema):
            return "any"
        if "$ref" in schema:
            found = _resolved(str(schema["$ref"]), self._whole)
            if found is None or depth >= SHOWN_DEPTH:
                return "dict"
            return self.shown(found, depth + 1)
        if "enum" in schema:
            return _values(schema["enum"])
        if "const" in schema:
            return _values([schema["const"]])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return _either([self.shown(each, depth) for each in schema[several]])
        return self._of_type(schema, depth)

    def _of_type(self, schema: Schema, depth: int) -> str:
        kind: Any = schema.get("type")
        if is_list(kind):
            return " | ".join(PYTHON_NAMES.get(str(each), "any") for each in kind)
        if kind == "array" and isinstance(schema.get("items"), Mapping):
            return f"list[{self.shown(schema['items'], depth)}]"
        if kind == "object" and schema.get("properties") and depth < SHOWN_DEPTH:
            return f"{{{self._fields(schema['properties'], depth)}}}"
        return PYTHON_NAMES.get(str(kind), "any")

    def _fields(self, properties: Mapping[str, Any], depth: int) -> str:
        shown: list[str] = []
        for name, field in properties.items():
            if self._left <= 0:
                return ", ".join([*shown, "..."])
            shown.append(f"{as_value(name)}: {self.shown(field, depth + 1)}")
        return ", ".join(shown)


def _values(values: Sequence[Any]) -> str:
    shown = [as_value(value) for value in values[:SHOWN_VALUES]]
    return " | ".join([*shown, "..."] if len(values) > SHOWN_VALUES else shown)


def as_value(value: Any) -> str:
    """Show a value of a schema, which may be any text: on one line, and within its backticks."""
    return shown_value(value).replace("`", "'")


def _either(shown: Sequence[str]) -> str:
    return " | ".join(dict.fromkeys(shown))


def _resolved(reference: str, whole: Schema) -> Schema | None:
    """Find the schema that a `$ref` points to; None if it is not within the whole."""
    found: Any = whole
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not is_dict(found):
            return None
        found = found.get(part)
    return found if is_dict(found) else None
