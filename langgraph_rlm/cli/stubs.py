"""Stubs: a model whose replies cost nothing, and values that fit a JSON schema. For dry runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from langgraph_rlm.budget.ledger import CHARS_PER_TOKEN
from langgraph_rlm.storage.json_types import is_array, is_dict

REPLY = "(dry run: nobody was asked)"
ASKS_FOR_SCHEMA = "matches this JSON schema"
"""What stands before the schema in every prompt that asks for a value."""
DEEPEST = 20
"""Levels of a schema that a value is made for."""


class StubModel(BaseChatModel):
    """A chat model that answers at once: with a fixed text, or with a value of the schema that its
    prompt asks for. A child RLM that it is the root of answers with its first turn."""

    model_name: str = "stub"
    reply_tokens: int = 300
    """Tokens that each reply is thought to have."""

    @property
    def _llm_type(self) -> str:
        return "stub"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chars = sum(len(message.text) for message in messages)
        sent = chars // CHARS_PER_TOKEN
        usage = UsageMetadata(
            input_tokens=sent,
            output_tokens=self.reply_tokens,
            total_tokens=sent + self.reply_tokens,
        )
        reply = AIMessage(_reply(messages), usage_metadata=usage)
        return ChatResult(generations=[ChatGeneration(message=reply)])


def _reply(messages: Sequence[BaseMessage]) -> str:
    is_child = isinstance(messages[0], SystemMessage)
    asked = messages[0].text if is_child else messages[-1].text
    schema = _schema_in(asked)
    value: Any = REPLY if schema is None else stub_value(schema)
    if is_child:
        return f"```repl\nFINAL({value!r})\n```"
    return REPLY if schema is None else json.dumps(value)


def _schema_in(prompt: str) -> Any:
    """Find the JSON schema that a prompt ends with; None where it asks for none."""
    _, asks, after = prompt.rpartition(ASKS_FOR_SCHEMA)
    if not asks or "{" not in after:
        return None
    try:
        return json.JSONDecoder().raw_decode(after, after.index("{"))[0]
    except ValueError:
        return None


def stub_value(schema: Any) -> Any:
    """Make a value that fits a JSON schema, as small as it says.

    It knows types, required properties, enums, the first of alternatives, references within, and
    limits of length and size. Of `pattern` and `format` it knows dates and times alone.
    """
    return _value(schema, schema, 0)


def _value(schema: Any, whole: Any, depth: int) -> Any:
    if not is_dict(schema) or depth > DEEPEST:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    if "$ref" in schema:
        return _value(_resolved(schema["$ref"], whole), whole, depth + 1)
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _value(schema[key][0], whole, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= part
        return _value(merged, whole, depth + 1)
    return _of_type(schema, whole, depth)


def _resolved(reference: str, whole: Any) -> Any:
    """Follow a reference into the schema itself, `#/$defs/Item`."""
    found: Any = whole
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = dict[str, Any](found).get(name) if is_dict(found) else None
    return found


def _of_type(schema: Mapping[str, Any], whole: Any, depth: int) -> Any:
    kind: Any = schema.get("type")
    if is_array(kind):
        kind = kind[0]
    if kind == "object" or (kind is None and "properties" in schema):
        fields: dict[str, Any] = schema.get("properties", {})
        names: Sequence[str] = schema.get("required", [])
        return {name: _value(fields.get(name, {}), whole, depth + 1) for name in names}
    if kind == "array":
        count = max(1, schema.get("minItems", 1))
        return [_value(schema.get("items", {}), whole, depth + 1)] * count
    if kind in ("integer", "number"):
        return _number(schema)
    if kind == "boolean":
        return False
    if kind == "null":
        return None
    return _string(schema)


def _number(schema: Mapping[str, Any]) -> Any:
    """Give the least number that is allowed, or zero."""
    step = schema.get("multipleOf", 1)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if least is None:
        return 0 if most is None or most > 0 else most - step
    found = -(-least // step) * step
    is_excluded = "minimum" not in schema and found == least
    return found + step if is_excluded else found


def _string(schema: Mapping[str, Any]) -> str:
    known = {"date": "2000-01-01", "time": "00:00:00Z", "date-time": "2000-01-01T00:00:00Z"}
    text = known.get(schema.get("format", ""), REPLY)
    text = text.ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]
