"""Messages: those of a chat completion, checked, and as LangChain's. Never asks a model."""

import json
from typing import Annotated, Any, Literal, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from langgraph_rlm.models.tool_calls import arguments_text
from langgraph_rlm.pregel.keys import OPENAI_ROLE


class Part(BaseModel):
    """One part of a content: text, or what only the model understands, such as `image_url`."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "image_url", "input_audio", "file", "refusal"]
    text: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Part":
        given = self.text if self.type == "text" else self._extra(self.type)
        if given is None or (self.type == "refusal" and not isinstance(given, str)):
            raise ValueError(f"a part of type {self.type!r} needs {self.type!r}")
        return self

    def _extra(self, name: str) -> Any:
        return (self.model_extra or {}).get(name)

    def block(self) -> dict[str, Any]:
        """Give the part as a content block; a refusal is text."""
        if self.type == "refusal":
            return {"type": "text", "text": self._extra("refusal")}
        return self.model_dump(exclude_none=True)


def kind_of(value: object) -> str:
    """Choose a branch by what was given, so that an error is about that branch alone."""
    return "(text)" if isinstance(value, str) else "(other)"


Content = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[list[Part], Tag("(other)")], Discriminator(kind_of)
]


def _content(content: Content) -> Any:
    """Give text as text, also where it came as one part; other parts as content blocks."""
    if isinstance(content, str):
        return content
    if len(content) == 1 and content[0].type == "text":
        return content[0].text
    return [part.block() for part in content]


class Instructions(BaseModel):
    """A `system` or `developer` message."""

    role: Literal["system", "developer"]
    content: Content
    name: str | None = None

    def message(self) -> BaseMessage:
        """Give a system message, marked as LangChain's OpenAI models mark a developer's."""
        kwargs: dict[str, Any] = {}
        if self.role == "developer":
            kwargs[OPENAI_ROLE] = "developer"
        content = _content(self.content)
        return SystemMessage(content=content, name=self.name, additional_kwargs=kwargs)


class User(BaseModel):
    """What a user says."""

    role: Literal["user"]
    content: Content
    name: str | None = None

    def message(self) -> BaseMessage:
        """Give a human message."""
        return HumanMessage(content=_content(self.content), name=self.name)


class Called(BaseModel):
    """The function of a tool call, with its arguments as text."""

    name: str
    arguments: Annotated[str, BeforeValidator(arguments_text)]
    """Some servers give an object, which comes back as it was."""

    def parsed(self) -> dict[str, Any] | None:
        """Give the arguments; None if they are not a JSON object."""
        try:
            value: Any = json.loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        return cast(dict[str, Any], value)


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
        """Give an AI message; calls whose arguments are not a JSON object stay as they are."""
        content = self.refusal or "" if self.content is None else self.content
        calls: list[dict[str, Any]] = []
        broken: list[dict[str, Any]] = []
        for call in self.tool_calls or []:
            given: dict[str, Any] = {"type": "tool_call", "name": call.function.name}
            args = call.function.parsed()
            if args is not None:
                calls.append({**given, "args": args, "id": call.id})
            else:
                given |= {"type": "invalid_tool_call", "args": call.function.arguments}
                broken.append({**given, "id": call.id, "error": None})
        return AIMessage(
            content=_content(content), name=self.name, tool_calls=calls, invalid_tool_calls=broken
        )


class ToolResult(BaseModel):
    """What a tool gave."""

    role: Literal["tool"]
    content: Content
    tool_call_id: Annotated[str, Field(min_length=1)]

    def message(self) -> BaseMessage:
        """Give the result of one call."""
        return ToolMessage(content=_content(self.content), tool_call_id=self.tool_call_id)


Message = Annotated[Instructions | User | Assistant | ToolResult, Field(discriminator="role")]
