"""Tool results: the tool messages that a chat ends in, and the run that they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_rlm.chat.ids import parse_call_id
from langgraph_rlm.chat.shapes import blocks_of
from langgraph_rlm.errors import InputError


@dataclass(frozen=True)
class ToolResults:
    """Results of tool calls that one run made."""

    run: str
    """Id of the run."""
    messages: Mapping[str, ToolMessage] = field(default_factory=dict[str, ToolMessage])
    """The results by the digests of the pauses that they answer, in the order of the chat."""
    said: Sequence[HumanMessage] = ()
    """What a user says behind them. They may then be earlier history, and no business of the
    run's."""


def tool_results(messages: Sequence[BaseMessage]) -> ToolResults | None:
    """Read the results that a chat ends in; None if it ends in a question.

    Tool messages in earlier history, and those that answer calls of other models, are ordinary
    conversation.

    Raises:
        InputError: the results answer calls of several runs, or of a run and of another model.
    """
    trailing, said = _trailing(messages)
    parsed = [parse_call_id(message.tool_call_id) for message in trailing]
    ours = [found for found in parsed if found is not None]
    if not ours:
        return None
    runs = {run for run, _ in ours}
    if len(runs) > 1 or len(ours) < len(parsed):
        if said:
            return None
        ids = ", ".join(dict.fromkeys(message.tool_call_id for message in trailing))
        raise InputError(
            f"The last tool messages answer calls of different replies: {ids}. "
            "Answer those of one reply."
        )
    by_digest = {digest: message for (_, digest), message in zip(ours, trailing, strict=True)}
    return ToolResults(runs.pop(), by_digest, said)


def _trailing(messages: Sequence[BaseMessage]) -> tuple[list[ToolMessage], list[HumanMessage]]:
    """Select the tool messages at the end of a chat, and what a user says behind them.

    System messages among them are passed over.
    """
    found: list[ToolMessage] = []
    said: list[HumanMessage] = []
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            found.append(message)
        elif isinstance(message, HumanMessage) and not found:
            said.append(message)
        elif not isinstance(message, SystemMessage):
            break
    return found[::-1], said[::-1]


def value_for_code(answer: Any) -> Any:
    """Give what code gets of an answer to a pause.

    A tool message is its text, or its blocks if some are not text. One that says it is an error,
    and any other answer, stays as it is: the graph reads it.
    """
    if not isinstance(answer, ToolMessage) or answer.status == "error":
        return answer
    blocks = blocks_of(answer)
    if all(isinstance(block, str) or block.get("type") == "text" for block in blocks):
        return str(answer.text)
    return blocks
