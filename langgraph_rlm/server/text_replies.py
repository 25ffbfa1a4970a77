"""Text replies: a chat model's message as OpenAI's `text_completion`. Never asks a model."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk

from langgraph_rlm.server.replies import CUT, DONE, event, more_in, refusal_of, usage_of


class TextReplies:
    """The answer to one `POST /v1/completions`, as one body or as the events of a stream."""

    def __init__(self, model: str, *, has_usage: bool = False) -> None:
        """Give the answer its id; the arguments are those of `Replies`."""
        self._model = model
        self._has_usage = has_usage
        self._id = f"cmpl-{uuid.uuid4().hex}"
        self._created = int(time.time())
        self._usage: Any = None
        self._metadata: dict[str, Any] = {}

    def whole(self, message: AIMessage) -> bytes:
        """Give a `text_completion`; a refusal is its text."""
        text = message.text or refusal_of(message)
        metadata = message.response_metadata
        frame = self._frame(text, _finish(metadata), more_in(metadata))
        return json.dumps({**frame, "usage": usage_of(message.usage_metadata)}).encode()

    def chunk(self, chunk: AIMessageChunk) -> Iterator[bytes]:
        """Give what a client sees of a model's chunk: often nothing."""
        self._metadata |= chunk.response_metadata
        if chunk.usage_metadata:
            self._usage = chunk.usage_metadata
        text = chunk.text or refusal_of(chunk)
        if text:
            yield event(self._frame(text))

    def end(self) -> Iterator[bytes]:
        """Give the last events of a stream."""
        yield event(self._frame("", _finish(self._metadata), more_in(self._metadata)))
        if self._has_usage:
            last: dict[str, Any] = {
                **self._frame(""),
                "choices": [],
                "usage": usage_of(self._usage),
            }
            yield event(last)
        yield DONE

    def _frame(
        self,
        text: str,
        finish: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> dict[str, Any]:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
        return {
            "id": self._id,
            "object": "text_completion",
            "created": self._created,
            "model": self._model,
            "choices": [choice],
            **more,
        }


def _finish(metadata: Mapping[str, Any]) -> str:
    reason = metadata.get("finish_reason")
    return reason if reason in CUT else "stop"
