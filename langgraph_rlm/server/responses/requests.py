"""Requests: the body of `POST /v1/responses`, checked, and what of it makes a chat completion.

Never asks a model.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.invalid import invalid
from langgraph_rlm.server.messages import kind_of
from langgraph_rlm.server.requests import (
    ChatRequest,
    Name,
    checked_request,
    json_object,
    refuse_fields,
)
from langgraph_rlm.server.responses.items import AnyItem, user_item
from langgraph_rlm.storage.json_types import is_dict, is_list

Input = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[list[AnyItem], Field(min_length=1), Tag("(other)")],
    Discriminator(kind_of),
]


class FunctionTool(BaseModel):
    """A function that the client runs."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None

    def chat_tool(self) -> dict[str, Any]:
        """Give the tool of a chat completion."""
        known = ("name", "description", "parameters", "strict")
        given = {name: getattr(self, name) for name in known}
        function = {name: value for name, value in given.items() if value is not None}
        return {"type": "function", "function": function}


class NamedTool(BaseModel):
    """A function, by its name."""

    type: Literal["function"]
    name: str


class AllowedTools(BaseModel):
    """Some of the functions."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: Annotated[list[NamedTool], Field(min_length=1)]


ChosenTool = Annotated[NamedTool | AllowedTools, Field(discriminator="type")]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("(text)")]
    | Annotated[ChosenTool, Tag("(other)")],
    Discriminator(kind_of),
]


class TextFormat(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    type: Literal["text", "json_object", "json_schema"]
    name: str | None = None
    form: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    description: str | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "TextFormat":
        if self.type == "json_schema" and self.form is None:
            raise ValueError("type 'json_schema' needs schema")
        return self

    def chat_format(self) -> dict[str, Any] | None:
        """Give the `response_format` of a chat completion; None for any text."""
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {"type": "json_object"}
        given = {
            "name": self.name or "answer",
            "schema": self.form,
            "strict": self.strict,
            "description": self.description,
        }
        schema = {name: value for name, value in given.items() if value is not None}
        return {"type": "json_schema", "json_schema": schema}


class TextOptions(BaseModel):
    """How an answer is written."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(BaseModel):
    """How much is thought, and whether the client sees the progress."""

    model_config = ConfigDict(extra="allow")

    effort: str | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    """The older name of `summary`."""

    @property
    def is_shown(self) -> bool:
        """Whether progress comes as summaries."""
        return bool(self.summary or self.generate_summary)


class StreamOptions(BaseModel):
    """How to stream: there is nothing here that they change."""

    model_config = ConfigDict(extra="allow")


class ResponseRequest(BaseModel):
    """The body of `POST /v1/responses`. Unknown fields go to the upstream as they are."""

    model_config = ConfigDict(extra="allow")

    model: Name
    input: Input
    instructions: str | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    store: bool | None = None
    background: bool | None = None
    tools: list[FunctionTool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    max_output_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    user: str | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: int | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the response can be asked for later."""
        return self.store is not False

    @property
    def shows_reasoning(self) -> bool:
        """Whether progress comes as reasoning summaries."""
        return self.reasoning is not None and self.reasoning.is_shown

    @property
    def items(self) -> Sequence[AnyItem]:
        """The input as items."""
        if isinstance(self.input, str):
            return Single.model_validate({"item": user_item(self.input)}).items
        return self.input

    def chat(self, messages: Sequence[Mapping[str, Any]]) -> ChatRequest:
        """Give the chat completion that asks the same.

        Args:
            messages: the conversation, without the instructions.

        Raises:
            Refused: it asks for what there is not.
        """
        instructions: list[Mapping[str, Any]] = []
        if self.instructions:
            instructions = [{"role": "system", "content": self.instructions}]
        given: dict[str, Any] = {**(self.model_extra or {}), **self._chat_options()}
        given |= {"model": self.model, "messages": [*instructions, *messages]}
        return checked_request({name: value for name, value in given.items() if value is not None})

    def _chat_options(self) -> dict[str, Any]:
        text, reasoning = self.text or TextOptions(), self.reasoning or Reasoning()
        tools, choice = self._chat_tools()
        return {
            "tools": tools or None,
            "tool_choice": choice,
            "parallel_tool_calls": self.parallel_tool_calls if tools else None,
            "response_format": text.format and text.format.chat_format(),
            "verbosity": text.verbosity,
            "reasoning_effort": reasoning.effort,
            "max_completion_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "user": self.user,
        }

    def _chat_tools(self) -> tuple[list[dict[str, Any]], Any]:
        """Give the tools, and which of them to call, as a chat completion has them."""
        tools, choice = self.tools or [], self.tool_choice
        if isinstance(choice, AllowedTools):
            names = {tool.name for tool in choice.tools}
            tools = [tool for tool in tools if tool.name in names]
            return [tool.chat_tool() for tool in tools], choice.mode
        if isinstance(choice, NamedTool):
            named = {"type": "function", "function": {"name": choice.name}}
            return [tool.chat_tool() for tool in tools], named
        return [tool.chat_tool() for tool in tools], choice


class Single(BaseModel):
    """One item."""

    item: AnyItem

    @property
    def items(self) -> list[AnyItem]:
        """It, as a list."""
        return [self.item]


_CANNOT = {
    "conversation": "name the response before with previous_response_id",
    "prompt": "give the prompt's text as instructions and input",
    "context_management": "a long conversation is summed up by itself",
    "moderation": "ask a moderation model",
    "top_logprobs": "an answer is a run's, and has no log probabilities",
    "background_options": "a background response has no time by which it is done",
    "modalities": "answers are text",
}
"""What cannot be had: refused, never ignored."""

_OF_CHATS = {
    "messages": "input",
    "response_format": "text.format",
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "n": None,
    "reasoning_effort": "reasoning.effort",
}
"""Fields of chat completions, with what there is instead."""

_NOT_SENT = ("access_programs", "image", "prompt_cache_options")
"""Fields that mean nothing to an upstream's chat completions, and nothing here."""


def parse_response_request(body: bytes) -> ResponseRequest:
    """Read the request in a body.

    Raises:
        Refused: the body is not JSON, a field is missing or wrong, or it asks for what the server
            does not have.
    """
    return response_request(json_object(body))


def response_request(given: Mapping[str, Any]) -> ResponseRequest:
    """Check a request. Raises `Refused` as `parse_response_request` does."""
    known = {name: value for name, value in given.items() if name not in _NOT_SENT}
    refuse_fields(known, _CANNOT)
    for name, instead in _OF_CHATS.items():
        if known.get(name) is not None:
            hint = f": use {instead}" if instead else ""
            message = f"{name} is no field of a response{hint}."
            raise Refused(400, message, param=name, code="unknown_parameter")
    _check_tools(known)
    try:
        request = ResponseRequest.model_validate(known)
    except ValidationError as error:
        raise invalid(error, known) from None
    if request.background and not request.is_kept:
        message = "A background response has to be stored: leave store out, or set it to true."
        raise Refused(400, message, param="store", code="invalid_value")
    if "message.output_text.logprobs" in (request.include or ()):
        message = "include: an answer is a run's, and has no log probabilities."
        raise Refused(400, message, param="include", code="unsupported_value")
    return request


def _check_tools(given: Mapping[str, Any]) -> None:
    """Refuse OpenAI's own tools by their names."""
    tools = given.get("tools")
    choice = given.get("tool_choice")
    wanted = [*(tools if is_list(tools) else []), *([choice] if is_dict(choice) else [])]
    for tool in wanted:
        type = tool.get("type") if is_dict(tool) else None
        if isinstance(type, str) and type not in ("function", "allowed_tools"):
            message = (
                f"The tool {type!r} is OpenAI's own, and is not here: give a function that does "
                "it, or a model of the server with such tools."
            )
            raise Refused(400, message, param="tools", code="unsupported_tool")
