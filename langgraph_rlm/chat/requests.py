"""Requests: what a call of the chat model asks for, from the options that `ChatOpenAI` takes. Never calls a model."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict, cast

from langgraph_rlm.errors import ConfigurationError, InputError
from langgraph_rlm.schemas.answers import Format, user_format

NOT_FOR_MODELS = (
    "ls_structured_output_format",
    "structured_output_format",
    "stream",
    "stream_options",
    "stream_usage",
)
ANY_OBJECT: dict[str, Any] = {"type": "object"}
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


class Settings(TypedDict):
    """What a run was begun with and is continued with, whatever a later call says."""

    tools: list[dict[str, Any]]
    """OpenAI functions that code may call and the caller runs."""
    schema: dict[str, Any] | None
    """JSON schema of the answer."""
    calls: list[str]
    """Tools of which the answer has to be a call: `schema` is then one's arguments, or of several `{"name", "arguments"}`."""


@dataclass(frozen=True)
class Request:
    """One call."""

    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """OpenAI functions."""
    tool_options: dict[str, Any] = field(default_factory=dict[str, Any])
    """`tool_choice`, `parallel_tool_calls` and `strict`, where given."""
    forced: list[str] = field(default_factory=list[str])
    """Names of the tools of which the model has to call one."""
    response_format: Any = None
    """As `openai_format` gives it."""
    form: Format | None = None
    """That of the answer, forced calls included."""
    stop: list[str] = field(default_factory=list[str])
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters, passed on to the root model."""

    @property
    def settings(self) -> Settings:
        """What has to be kept for the run."""
        schema = None if self.form is None else self.form.schema
        return Settings(tools=[] if self.forced else self.tools, schema=schema, calls=self.forced)

    @property
    def one_call_at_a_time(self) -> bool:
        """The caller takes one tool call in a reply."""
        return self.tool_options.get("parallel_tool_calls") is False


def request_of(stop: Sequence[str] | str | None, options: Mapping[str, Any]) -> Request:
    """A request from a call's options.

    Raises:
        InputError: `tools`, `tool_choice` or `response_format` is wrong.
    """
    given = {
        key: value
        for key, value in options.items()
        if key not in NOT_FOR_MODELS and value is not None
    }
    tools = _functions(given.pop("tools", None) or [])
    tool_options = {
        key: given.pop(key)
        for key in ("tool_choice", "parallel_tool_calls", "strict")
        if key in given
    }
    choice = tool_options.pop("tool_choice", None)
    if choice in ("none", False):
        tools = []
    response_format, forced = given.pop("response_format", None), _forced(choice, tools)
    if forced:
        tool_options["tool_choice"] = choice
        form = _checked(
            _schema_of_call([tool for tool in tools if tool["function"]["name"] in forced])
        )
    else:
        form = None if response_format is None else _form(response_format)
    given_stop = [stop] if isinstance(stop, str) else list(stop or ())
    given_format = None if response_format is None else openai_format(response_format)
    return Request(
        tools, tool_options if tools else {}, forced, given_format, form, given_stop, given
    )


def _functions(tools: Sequence[Any]) -> list[dict[str, Any]]:
    from langchain_core.utils.function_calling import convert_to_openai_tool

    converted: list[dict[str, Any]] = []
    for tool in tools:
        try:
            made = convert_to_openai_tool(tool)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"tools: {tool!r} is no tool: {error}") from error
        if made.get("type") != "function":
            raise InputError(f"tools: only tools of type 'function' can be bound, got {tool!r}.")
        converted.append(made)
    return converted


def _forced(choice: Any, tools: list[dict[str, Any]]) -> list[str]:
    """The tools of which one has to be called."""
    names = [cast(str, tool["function"]["name"]) for tool in tools]
    if choice in (None, "auto", "none", False) or (
        isinstance(choice, Mapping) and cast(Any, choice).get("type") in ("auto", "none")
    ):
        return []
    if choice in ("any", "required", True) or (
        isinstance(choice, Mapping) and cast(Any, choice).get("type") == "any"
    ):
        return names
    wanted = cast(Any, choice)
    if isinstance(choice, Mapping):
        wanted = cast(Any, choice).get("function", cast(Any, choice)).get("name")
    if wanted not in names:
        raise InputError(
            f"tool_choice={choice!r} names no tool that is bound: {', '.join(names) or 'there are none'}."
        )
    return [wanted]


def _schema_of_call(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one tool its arguments; of several, one object for each."""
    from langchain_core.utils.json_schema import dereference_refs

    schemas = {
        tool["function"]["name"]: _closed(
            tool["function"].get("parameters") or {"type": "object", "properties": {}}
        )
        for tool in tools
    }
    if len(schemas) == 1:
        return next(iter(schemas.values()))
    return {
        "title": "Call of one tool",
        "oneOf": [
            {
                "type": "object",
                "description": tool["function"].get("description", ""),
                "properties": {
                    "name": {"const": tool["function"]["name"]},
                    "arguments": {
                        k: v
                        for k, v in dereference_refs(schemas[tool["function"]["name"]]).items()
                        if k != "$defs"
                    },
                },
                "required": ["name", "arguments"],
            }
            for tool in tools
        ],
    }


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the tool does not have are refused, as in code."""
    return {"additionalProperties": False, **schema}


def _form(given: Any) -> Format:
    if isinstance(given, Mapping) and cast(Any, given).get("type") == "json_object":
        return _checked(ANY_OBJECT)
    if isinstance(given, Mapping) and cast(Any, given).get("type") == "json_schema":
        return _checked(_inner(cast(Mapping[str, Any], given)).get("schema", ANY_OBJECT))
    return _checked(dict(cast(Mapping[str, Any], given)) if isinstance(given, Mapping) else given)


def _checked(schema: Any) -> Format:
    try:
        return user_format(schema)
    except ConfigurationError as error:
        raise InputError(str(error)) from error


def _inner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = given.get("json_schema")
    if not isinstance(inner, Mapping):
        raise InputError(
            f"response_format of type 'json_schema' needs 'json_schema': {{'name': ..., 'schema': ...}}, got {dict(given)!r}."
        )
    return cast(Mapping[str, Any], inner)


def openai_format(given: Any) -> dict[str, Any]:
    """A response format as OpenAI's API has it."""
    if isinstance(given, Mapping) and cast(Any, given).get("type") in (
        "json_schema",
        "json_object",
        "text",
    ):
        return dict(cast(Mapping[str, Any], given))
    schema = _form(given).schema
    return {
        "type": "json_schema",
        "json_schema": {
            "name": str(schema.get("title") or "answer").replace(" ", "_"),
            "schema": schema,
        },
    }


def settings_text(settings: Settings) -> str:
    """As the blob store keeps them."""
    return json.dumps(settings, ensure_ascii=False)
