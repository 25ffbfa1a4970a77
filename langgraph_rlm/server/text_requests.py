"""Text requests: the body of `POST /v1/completions`, as a chat of one message. Asks no model."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.invalid import invalid
from langgraph_rlm.server.messages import kind_of
from langgraph_rlm.server.requests import ChatRequest, Name, checked_request, json_object

Prompt = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[list[str], Field(min_length=1, max_length=1), Tag("(other)")],
    Discriminator(kind_of),
]


class TextRequest(BaseModel):
    """The body of a completion. What is not named here is as in a chat completion."""

    model_config = ConfigDict(extra="allow")

    model: Name
    prompt: Prompt

    def chat(self) -> ChatRequest:
        """Give the chat that asks the same."""
        text = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        given = {
            name: value for name, value in (self.model_extra or {}).items() if value is not None
        }
        for name in NEUTRAL:
            given.pop(name, None)
        messages = [{"role": "user", "content": text}]
        return checked_request({**given, "model": self.model, "messages": messages})


NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "logprobs": (),
}
"""What cannot be had, with the values that ask for nothing."""

WHY: Mapping[str, str] = {
    "n": "a request gives one answer. Send it again for another",
    "best_of": "a request gives one answer. Send it again for another",
    "echo": "an answer does not repeat its prompt: put it in front yourself",
    "suffix": "nothing is inserted into a text: say in the prompt what comes after",
    "logprobs": "an answer is a run's, and has no log probabilities",
}
OF_CHATS = ("messages", "tools", "tool_choice", "response_format", "functions", "function_call")
"""Fields that only a chat completion has."""


def parse_text_request(body: bytes) -> ChatRequest:
    """Read the request in a body, as the chat that asks the same.

    Raises:
        Refused: the body is not JSON, a field is missing or wrong, or it asks for what the server
            does not have.
    """
    given = json_object(body)
    for name, neutral in NEUTRAL.items():
        if given.get(name) not in (None, *neutral):
            message = f"{name} is not supported: {WHY[name]}."
            raise Refused(400, message, param=name, code="unsupported_parameter")
    for name in OF_CHATS:
        if given.get(name) is not None:
            message = f"{name} is no field of a completion: use POST /v1/chat/completions."
            raise Refused(400, message, param=name, code="unsupported_parameter")
    try:
        return TextRequest.model_validate(given).chat()
    except ValidationError as error:
        raise invalid(error, given) from None
