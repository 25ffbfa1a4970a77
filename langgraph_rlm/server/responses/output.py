"""Output: the items of a response as a chat model's message grows, and the events that tell of it.

Never asks a model. An event here has no number yet: see `events.py`.
"""

import json
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, ToolCallChunk

from langgraph_rlm.models.tool_calls import CallStream, pieces_of, with_ordinary_calls
from langgraph_rlm.server.replies import reasoning_of, refusal_of
from langgraph_rlm.server.responses.ids import item_id

Event = dict[str, Any]

TEXT = "output_text"
REFUSAL = "refusal"


class Output:
    """The items of one response."""

    def __init__(self, response: str, *, has_reasoning: bool) -> None:
        """Begin.

        Args:
            response: its id, which those of the items lead to.
            has_reasoning: whether the client sees the run's progress.
        """
        self.items: list[dict[str, Any]] = []
        self.usage: Any = None
        self.metadata: dict[str, Any] = {}
        """The model's `response_metadata`."""
        self._response = response
        self._has_reasoning = has_reasoning
        self._open: int | None = None
        """The reasoning or the message that grows."""
        self._calls = CallStream()
        self._call_items: dict[int, int] = {}
        """Items of calls, by the calls' numbers."""

    def whole(self, message: AIMessage) -> Iterator[Event]:
        """Take a whole message."""
        pieces = pieces_of(with_ordinary_calls(message))
        chunk = AIMessageChunk(
            content=message.content,
            additional_kwargs=message.additional_kwargs,
            response_metadata=message.response_metadata,
            usage_metadata=message.usage_metadata,
        )
        yield from self._said(chunk, str(message.text))
        yield from self._called(pieces)

    def chunk(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """Take what the model says next."""
        yield from self._said(chunk, str(chunk.text))
        if chunk.tool_call_chunks:
            pieces = [ToolCallChunk(**piece) for piece in chunk.tool_call_chunks]
            yield from self._called(self._calls.feed([{**piece} for piece in pieces]))

    def again(self, items: list[dict[str, Any]]) -> Iterator[Event]:
        """Take the items of a response that is over, each in one piece."""
        for item in items:
            if item["type"] == "reasoning":
                yield from self._thought(item["summary"][0]["text"])
            elif item["type"] == "function_call":
                name, args, id = item["name"], item["arguments"], item["call_id"]
                index = len(self._call_items)
                yield from self._called([ToolCallChunk(name=name, args=args, id=id, index=index)])
            else:
                for part in item["content"]:
                    yield from self._grown(part["type"], part[_field(part["type"])])
        if items:
            yield from self.end()

    def end(self) -> Iterator[Event]:
        """Close the items. An answer without anything is an empty text."""
        if all(item["type"] == "reasoning" for item in self.items):
            yield from self._grown(TEXT, "")
        yield from self._close()
        for index in self._call_items.values():
            item = self.items[index]
            place = {"item_id": item["id"], "output_index": index}
            yield {
                "type": "response.function_call_arguments.done",
                **place,
                "arguments": item["arguments"],
            }
            yield self._done(index)

    # What is said

    def _said(self, chunk: AIMessageChunk, text: str) -> Iterator[Event]:
        self.metadata |= chunk.response_metadata
        if chunk.usage_metadata:
            self.usage = chunk.usage_metadata
        thought = reasoning_of(chunk) if self._has_reasoning else ""
        if thought:
            yield from self._thought(thought)
        if text:
            yield from self._grown(TEXT, text)
        refusal = refusal_of(chunk)
        if refusal:
            yield from self._grown(REFUSAL, refusal)

    def _thought(self, text: str) -> Iterator[Event]:
        if self._open is None or self.items[self._open]["type"] != "reasoning":
            yield from self._close()
            yield from self._begin({"type": "reasoning", "summary": []})
            part = {"type": "summary_text", "text": ""}
            item = self._grows()
            item["summary"].append({**part})
            yield {"type": "response.reasoning_summary_part.added", **self._summary(), "part": part}
        self._grows()["summary"][0]["text"] += text
        yield {"type": "response.reasoning_summary_text.delta", **self._summary(), "delta": text}

    def _grown(self, kind: str, text: str) -> Iterator[Event]:
        """Add to the message, whose parts are one after the other."""
        if self._open is None or self.items[self._open]["type"] != "message":
            yield from self._close()
            yield from self._begin({"type": "message", "role": "assistant", "content": []})
        parts = self._grows()["content"]
        if not parts or parts[-1]["type"] != kind:
            if parts:
                yield from self._part_done()
            parts.append(_new_part(kind))
            part = _new_part(kind)
            yield {"type": "response.content_part.added", **self._part_place(), "part": part}
        parts[-1][_field(kind)] += text
        delta: Event = {"type": f"response.{kind}.delta", **self._part_place(), "delta": text}
        if kind == TEXT:
            delta["logprobs"] = []
        yield delta

    def _part_done(self) -> Iterator[Event]:
        part = self._grows()["content"][-1]
        field = _field(part["type"])
        done: Event = {
            "type": f"response.{part['type']}.done",
            **self._part_place(),
            field: part[field],
        }
        if part["type"] == TEXT:
            done["logprobs"] = []
        yield done
        yield {"type": "response.content_part.done", **self._part_place(), "part": {**part}}

    def _close(self) -> Iterator[Event]:
        """End the reasoning or the message that grows, if there is one."""
        if self._open is None:
            return
        item = self._grows()
        if item["type"] == "reasoning":
            part = item["summary"][0]
            text = {"text": part["text"]}
            yield {"type": "response.reasoning_summary_text.done", **self._summary(), **text}
            done = {"type": "response.reasoning_summary_part.done", **self._summary()}
            yield {**done, "part": {**part}}
        else:
            yield from self._part_done()
        yield self._done(self._open)
        self._open = None

    # What is called

    def _called(self, pieces: list[ToolCallChunk]) -> Iterator[Event]:
        for piece in pieces:
            number = piece["index"] or 0
            if number not in self._call_items:
                yield from self._close()
                yield self._new_call(number, piece)
            index = self._call_items[number]
            item = self.items[index]
            if piece["args"]:
                item["arguments"] += piece["args"]
                place = {"item_id": item["id"], "output_index": index}
                delta = {"type": "response.function_call_arguments.delta", **place}
                yield {**delta, "delta": piece["args"]}

    def _new_call(self, number: int, piece: ToolCallChunk) -> Event:
        item = {
            "type": "function_call",
            "call_id": piece["id"],
            "name": piece["name"],
            "arguments": "",
        }
        self._call_items[number] = len(self.items)
        return self._added(item)

    # Items

    def _begin(self, item: dict[str, Any]) -> Iterator[Event]:
        yield self._added(item)
        self._open = len(self.items) - 1

    def _added(self, item: dict[str, Any]) -> Event:
        index = len(self.items)
        id = item_id(self._response, item["type"], "o", index)
        self.items.append({"id": id, **item, "status": "in_progress"})
        return self._event("response.output_item.added", index)

    def _done(self, index: int) -> Event:
        self.items[index]["status"] = "completed"
        return self._event("response.output_item.done", index)

    def _event(self, type: str, index: int) -> Event:
        # a copy: the item grows after this
        item: dict[str, Any] = json.loads(json.dumps(self.items[index]))
        return {"type": type, "output_index": index, "item": item}

    def _grows(self) -> dict[str, Any]:
        assert self._open is not None
        return self.items[self._open]

    def _place(self) -> dict[str, Any]:
        return {"item_id": self._grows()["id"], "output_index": self._open}

    def _summary(self) -> dict[str, Any]:
        return {**self._place(), "summary_index": 0}

    def _part_place(self) -> dict[str, Any]:
        return {**self._place(), "content_index": len(self._grows()["content"]) - 1}


def _new_part(kind: str) -> dict[str, Any]:
    if kind == TEXT:
        return {"type": TEXT, "text": "", "annotations": [], "logprobs": []}
    return {"type": REFUSAL, "refusal": ""}


def _field(kind: str) -> str:
    return "text" if kind == TEXT else "refusal"
