"""Content: messages as the semantic conventions for generative AI write them, in JSON.

Pictures, sounds and files are told of by their kind alone.
"""

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage

ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}
"""The conventions' roles, by LangChain's types of messages."""


def message_parts(given: Any) -> str:
    """Write a prompt: a text, or messages."""
    messages: Sequence[AnyMessage] = given
    if isinstance(given, str):
        return value_text([{"role": "user", "parts": [_text(given)]}])
    return value_text([_message(message) for message in messages])


def reply_parts(reply: AIMessage) -> str:
    """Write what a model replied."""
    about = reply.response_metadata
    reason = about.get("finish_reason") or about.get("stop_reason") or "stop"
    return value_text([{**_message(reply), "finish_reason": reason}])


def value_text(value: Any) -> str:
    """Write any value."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _message(message: BaseMessage) -> dict[str, Any]:
    role = ROLES.get(message.type, message.type)
    if isinstance(message, ToolMessage):
        part = {
            "type": "tool_call_response",
            "id": message.tool_call_id,
            "response": str(message.text),
        }
        return {"role": role, "parts": [part]}
    content: Any = message.content
    blocks: list[Any] = [content] if isinstance(content, str) else content
    parts = [_part(block) for block in blocks if block]
    if isinstance(message, AIMessage):
        parts += [
            {"type": "tool_call", "id": call["id"], "name": call["name"], "arguments": call["args"]}
            for call in message.tool_calls
        ]
    return {"role": role, "parts": parts}


def _part(block: Any) -> dict[str, Any]:
    if isinstance(block, str):
        return _text(block)
    if isinstance(block.get("text"), str):
        return _text(block["text"])
    return {"type": "blob", "modality": str(block.get("type", "other"))}


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "content": text}
