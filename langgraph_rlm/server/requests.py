"""Requests: the body of a chat completion, checked. Never asks a model."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from langchain_core.messages import BaseMessage
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import from_json

from langgraph_rlm.models.sampling import EXTRA_BODY
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.invalid import invalid
from langgraph_rlm.server.messages import Message, kind_of
from langgraph_rlm.storage.json_types import is_dict

Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Function(BaseModel):
    """A tool that the caller runs."""

    model_config = ConfigDict(extra="allow")

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(BaseModel):
    """OpenAI's `function` tool."""

    type: Literal["function"]
    function: Function

    def given(self) -> dict[str, Any]:
        """Give the tool in the form that LangChain takes."""
        parameters: dict[str, Any] = {"type": "object", "properties": {}}
        function: dict[str, Any] = {"description": "", "parameters": parameters}
        function |= self.function.model_dump(exclude_none=True)
        return {"type": "function", "function": function}


class ChosenFunction(BaseModel):
    """The name of a tool."""

    name: str


class Choice(BaseModel):
    """The one tool that has to be called."""

    type: Literal["function"]
    function: ChosenFunction


ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("(text)")]
    | Annotated[Choice, Tag("(other)")],
    Discriminator(kind_of),
]
Stop = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[list[str], Field(max_length=16), Tag("(other)")],
    Discriminator(kind_of),
]


class StreamOptions(BaseModel):
    """How to stream."""

    include_usage: bool | None = None


class Schema(BaseModel):
    """The form of an answer."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    form: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None
    description: str | None = None


class ResponseFormat(BaseModel):
    """Text, any JSON object, or JSON that matches a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type 'json_schema' needs json_schema")
        return self


_SAMPLING = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "logit_bias",
    "reasoning_effort",
    "verbosity",
    "user",
)
"""Fields that go to the upstream under their own names, or what its provider calls them."""
_UNUSED = ("metadata", "store")
"""Fields that mean nothing here: replies are not kept for the client to read."""


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`. Unknown fields go to the upstream as they are."""

    model_config = ConfigDict(extra="allow")

    model: Name
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include_reasoning: bool | None = None
    """Whether the run's progress comes as `reasoning_content`."""
    n: int | None = None
    stop: Stop | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def langchain_messages(self) -> list[BaseMessage]:
        """Give the conversation."""
        return [message.message() for message in self.messages]

    def bound(self) -> dict[str, Any]:
        """Give what the request sets for a call to the model, except tools and sampling."""
        given: dict[str, Any] = {}
        max_tokens = self.max_completion_tokens or self.max_tokens
        if max_tokens is not None:
            given["max_tokens"] = max_tokens
        if self.stop:
            given["stop"] = [self.stop] if isinstance(self.stop, str) else self.stop
        form = self.response_format
        if form is not None and form.type != "text":
            given["response_format"] = form.model_dump(exclude_none=True, by_alias=True)
        return given

    def sampling(self) -> dict[str, Any]:
        """Give the sampling parameters, under OpenAI's names; what is unknown is in `extra_body`,
        without fields that are null."""
        all_of_them = {name: getattr(self, name) for name in _SAMPLING}
        given = {name: value for name, value in all_of_them.items() if value is not None}
        unknown = self.model_extra or {}
        extra = {name: value for name, value in unknown.items() if value is not None}
        if extra:
            given[EXTRA_BODY] = extra
        return given

    def unused(self) -> list[str]:
        """Name the fields that are set, and mean nothing here."""
        return [name for name in _UNUSED if getattr(self, name)]

    def tool_settings(self) -> dict[str, Any]:
        """Give what `bind_tools` takes besides the tools."""
        given: dict[str, Any] = {}
        if isinstance(self.tool_choice, Choice):
            given["tool_choice"] = self.tool_choice.model_dump()
        elif self.tool_choice is not None:
            given["tool_choice"] = self.tool_choice
        if self.parallel_tool_calls is not None:
            given["parallel_tool_calls"] = self.parallel_tool_calls
        return given


_CANNOT = {
    "functions": "it is deprecated: use tools",
    "function_call": "it is deprecated: use tool_choice",
    "audio": "answers are text",
    "logprobs": "an answer is a run's, and has no log probabilities",
    "top_logprobs": "an answer is a run's, and has no log probabilities",
    "web_search_options": "give the search as a tool",
}
"""What would change an answer and cannot be had: refused, never ignored."""


def parse_request(body: bytes) -> ChatRequest:
    """Read the request in a body.

    Raises:
        Refused: the body is not JSON, a field is missing or wrong, or it asks for what the server
            does not have.
    """
    return checked_request(json_object(body))


def checked_request(given: dict[str, Any]) -> ChatRequest:
    """Check the request of a chat. Raises `Refused` as `parse_request` does."""
    try:
        request = ChatRequest.model_validate(given)
    except ValidationError as error:
        raise invalid(error, given) from None
    _check(request)
    _check_tools(request)
    return request


def json_object(body: bytes) -> dict[str, Any]:
    """Read the JSON object in a body.

    Raises:
        Refused: it is none.
    """
    try:
        given: object = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}", code="invalid_json") from None
    if not is_dict(given):
        raise Refused(400, "The body has to be a JSON object.", code="invalid_json")
    return {**given}


def refuse_fields(given: Mapping[str, Any], cannot: Mapping[str, str]) -> None:
    """Refuse what a request has that there is not.

    Args:
        given: the fields of the request.
        cannot: why not, by the names of fields.
    """
    for name, why in cannot.items():
        if given.get(name):
            message = f"{name} is not supported: {why}."
            raise Refused(400, message, param=name, code="unsupported_parameter")


def _check(request: ChatRequest) -> None:
    if request.n not in (None, 1):
        message = f"n={request.n}: a request gives one answer. Send it again for another."
        raise Refused(400, message, param="n", code="unsupported_value")
    extra = request.model_extra or {}
    refuse_fields(extra, _CANNOT)
    if "audio" in (extra.get("modalities") or []):
        message = "modalities: answers are text."
        raise Refused(400, message, param="modalities", code="unsupported_value")


def _check_tools(request: ChatRequest) -> None:
    choice = request.tool_choice
    if choice not in (None, "none", "auto") and not request.tools:
        message = "tool_choice needs tools."
        raise Refused(400, message, param="tool_choice", code="invalid_value")
    names = [tool.function.name for tool in request.tools or []]
    for name in names:
        if names.count(name) > 1:
            message = f"There are two tools named {name!r}."
            raise Refused(400, message, param="tools", code="invalid_value")
    if isinstance(choice, Choice) and choice.function.name not in names:
        message = f"tool_choice names {choice.function.name!r}, which is not among the tools."
        raise Refused(400, message, param="tool_choice")
