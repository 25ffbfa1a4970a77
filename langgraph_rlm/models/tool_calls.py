"""Tool calls as upstreams send them, made ordinary: one index, one id, one name, arguments as text.

Upstreams send calls that share index 0, ids that are empty, repeated or new in every piece, names
in every piece, arguments as an object instead of its text. Whoever answers such a call cannot say
which one. Every way out of a model leads through here: streamed pieces through `CallStream`, whole
messages through `with_ordinary_calls`. Never calls a model.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from langchain_core.messages import AIMessage, BaseMessage, ToolCallChunk
from langchain_core.messages.tool import tool_call_chunk

LONGEST_ID = 256
"""Characters of an id; a longer one is replaced."""


def ids_in(messages: Iterable[BaseMessage]) -> set[str]:
    """Give the ids of the tool calls in a conversation: a new call needs another one."""
    taken: set[str] = set()
    for message in messages:
        if isinstance(message, AIMessage):
            calls = [*message.tool_calls, *message.invalid_tool_calls]
            taken.update(call["id"] for call in calls if call["id"])
    return taken


class Ids:
    """The ids of the calls of one conversation, each given once."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._taken = set(taken)

    def give(self, wanted: object) -> str:
        """Give the id that an upstream wants for a new call; another one if that is no id, or
        taken."""
        id = wanted if _is_id(wanted) and wanted not in self._taken else _new_id()
        self._taken.add(id)
        return id


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value.strip()) <= LONGEST_ID and value.isprintable()


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def arguments_text(arguments: object) -> str:
    """Give a call's arguments, or a piece of them, as text; an object is its JSON."""
    if arguments is None:
        return ""
    if isinstance(arguments, str):
        return arguments
    return json.dumps(arguments, ensure_ascii=False)


# Whole messages


def with_ordinary_calls(reply: AIMessage, taken: Iterable[str] = ()) -> AIMessage:
    """Give a reply whose calls have ids that nothing else in the conversation has.

    Args:
        reply: a whole message.
        taken: ids of earlier calls: see `ids_in`.
    """
    ids = Ids(taken)
    calls = [{**call, "id": ids.give(call["id"])} for call in reply.tool_calls]
    broken = [{**call, "id": ids.give(call["id"])} for call in reply.invalid_tool_calls]
    if calls == reply.tool_calls and broken == reply.invalid_tool_calls:
        return reply
    return reply.model_copy(update={"tool_calls": calls, "invalid_tool_calls": broken})


def pieces_of(reply: AIMessage) -> list[ToolCallChunk]:
    """Give the calls of a whole message as the pieces of a stream, one for each call."""
    calls: list[Mapping[str, Any]] = [*reply.tool_calls, *reply.invalid_tool_calls]
    return [
        tool_call_chunk(
            name=call["name"], args=arguments_text(call["args"]), id=call["id"], index=index
        )
        for index, call in enumerate(calls)
    ]


# Streams


@dataclass
class _Object:
    """Whether a text is one whole JSON object so far. Each character is looked at once."""

    depth: int = 0
    is_whole: bool = False
    _in_string: bool = False
    _is_escaped: bool = False

    def add(self, text: str) -> None:
        for char in text:
            if self._in_string:
                self._read_in_string(char)
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self.depth += 1
                self.is_whole = False
            elif char in "}]":
                self.depth -= 1
                self.is_whole = self.depth == 0

    def _read_in_string(self, char: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif char == "\\":
            self._is_escaped = True
        elif char == '"':
            self._in_string = False


@dataclass
class _OpenCall:
    """A call of which pieces may follow."""

    index: int
    """In what is given on."""
    upstream_id: str
    """As its first pieces had it; empty where they had none."""
    name: str = ""
    arguments: _Object = field(default_factory=_Object)


class CallStream:
    """The tool calls of one reply while it streams, as ordinary pieces."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """Begin a reply.

        Args:
            taken: ids of earlier calls in the conversation: see `ids_in`.
        """
        self._ids = Ids(taken)
        self._count = 0
        self._at: dict[object, _OpenCall] = {}
        """The newest call at each index of the upstream's."""
        self._last: _OpenCall | None = None

    @property
    def count(self) -> int:
        """How many calls there were so far."""
        return self._count

    def feed(self, pieces: Sequence[Mapping[str, Any]]) -> list[ToolCallChunk]:
        """Give pieces on, in LangChain's form.

        Args:
            pieces: each with `name`, `args`, `id` and `index`, any of them missing or None.
        """
        return [self._feed(piece) for piece in pieces]

    def _feed(self, piece: Mapping[str, Any]) -> ToolCallChunk:
        name = str(piece.get("name") or "")
        given_id = str(piece.get("id") or "")
        text = arguments_text(piece.get("args"))
        index = piece.get("index")
        if not isinstance(index, int | str):
            index = None
        call = self._last if index is None else self._at.get(index)
        id: str | None = None
        if call is None or _begins_another(call, name, given_id, text):
            call = self._begin(given_id)
            id = self._ids.give(given_id)
        self._at[index] = self._last = call
        new_name = name if not call.name else ""
        call.name = call.name or name
        call.upstream_id = call.upstream_id or given_id
        call.arguments.add(text)
        return tool_call_chunk(name=new_name or None, args=text, id=id, index=call.index)

    def _begin(self, upstream_id: str) -> _OpenCall:
        call = _OpenCall(self._count, upstream_id)
        self._count += 1
        return call


def _begins_another(call: _OpenCall, name: str, id: str, text: str) -> bool:
    """Whether a piece at the index of a call belongs to another one.

    It needs a name for that: some upstreams give every piece of one call an id of its own. Others
    repeat name and id in every piece, so these begin another call only where they differ, or where
    more arguments follow those that are whole.
    """
    if not name or not call.name:
        return False
    if name != call.name or (id and call.upstream_id and id != call.upstream_id):
        return True
    return call.arguments.is_whole and bool(text)
