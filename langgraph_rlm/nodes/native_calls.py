"""Native calls: external tools that the root model calls by itself, without code. From its message to the log, and back to messages."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.messages import AIMessage, ToolCall, ToolMessage

from langgraph_rlm.log.entries import (
    CallEntry,
    Log,
    LogEntry,
    NativeCall,
    ReplyEntry,
    TurnEntry,
    error_entry,
)
from langgraph_rlm.log.places import call_place, item_place, native_places, reply_at
from langgraph_rlm.log.text import clip
from langgraph_rlm.repl.requests import Request, tool_request
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.tools import BadArguments


@dataclass
class Called:
    """The native calls of one reply; those that cannot be made are answered already."""

    calls: list[NativeCall] = field(default_factory=list[NativeCall])
    entries: Log = field(default_factory=dict[str, LogEntry])

    def __bool__(self) -> bool:
        return bool(self.calls)


def native_calls(reply: AIMessage, turn: int, rlm: RLMRuntime) -> Called:
    """The tool calls of a reply as log entries. A wrong name or wrong arguments become an answer that says so."""
    called = Called()
    made: list[tuple[Mapping[str, Any], str | None]] = [(call, None) for call in reply.tool_calls]
    made += [
        ({**call, "args": {}}, f"The arguments are not valid JSON: {call['args']!r}.")
        for call in reply.invalid_tool_calls
    ]
    for ordinal, (call, problem) in enumerate(made if rlm.native_tools else ()):
        place = call_place(str(turn), ordinal)
        request, problem = _request(call, problem, rlm)
        called.calls.append(
            NativeCall(name=call["name"] or "", id=call["id"] or f"call_{turn}_{ordinal}")
        )
        called.entries[place] = rlm.requests.entry(request)
        if problem is not None:
            called.entries[item_place(place, 0)] = error_entry(problem)
    return called


def _request(
    call: Mapping[str, Any], problem: str | None, rlm: RLMRuntime
) -> tuple[Request, str | None]:
    tools = {tool.name: tool for tool in rlm.toolset.root.values() if tool.is_external}
    name, arguments = call["name"] or "", cast(dict[str, Any], call["args"])
    tool = tools.get(name)
    if tool is None:
        problem = f"There is no tool {name!r} to call this way. There are: {', '.join(tools)}. Functions of the REPL are called in code."
        return Request("tool", name, {"name": name, "arguments": arguments}, 1), problem
    try:
        if problem is None:
            tool.check(arguments)
    except BadArguments as error:
        problem = str(error)
    return tool_request(tool, arguments), problem


def native_messages(
    number: int, turn: TurnEntry, log: Mapping[str, LogEntry], rlm: RLMRuntime
) -> list[tuple[ToolCall, ToolMessage]]:
    """Each native call of a turn with its result, as the conversation shows them."""
    shown: list[tuple[ToolCall, ToolMessage]] = []
    for place, call in native_places(number, turn).items():
        arguments = rlm.requests.payload(cast(CallEntry, log[place])["request"])["arguments"]
        result = _result(reply_at(log, item_place(place, 0)), call, rlm)
        shown.append(
            (ToolCall(type="tool_call", name=call["name"], args=arguments, id=call["id"]), result)
        )
    return shown


def _result(reply: ReplyEntry | None, call: NativeCall, rlm: RLMRuntime) -> ToolMessage:
    if reply is None or reply["value"] is None:
        error = (
            "no result: the conversation went on without it" if reply is None else reply["error"]
        )
        return ToolMessage(
            f"Error: {error}", tool_call_id=call["id"], name=call["name"], status="error"
        )
    text = rlm.blobs.get_text(reply["value"])
    value = json.loads(text)
    shown = clip(value if isinstance(value, str) else text, limit=rlm.limits.max_output_chars)
    return ToolMessage(shown, tool_call_id=call["id"], name=call["name"])
