"""Prompts: what a model is sent, in the form that its client takes. Asks nobody."""

from langchain_core.messages import AnyMessage

from langgraph_rlm.models.roles import in_order
from langgraph_rlm.models.wrapped import Model
from langgraph_rlm.runtime.windows import chars_of, texts_of
from langgraph_rlm.storage.context import encodable


def sendable(prompt: str | list[AnyMessage], model: Model) -> str | list[AnyMessage]:
    """Give a prompt as the model's client takes it: without lone surrogates, which clients cannot
    encode, and in the order of roles that the model wants."""
    if isinstance(prompt, str):
        return encodable(prompt)
    ordered = in_order(prompt, model)
    if "".join(texts_of(ordered)).isascii():
        return ordered
    return [_encodable_message(message) for message in ordered]


def _encodable_message(message: AnyMessage) -> AnyMessage:
    if not isinstance(message.content, str):
        return message
    text = encodable(message.content)
    return message if text == message.content else message.model_copy(update={"content": text})


def length_of(prompt: str | list[AnyMessage]) -> int:
    """Count the characters of a prompt."""
    if isinstance(prompt, str):
        return len(prompt)
    return chars_of(prompt)
