"""Requests: the body of a chat completion, checked, and as LangChain's messages. Never asks a model."""

import json
from typing import Annotated, Any, Literal, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import from_json

from langgraph_rlm.pregel.keys import OPENAI_ROLE
from langgraph_rlm.server.errors import Refused

Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Part(BaseModel):
    """One part of a content: text, or what only the model itself understands (`image_url`, `input_audio`, `file`)."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Part":
        given = self.text if self.type == "text" else (self.model_extra or {}).get(self.type)
        if given is None or (self.type == "refusal" and not isinstance(given, str)):
            raise ValueError(f"a part of type {self.type!r} needs {self.type!r}")
        return self


Content = str | list[Part]


class Instructions(BaseModel):
    """A `system` or `developer` message."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None

    def message(self) -> BaseMessage:
        """As LangChain's OpenAI models mark it."""
        kwargs: dict[str, Any] = {OPENAI_ROLE: "developer"} if self.role == "developer" else {}
        return SystemMessage(
            content=_content(self.content), name=self.name, additional_kwargs=kwargs
        )


class User(BaseModel):
    """What a user says."""

    role: Literal["user"]
    content: Content
    name: str | None = None

    def message(self) -> BaseMessage:
        """A human message."""
        return HumanMessage(content=_content(self.content), name=self.name)


class Called(BaseModel):
    """The function of a tool call, its arguments as text."""

    name: str
    arguments: str


class ToolCalled(BaseModel):
    """A tool call of an earlier reply."""

    id: str
    type: Literal["function"] = "function"
    function: Called


class Assistant(BaseModel):
    """An earlier reply."""

    role: Literal["assistant"]
    content: Content | None = None
    name: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCalled] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Assistant":
        if self.content is None and not self.tool_calls and self.refusal is None:
            raise ValueError("an assistant's message needs content or tool_calls")
        return self

    def message(self) -> BaseMessage:
        """A reply; calls whose arguments are no JSON object stay what they are."""
        calls, broken = [], []
        for call in self.tool_calls or []:
            args = _arguments(call.function.arguments)
            if args is None:
                broken.append(
                    {
                        "type": "invalid_tool_call",
                        "name": call.function.name,
                        "args": call.function.arguments,
                        "id": call.id,
                        "error": None,
                    }
                )
            else:
                calls.append(
                    {"type": "tool_call", "name": call.function.name, "args": args, "id": call.id}
                )
        content = _content(self.content if self.content is not None else self.refusal or "")
        return AIMessage(
            content=content, name=self.name, tool_calls=calls, invalid_tool_calls=broken
        )


class ToolResult(BaseModel):
    """What a tool gave."""

    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(min_length=1)]

    def message(self) -> BaseMessage:
        """The result of one call."""
        return ToolMessage(content=_content(self.content), tool_call_id=self.tool_call_id)


Message = Annotated[Instructions | User | Assistant | ToolResult, Field(discriminator="role")]


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
        """The tool as LangChain takes it."""
        function = self.function.model_dump(exclude_none=True)
        return {
            "type": "function",
            "function": {"description": "", "parameters": {"type": "object", "properties": {}}}
            | function,
        }


class ChosenFunction(BaseModel):
    """The name of a tool."""

    name: str


class Choice(BaseModel):
    """The one tool that has to be called."""

    type: Literal["function"]
    function: ChosenFunction


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
    """Text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: Schema | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("type 'json_schema' needs json_schema")
        return self


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`. Fields that are not named here go to the upstream as they are."""

    model_config = ConfigDict(extra="allow")

    model: Name
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    include_reasoning: bool | None = None
    """Whether the run's progress comes as `reasoning_content`."""
    n: int | None = None
    stop: str | Annotated[list[str], Field(max_length=16)] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | Choice | None = None
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

    def langchain_messages(self) -> list[BaseMessage]:
        """The conversation."""
        return [message.message() for message in self.messages]

    def bound(self) -> dict[str, Any]:
        """What the request sets of a call to the model, tools apart."""
        given = {name: getattr(self, name) for name in _SAMPLING if getattr(self, name) is not None}
        if (most := self.max_completion_tokens or self.max_tokens) is not None:
            given["max_tokens"] = most
        if self.stop:
            given["stop"] = [self.stop] if isinstance(self.stop, str) else self.stop
        if self.response_format is not None and self.response_format.type != "text":
            given["response_format"] = self.response_format.model_dump(
                exclude_none=True, by_alias=True
            )
        if self.model_extra:
            given["extra_body"] = self.model_extra
        return given

    def tool_settings(self) -> dict[str, Any]:
        """What `bind_tools` is given beside the tools."""
        choice = (
            self.tool_choice.model_dump()
            if isinstance(self.tool_choice, Choice)
            else self.tool_choice
        )
        given = {"tool_choice": choice, "parallel_tool_calls": self.parallel_tool_calls}
        return {name: value for name, value in given.items() if value is not None}


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
    """The request of a body.

    Raises:
        Refused: it is no JSON, or asks for what there is not.
        ValidationError: a field is missing or wrong.
    """
    try:
        given = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise Refused(400, f"The body is not JSON: {error}", code="invalid_json") from None
    if not isinstance(given, dict):
        raise Refused(400, "The body has to be a JSON object.", code="invalid_json")
    request = ChatRequest.model_validate(given)
    _check(request)
    return request


def _check(request: ChatRequest) -> None:
    if request.n not in (None, 1):
        raise Refused(
            400,
            f"n={request.n}: a request gives one answer. Send it again for another.",
            param="n",
            code="unsupported_value",
        )
    for name, value in (request.model_extra or {}).items():
        if value and name in _CANNOT:
            raise Refused(
                400,
                f"{name} is not supported: {_CANNOT[name]}.",
                param=name,
                code="unsupported_parameter",
            )
    if "audio" in cast(Any, (request.model_extra or {}).get("modalities") or []):
        raise Refused(
            400, "modalities: answers are text.", param="modalities", code="unsupported_value"
        )
    if request.tool_choice not in (None, "none", "auto") and not request.tools:
        raise Refused(400, "tool_choice needs tools.", param="tool_choice", code="invalid_value")
    names = [tool.function.name for tool in request.tools or []]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise Refused(
            400, f"There are two tools named {twice!r}.", param="tools", code="invalid_value"
        )
    if isinstance(request.tool_choice, Choice) and request.tool_choice.function.name not in names:
        raise Refused(
            400,
            f"tool_choice names {request.tool_choice.function.name!r}, which is not among the tools.",
            param="tool_choice",
        )


def _content(content: Content) -> Any:
    """Text as text, also where it came as one part; other parts as they are."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and content[0].type == "text":
        return content[0].text
    return [
        {"type": "text", "text": (part.model_extra or {})["refusal"]}
        if part.type == "refusal"
        else part.model_dump(exclude_none=True)
        for part in content
    ]


def _arguments(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return None
    return cast(dict[str, Any], value) if isinstance(value, dict) else None
