"""Items: what a request's `input` is a list of, checked, and as the messages of a chat.

Never asks a model.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)
from pydantic import ValidationError as PydanticError

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.messages import kind_of
from langgraph_rlm.server.responses.ids import item_id
from langgraph_rlm.storage.json_types import is_dict

TEXTS = ("input_text", "output_text", "text")
"""Types of parts that are a text."""

NO_FILES = "files are not taken by id: give the data itself"


class Part(BaseModel):
    """One part of a content."""

    model_config = ConfigDict(extra="allow")

    type: Literal[
        "input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"
    ]
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_data: str | None = None
    filename: str | None = None
    input_audio: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Part":
        extra = self.model_extra or {}
        if self.type in ("input_image", "input_file") and extra.get("file_id"):
            raise ValueError(NO_FILES)
        if self.type == "input_file" and extra.get("file_url"):
            raise ValueError("an address is never fetched here: give file_data")
        needed = _needed(self.type)
        if getattr(self, needed) is None:
            raise ValueError(f"a part of type {self.type!r} needs {needed!r}")
        return self

    def chat_part(self) -> dict[str, Any]:
        """Give the part as a chat completion has it."""
        if self.type in TEXTS:
            return {"type": "text", "text": self.text}
        if self.type == "refusal":
            return {"type": "refusal", "refusal": self.refusal}
        if self.type == "input_image":
            image = {"url": self.image_url}
            if self.detail is not None:
                image["detail"] = self.detail
            return {"type": "image_url", "image_url": image}
        if self.type == "input_audio":
            return {"type": "input_audio", "input_audio": self.input_audio}
        file = {"file_data": self.file_data, "filename": self.filename or "file"}
        return {"type": "file", "file": file}


def _needed(type: str) -> str:
    """Name the field that a part of a type has to have."""
    if type in TEXTS:
        return "text"
    fields = {"input_image": "image_url", "input_file": "file_data"}
    return fields.get(type, type)


Content = Annotated[
    Annotated[str, Tag("(text)")] | Annotated[list[Part], Tag("(other)")], Discriminator(kind_of)
]


def _chat_content(content: Content) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    return [part.chat_part() for part in content]


class Item(BaseModel):
    """What all items have; further fields are kept as they are."""

    model_config = ConfigDict(extra="allow")

    id: str | None = None
    status: str | None = None


class MessageItem(Item):
    """What somebody says."""

    type: Literal["message"]
    role: Literal["user", "assistant", "system", "developer"]
    content: Content

    def said(self) -> dict[str, Any]:
        """Give the message of a chat."""
        return {"role": self.role, "content": _chat_content(self.content)}


class CallItem(Item):
    """A function that an earlier reply called."""

    type: Literal["function_call"]
    call_id: Annotated[str, Field(min_length=1)]
    name: str
    arguments: str

    def called(self) -> dict[str, Any]:
        """Give the tool call of a chat."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": self.call_id, "type": "function", "function": function}


class ResultItem(Item):
    """What a function gave."""

    type: Literal["function_call_output"]
    call_id: Annotated[str, Field(min_length=1)]
    output: Content

    def said(self) -> dict[str, Any]:
        """Give the message of a chat."""
        content = _chat_content(self.output)
        return {"role": "tool", "tool_call_id": self.call_id, "content": content}


class ReasoningItem(Item):
    """Progress of an earlier reply, which no model is told again."""

    type: Literal["reasoning"]


class ReferenceItem(BaseModel):
    """An item of a stored response, by its id."""

    type: Literal["item_reference"]
    id: str


def _with_type(item: Any) -> Any:
    """Clients leave the type out of messages, and of references with an id alone."""
    if not is_dict(item) or item.get("type") is not None:
        return item
    if "id" in item and "role" not in item:
        return {**item, "type": "item_reference"}
    return {**item, "type": "message"}


AnyItem = Annotated[
    Annotated[
        MessageItem | CallItem | ResultItem | ReasoningItem | ReferenceItem,
        Field(discriminator="type"),
    ],
    BeforeValidator(_with_type),
]


class _Items(BaseModel):
    items: list[AnyItem]


def items_from(given: Sequence[Mapping[str, Any]]) -> list[AnyItem]:
    """Read items that were kept.

    Raises:
        Refused: another version of the server kept what this one does not know.
    """
    try:
        return _Items.model_validate({"items": given}).items
    except PydanticError as error:
        message = f"The conversation before cannot be read: {error.errors()[0]['msg']}."
        raise Refused(400, message, param="previous_response_id") from None


def user_item(text: str) -> dict[str, Any]:
    """Give a text as what a user says."""
    return {"type": "message", "role": "user", "content": text}


def messages_of(items: Sequence[AnyItem]) -> list[dict[str, Any]]:
    """Give items as the messages of a chat. Calls that follow one another are of one reply."""
    messages: list[dict[str, Any]] = []
    is_reply = False
    for item in items:
        if isinstance(item, ReasoningItem | ReferenceItem):
            continue
        if isinstance(item, CallItem):
            if not is_reply:
                messages.append({"role": "assistant", "content": None})
            messages[-1].setdefault("tool_calls", []).append(item.called())
            is_reply = True
            continue
        messages.append(item.said())
        is_reply = isinstance(item, MessageItem) and item.role == "assistant"
    return messages


def listed_items(response: str, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the items of an input as `GET /v1/responses/ID/input_items` lists them."""
    return [_listed(response, index, item) for index, item in enumerate(items)]


def _listed(response: str, index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    type = str(item["type"])
    id = item.get("id") or item_id(response, type, "i", index)
    listed = {**item, "id": id, "status": item.get("status") or "completed"}
    if type != "message":
        return listed
    is_reply = item["role"] == "assistant"
    return {**listed, "content": _listed_content(item["content"], is_reply=is_reply)}


def _listed_content(content: Any, *, is_reply: bool) -> list[dict[str, Any]]:
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return [_listed_part(part, is_reply=is_reply) for part in parts]


def _listed_part(part: Mapping[str, Any], *, is_reply: bool) -> dict[str, Any]:
    if part["type"] == "input_image":
        return {"detail": "auto", **part}
    if part["type"] not in TEXTS:
        return {**part}
    if is_reply:
        return {"annotations": [], **part, "type": "output_text"}
    return {**part, "type": "input_text"}
