"""Sendable: a chat as providers take it, for a model that is asked directly. Asks none."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langgraph_rlm.chat.shapes import is_mapping
from langgraph_rlm.models.replies import EMPTY_REPLY
from langgraph_rlm.storage.context import encodable


def sendable(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Give the messages of a chat, none of them an empty reply, without lone surrogates."""
    return [_sendable(message) for message in messages]


def _sendable(message: BaseMessage) -> BaseMessage:
    content: Any = message.content
    if isinstance(content, str):
        sent: Any = encodable(content)
    else:
        sent = [_block(block) for block in content]
    if isinstance(message, AIMessage) and _is_empty(message):
        sent = EMPTY_REPLY
    return message if sent == content else message.model_copy(update={"content": sent})


def _block(block: Any) -> Any:
    if isinstance(block, str):
        return encodable(block)
    if is_mapping(block) and isinstance(block.get("text"), str):
        return {**block, "text": encodable(block["text"])}
    return block


def _is_empty(reply: AIMessage) -> bool:
    """Whether a reply has neither text nor anything else, such as a tool call or a picture."""
    if reply.tool_calls or reply.invalid_tool_calls or str(reply.text).strip():
        return False
    return not reply.content or isinstance(reply.content, str)
