"""Intake: which of a chat's messages are instructions, which the question, and which context. Never calls a model.

The rule: system and developer messages are instructions. The last human message is the question. Where its text is long, each long
content part becomes a context of its own and the rest is the question; a message that is one long text becomes a context, and the
question shows its head and tail. All other messages are a context of messages, shown in the question too when they are short.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langgraph_rlm.chat.ids import parse_call_id
from langgraph_rlm.errors import InputError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ingest
from langgraph_rlm.storage.inputs import Stored, by_reference

Rule = Callable[[list[BaseMessage]], dict[str, Any]]
"""A rule of the user's own: from messages to an `RLMInput`."""

ROLES = {"human": "User", "ai": "Assistant", "tool": "Tool result"}


@dataclass(frozen=True)
class Question:
    """What a run is asked."""

    system: list[SystemMessage]
    text: str
    contexts: list[Any]
    """Anything that `langgraph_rlm.storage.context.ingest` takes; the first is `context`."""


def stored(messages: list[BaseMessage], rule: int | Rule, blobs: BlobStore) -> Stored:
    """The input of a run, by reference. Blocks.

    Args:
        messages: of the chat.
        rule: the most characters of the last human message that are a question as they are, or a rule of the user's own.
        store: takes what is long.

    Raises:
        InputError: there is no question, or it has something that is no text.
        ContextError: a context cannot be read.
    """
    if callable(rule):
        return Stored(by_reference(rule(messages), blobs))
    question = split(messages, rule)
    handles = [ingest(context, blobs).as_dict() for context in question.contexts]
    given = {
        "query": question.text,
        "context": {"rlm_handles": handles},
        "messages": question.system,
    }
    return Stored(by_reference(given, blobs, is_stored=True))


def split(messages: Sequence[BaseMessage], question_chars: int) -> Question:
    """Instructions, question and contexts, by the rule that this file states."""
    system = [message for message in messages if isinstance(message, SystemMessage)]
    others = [message for message in messages if not isinstance(message, SystemMessage)]
    last = next(
        (
            index
            for index in range(len(others) - 1, -1, -1)
            if isinstance(others[index], HumanMessage)
        ),
        None,
    )
    if last is None:
        raise InputError("The messages have no question: give at least one human message.")
    text, contexts = _question(others[last], question_chars)
    before, after = others[:last], others[last + 1 :]
    if before or after:
        text = _with_conversation(
            text,
            before,
            after,
            f"context_{len(contexts)}" if contexts else "context",
            question_chars,
        )
        contexts = [*contexts, [*before, *after]]
    return Question(system, text, contexts)


def _question(message: BaseMessage, most: int) -> tuple[str, list[Any]]:
    """The text of the question, and what of it is long."""
    parts = _texts(message)
    whole = "\n\n".join(parts)
    if not whole.strip():
        raise InputError("The last human message is empty: there is no question.")
    if len(whole) <= most:
        return whole, []
    short, long = (
        [part for part in parts if len(part) <= most],
        [part for part in parts if len(part) > most],
    )
    if short and long and sum(map(len, short)) <= most and "".join(short).strip():
        names = ", ".join(["`context`", *(f"`context_{index}`" for index in range(1, len(long)))])
        return "\n\n".join([*short, f"(Longer parts of this message are in {names}.)"]), cast(
            list[Any], long
        )
    head, tail = whole[: most // 2], whole[len(whole) - most // 4 :]
    shown = f"Do what the text in `context` asks: it is the user's message, too long to show here. It starts so:\n{head}\n[...]\n"
    return f"{shown}and ends so:\n{tail}", [whole]


def _texts(message: BaseMessage) -> list[str]:
    """The texts of a message's parts."""
    blocks = cast(
        Sequence[Any], [message.content] if isinstance(message.content, str) else message.content
    )
    texts: list[str] = []
    for block in blocks:
        part: Any = {"type": "text", "text": block} if isinstance(block, str) else block
        text = (
            part.get("text") if part.get("type") in ("text", "text-plain", "input_text") else None
        )
        if not isinstance(text, str):
            raise InputError(
                f"The question has content of type {part.get('type')!r}, and code in a REPL reads only text. Such content works below "
                "`direct_below_tokens`, where the model is asked directly, and in earlier messages, where it is data."
            )
        texts.append(text)
    return texts


def _with_conversation(
    question: str, before: Sequence[BaseMessage], after: Sequence[BaseMessage], name: str, most: int
) -> str:
    """The question under what was said around it, or under a word on where that is."""
    shown = "\n\n".join(
        f"{ROLES.get(message.type, message.type)}: {_line(message)}" for message in before
    )
    later = "\n\n".join(
        f"{ROLES.get(message.type, message.type)}: {_line(message)}" for message in after
    )
    if len(shown) + len(later) > most:
        where = f"(The conversation around this message is in `{name}`, a list of {len(before) + len(after)} messages"
        return (
            f"{question}\n\n{where}; the last {len(after)} came after it.)"
            if after
            else f"{question}\n\n{where}, oldest first.)"
        )
    said = (
        f"The conversation so far (also in `{name}`):\n\n{shown}\n\nThe user now says:\n\n{question}"
        if shown
        else question
    )
    return f"{said}\n\nSince then:\n\n{later}" if later else said


def _line(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    made = "".join(f"\n[called {call['name']} with {call['args']}]" for call in calls)
    return f"{message.text}{made}"


def answers(messages: Sequence[BaseMessage]) -> tuple[str, dict[str, ToolMessage]] | None:
    """The run that the last messages answer calls of, and the answers by the digest of their pause; None for a new question.

    Tool messages in earlier history, and those for calls of other models, are ordinary conversation.

    Raises:
        InputError: they answer calls of several runs, or calls of a run and of another model.
    """
    trailing: list[ToolMessage] = []
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            trailing.append(message)
        elif not isinstance(message, SystemMessage):
            break
    parsed = {message.tool_call_id: parse_call_id(message.tool_call_id) for message in trailing}
    runs = {found[0] for found in parsed.values() if found is not None}
    if not runs:
        return None
    if len(runs) > 1 or None in parsed.values():
        raise InputError(
            f"The last tool messages answer calls of different replies: {', '.join(parsed)}. Answer those of one reply."
        )
    by_digest = {
        cast(tuple[str, str], parsed[message.tool_call_id])[1]: message
        for message in reversed(trailing)
    }
    return runs.pop(), by_digest
