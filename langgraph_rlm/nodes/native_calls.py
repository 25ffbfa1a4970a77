"""Native calls: external tools that the root model calls by itself, without code. From its message
to the log, and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, ToolCall, ToolMessage

from langgraph_rlm.log.entries import (
    Log,
    LogEntry,
    NativeCall,
    ReplyEntry,
    TurnEntry,
    error_entry,
)
from langgraph_rlm.log.places import (
    AnyLog,
    call_at,
    call_place,
    item_place,
    native_places,
    reply_at,
    turn_count,
    turns,
)
from langgraph_rlm.log.text import clip
from langgraph_rlm.repl.requests import Request, tool_request
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.tools import BadArguments, ExternalTool


@dataclass(frozen=True)
class Made:
    """One tool call as the model made it."""

    name: str
    arguments: dict[str, Any]
    id: str | None
    problem: str | None = None
    """Why it cannot be made."""


@dataclass
class Called:
    """The native calls of one reply, as log entries. Those that cannot be made are answered
    already."""

    calls: list[NativeCall] = field(default_factory=list[NativeCall])
    entries: Log = field(default_factory=dict[str, LogEntry])

    def __bool__(self) -> bool:
        return bool(self.calls)


def native_calls(reply: AIMessage, log: AnyLog, rlm: RLMRuntime) -> Called:
    """Make the tool calls of a reply log entries. A wrong name or wrong arguments become an answer
    that says so, and an id that is missing or was used before becomes one of our own.

    Args:
        reply: of the root model, for the next turn.
        log: of the RLM.
        rlm: knows the tools; where the root model was given none, its calls are ignored.
    """
    turn, called, made_calls = turn_count(log), Called(), _made(reply)
    if not (rlm.native_tools and made_calls):
        return called
    used = {call["id"] for entry in turns(log) for call in entry.get("tool_calls", ())}
    for ordinal, made in enumerate(made_calls):
        place = call_place(str(turn), ordinal)
        request, problem = _request(made, rlm)
        id = made.id if made.id and made.id not in used else f"call_{turn}_{ordinal}"
        used.add(id)
        called.calls.append(NativeCall(name=made.name, id=id))
        called.entries[place] = rlm.requests.entry(request)
        if problem is not None:
            called.entries[item_place(place, 0)] = error_entry(problem)
    return called


def _made(reply: AIMessage) -> list[Made]:
    calls = [Made(call["name"], call["args"], call["id"]) for call in reply.tool_calls]
    for call in reply.invalid_tool_calls:
        problem = f"The arguments are not valid JSON: {call['args']!r}."
        calls.append(Made(call["name"] or "", {}, call["id"], problem))
    return calls


def _request(made: Made, rlm: RLMRuntime) -> tuple[Request, str | None]:
    """The request of a call, and what is wrong with it."""
    external = [tool for tool in rlm.toolset.root.values() if isinstance(tool, ExternalTool)]
    tools = {tool.native_name: tool for tool in external}
    tool = tools.get(made.name)
    if tool is None:
        problem = (
            f"There is no tool {made.name!r} to call this way. There are: {', '.join(tools)}. "
            "Functions of the REPL are called in code."
        )
        payload = {"name": made.name, "arguments": made.arguments}
        return Request("tool", made.name, payload, 1), problem
    problem = made.problem
    if problem is None:
        try:
            tool.check(made.arguments)
        except BadArguments as error:
            problem = str(error)
    return tool_request(tool, made.arguments), problem


def native_messages(
    number: int, turn: TurnEntry, log: Mapping[str, LogEntry], rlm: RLMRuntime
) -> list[tuple[ToolCall, ToolMessage]]:
    """Give each native call of a turn with its result, as the conversation shows them."""
    shown: list[tuple[ToolCall, ToolMessage]] = []
    for place, call in native_places(number, turn).items():
        entry = call_at(log, place)
        if entry is None:
            raise KeyError(place)
        arguments = rlm.requests.payload(entry["request"])["arguments"]
        made = ToolCall(type="tool_call", name=call["name"], args=arguments, id=call["id"])
        shown.append((made, _result(reply_at(log, item_place(place, 0)), call, rlm)))
    return shown


def _result(reply: ReplyEntry | None, call: NativeCall, rlm: RLMRuntime) -> ToolMessage:
    id, name = call["id"], call["name"]
    if reply is None:
        told = "Error: no result: the conversation went on without it"
        return ToolMessage(told, tool_call_id=id, name=name, status="error")
    if reply["value"] is None:
        told = f"Error: {reply['error']}"
        return ToolMessage(told, tool_call_id=id, name=name, status="error")
    text = rlm.blobs.get_text(reply["value"])
    value = json.loads(text)
    shown = clip(value if isinstance(value, str) else text, limit=rlm.limits.max_output_chars)
    return ToolMessage(shown, tool_call_id=id, name=name)
