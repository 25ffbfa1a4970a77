"""Requests: what a call of the chat model asks for, read from the options that `ChatOpenAI` takes.

Never calls a model.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

from langchain_core.messages import ToolCallChunk
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.json_schema import dereference_refs

from langgraph_rlm.chat.shapes import is_mapping
from langgraph_rlm.errors import ConfigurationError, InputError
from langgraph_rlm.schemas.answers import Format, user_format
from langgraph_rlm.storage.json_types import is_whole

NOT_FOR_MODELS = (
    "ls_structured_output_format",
    "structured_output_format",
    "stream",
    "stream_options",
    "stream_usage",
)
"""Options that LangChain adds for itself, or that say how a reply is sent."""
TOOL_OPTIONS = ("tool_choice", "parallel_tool_calls", "strict")
"""Options that mean something only where tools are bound."""

NOT_FORCED = (None, "auto", "none", False)
"""Values of `tool_choice` that force no call."""
FORCED = ("any", "required", True)
"""Values of `tool_choice` that force a call of any tool."""

ANSWER_OPTIONS = ("max_completion_tokens", "max_tokens")
"""Options that bound the answer. A model that is asked directly gets them; in a run, whose turns
write code, they cut the answer alone."""

ANY_OBJECT: dict[str, Any] = {"type": "object"}
NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}


class Settings(TypedDict):
    """What a run was begun with, and is continued with; see `Request.continued`."""

    tools: list[dict[str, Any]]
    """OpenAI functions that code may call and the caller runs."""
    schema: dict[str, Any] | None
    """JSON schema of the answer."""
    calls: list[str]
    """Names of the tools of which the answer has to be a call; empty for an answer of another form.

    For one tool, `schema` is then that of its arguments; for several, that of an object with `name`
    and `arguments`.
    """


@dataclass(frozen=True)
class Request:
    """What one call of the chat model asks for."""

    tools: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """OpenAI functions."""
    tool_options: dict[str, Any] = field(default_factory=dict[str, Any])
    """`tool_choice`, `parallel_tool_calls` and `strict`, where they are given."""
    forced: list[str] = field(default_factory=list[str])
    """Names of the tools of which the model has to call one."""
    response_format: Any = None
    """The form of the answer as OpenAI's API takes it; None where the call asks for none."""
    form: Format | None = None
    """The form of the answer as the run checks it, also where a call is forced."""
    stop: list[str] = field(default_factory=list[str])
    """Stop sequences."""
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters, passed on to the root model."""
    frees: bool = False
    """Whether the call says that no tool has to be called, as after one that was forced."""

    @property
    def settings(self) -> Settings:
        """What has to be kept for the run."""
        return Settings(tools=self.bound, schema=self._schema, calls=self.forced)

    @property
    def bound(self) -> list[dict[str, Any]]:
        """The tools that code may call: where a call is forced, those of which one has to be."""
        if not self.forced:
            return self.tools
        return [tool for tool in self.tools if tool["function"]["name"] in self.forced]

    @property
    def _schema(self) -> dict[str, Any] | None:
        return None if self.form is None else self.form.schema

    @property
    def max_tokens(self) -> int | None:
        """The most tokens of the answer, where the call says so."""
        return next((self.options[name] for name in ANSWER_OPTIONS if name in self.options), None)

    @property
    def turn_options(self) -> dict[str, Any]:
        """The sampling parameters of turns that write code."""
        return {key: value for key, value in self.options.items() if key not in ANSWER_OPTIONS}

    def after(self, tools: Sequence[dict[str, Any]]) -> Settings:
        """Give the settings of a question that follows others, whose tools are `tools`.

        Code of before has called them, and calls them again where it is replayed.
        """
        return Settings(tools=_joined(tools, self.bound), schema=self._schema, calls=self.forced)

    def continued(self, settings: Settings) -> Settings:
        """Give the settings of a run that this call continues.

        The tools that it binds are added. Whether the answer has to be a tool call is as this call
        says, where it says anything: a client may force the first call alone, and then ask for the
        answer in words.
        """
        tools = _joined(settings["tools"], self.bound)
        if self.forced or (self.frees and settings["calls"]):
            return Settings(tools=tools, schema=self._schema, calls=self.forced)
        return Settings(tools=tools, schema=settings["schema"], calls=settings["calls"])

    @property
    def one_call_at_a_time(self) -> bool:
        """Whether the caller takes only one tool call in a reply."""
        return self.tool_options.get("parallel_tool_calls") is False

    def taken_pieces(self, pieces: Sequence[ToolCallChunk]) -> list[ToolCallChunk]:
        """Give the pieces of tool calls that the caller takes: of all calls, or the first, or none
        where it has no tools. Not every provider lets a model be told so."""
        if not self.tools:
            return []
        return [piece for piece in pieces if not (self.one_call_at_a_time and piece["index"])]


def _joined(
    tools: Sequence[dict[str, Any]], more: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Add tools to others, except those whose names there are already."""
    names = {tool["function"]["name"] for tool in tools}
    return [*tools, *(tool for tool in more if tool["function"]["name"] not in names)]


def settings_text(settings: Settings) -> str:
    """Write settings as the blob store keeps them."""
    return json.dumps(settings, ensure_ascii=False)


def settings_from(text: str | bytes) -> Settings:
    """Read what `settings_text` wrote."""
    settings: Settings = json.loads(text)
    return settings


def request_of(stop: Sequence[str] | str | None, options: Mapping[str, Any]) -> Request:
    """Read a request from a call's options.

    Raises:
        InputError: `tools`, `tool_choice`, `response_format` or `max_tokens` is wrong.
    """
    left = {
        key: value
        for key, value in options.items()
        if key not in NOT_FOR_MODELS and value is not None
    }
    tools = _openai_tools(left.pop("tools", None) or [])
    tool_options = {key: left.pop(key) for key in TOOL_OPTIONS if key in left}
    choice = tool_options.pop("tool_choice", None)
    frees = not _forced(choice, tools) and bool(tools or choice is not None)
    if choice in ("none", False):
        tools = []
    response_format = left.pop("response_format", None)
    _check_answer_options(left)
    forced = _forced(choice, tools)
    if forced:
        tool_options["tool_choice"] = choice
    form = _form(tools, forced, response_format)
    if response_format is not None:
        response_format = openai_format(response_format)
    if isinstance(stop, str):
        stop = [stop]
    return Request(
        tools=tools,
        tool_options=tool_options if tools else {},
        forced=forced,
        response_format=response_format,
        form=form,
        stop=list(stop or ()),
        options=left,
        frees=frees,
    )


def _check_answer_options(options: Mapping[str, Any]) -> None:
    for name in ANSWER_OPTIONS:
        value = options.get(name, 1)
        if not is_whole(value) or value < 1:
            raise InputError(f"{name}={value!r} must be a whole number of tokens, at least 1.")


def _form(tools: list[dict[str, Any]], forced: list[str], response_format: Any) -> Format | None:
    """Make the form of the answer: a forced call, else the response format; None for any text."""
    if forced:
        functions = [tool["function"] for tool in tools]
        return _checked(_call_schema([each for each in functions if each["name"] in forced]))
    if response_format is not None:
        return _checked(_schema_in(response_format))
    return None


# Tools


def _openai_tools(tools: Sequence[Any]) -> list[dict[str, Any]]:
    """Convert tools to OpenAI functions.

    Args:
        tools: OpenAI functions, JSON schemas, classes, functions, LangChain tools.

    Raises:
        InputError: one is no tool, or one that only a provider can run.
    """
    return [_openai_tool(tool) for tool in tools]


def _openai_tool(tool: Any) -> dict[str, Any]:
    try:
        made = convert_to_openai_tool(tool)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"tools: {tool!r} is no tool: {error}") from error
    if made.get("type") != "function":
        raise InputError(f"tools: only tools of type 'function' can be bound, got {tool!r}.")
    return made


def _forced(choice: Any, tools: list[dict[str, Any]]) -> list[str]:
    """Name the tools of which `tool_choice` says that one has to be called."""
    names: list[str] = [tool["function"]["name"] for tool in tools]
    wanted = choice
    if is_mapping(choice):
        if choice.get("type") in ("auto", "none"):
            return []
        if choice.get("type") == "any":
            return names
        wanted = choice.get("function", choice).get("name")
    elif choice in NOT_FORCED:
        return []
    elif choice in FORCED:
        return names
    if wanted not in names:
        bound = ", ".join(names) or "there are none"
        raise InputError(f"tool_choice={choice!r} names no tool that is bound: {bound}.")
    return [wanted]


def _call_schema(functions: list[dict[str, Any]]) -> dict[str, Any]:
    """Make the schema of a forced call: the only function's arguments, else an object for each."""
    arguments = {function["name"]: _arguments_schema(function) for function in functions}
    if len(arguments) == 1:
        return next(iter(arguments.values()))
    calls = [_named_call_schema(function, arguments[function["name"]]) for function in functions]
    return {"title": "Call of one tool", "oneOf": calls}


def _arguments_schema(function: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of a function's arguments. Others are refused, as they are in code."""
    return {"additionalProperties": False, **(function.get("parameters") or NO_ARGUMENTS)}


def _named_call_schema(function: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    """Make the schema of a call of one function among several."""
    flat = {key: value for key, value in dereference_refs(arguments).items() if key != "$defs"}
    return {
        "type": "object",
        "description": function.get("description", ""),
        "properties": {"name": {"const": function["name"]}, "arguments": flat},
        "required": ["name", "arguments"],
    }


def call_of(forced: Sequence[str], value: Any) -> dict[str, Any]:
    """Give the call that a value of a `_call_schema` is.

    Args:
        forced: names of the tools of which one has to be called.
        value: of the schema.
    """
    if len(forced) == 1:
        return {"name": forced[0], "args": value}
    return {"name": value["name"], "args": value["arguments"]}


# Forms of answers


def openai_format(given: Any) -> dict[str, Any]:
    """Write a response format as OpenAI's API takes it."""
    if is_mapping(given) and given.get("type") in ("json_schema", "json_object", "text"):
        return dict(given)
    schema = _checked(_schema_in(given)).schema
    name = str(schema.get("title") or "answer").replace(" ", "_")
    return {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}


def _schema_in(response_format: Any) -> Any:
    """Give the JSON schema or the type in a response format."""
    if not is_mapping(response_format):
        return response_format
    if response_format.get("type") == "json_object":
        return ANY_OBJECT
    if response_format.get("type") != "json_schema":
        return dict(response_format)
    inner = response_format.get("json_schema")
    if not is_mapping(inner):
        raise InputError(
            "response_format of type 'json_schema' needs 'json_schema': "
            f"{{'name': ..., 'schema': ...}}, got {dict(response_format)!r}."
        )
    return inner.get("schema", ANY_OBJECT)


def _checked(schema: Any) -> Format:
    try:
        return user_format(schema)
    except ConfigurationError as error:
        raise InputError(str(error)) from error
