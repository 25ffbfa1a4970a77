"""How messages are read: which of them are instructions, which the question, and which context.

System and developer messages are instructions. The last human message is the question. If its text
is long, each long content part becomes a context of its own and the rest is the question; a message
that is one long text becomes a context, and the question shows its head and tail. All other
messages are a context of messages, which the question shows too when they are short.

Never calls a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from langgraph_rlm.chat.shapes import blocks_of
from langgraph_rlm.errors import InputError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ingest
from langgraph_rlm.storage.inputs import Stored, by_reference

Rule = Callable[[list[BaseMessage]], dict[str, Any]]
"""A rule of the user's own: makes an `RLMInput` of messages."""

ROLES = {"human": "User", "ai": "Assistant", "tool": "Tool result"}
"""How a question names who said what, by the type of the message."""

TEXT_BLOCKS = ("text", "text-plain", "input_text")
"""Types of content blocks that have a text."""


@dataclass(frozen=True)
class Question:
    """What a run is asked."""

    system: list[SystemMessage]
    text: str
    contexts: list[Any]
    """Anything that `storage.context.ingest` takes; the first is `context` in code."""


def input_of(messages: list[BaseMessage], rule: int | Rule, blobs: BlobStore) -> Stored:
    """Make the input of a run, with what is large by reference. Blocks.

    Args:
        messages: the chat.
        rule: the most characters of the last human message that are a question as they are, or a
            rule of the user's own.
        blobs: takes what is large.

    Raises:
        InputError: there is no question, or it has content that is not text.
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
    """Split messages into instructions, question and contexts, by the rule of this file."""
    system = [message for message in messages if isinstance(message, SystemMessage)]
    others = [message for message in messages if not isinstance(message, SystemMessage)]
    asked = _last_human(others)
    text, contexts = _question(others[asked], question_chars)
    before = others[:asked]
    after = others[asked + 1 :]
    if before or after:
        name = f"context_{len(contexts)}" if contexts else "context"
        text = _with_conversation(text, before, after, name, question_chars)
        contexts = [*contexts, [*before, *after]]
    return Question(system, text, contexts)


def _last_human(messages: Sequence[BaseMessage]) -> int:
    """Find the last human message."""
    for index in reversed(range(len(messages))):
        if isinstance(messages[index], HumanMessage):
            return index
    raise InputError("The messages have no question: give at least one human message.")


def _question(message: BaseMessage, most: int) -> tuple[str, list[Any]]:
    """Give the text of the question, of about `most` characters at most, and its contexts."""
    parts = _texts(message)
    whole = "\n\n".join(parts)
    if not whole.strip():
        raise InputError("The last human message is empty: there is no question.")
    if len(whole) <= most:
        return whole, []
    short = [part for part in parts if len(part) <= most]
    long = [part for part in parts if len(part) > most]
    has_question = "".join(short).strip() and sum(map(len, short)) <= most
    if long and has_question:
        return _with_names(short, len(long)), [*long]
    return _ends_of(whole, most), [whole]


def _with_names(short: list[str], contexts: int) -> str:
    """Write a question of the short parts of a message, and where its long ones are."""
    names = ["`context`", *(f"`context_{index}`" for index in range(1, contexts))]
    where = f"(Longer parts of this message are in {', '.join(names)}.)"
    return "\n\n".join([*short, where])


def _ends_of(whole: str, most: int) -> str:
    """Write a question that shows the head and the tail of a message that is a context."""
    head = whole[: most // 2]
    tail = whole[len(whole) - most // 4 :]
    return (
        "Do what the text in `context` asks: it is the user's message, too long to show here. "
        f"It starts so:\n{head}\n[...]\nand ends so:\n{tail}"
    )


def _texts(message: BaseMessage) -> list[str]:
    """Give the texts of a message's parts.

    Raises:
        InputError: a part is not text.
    """
    return [block if isinstance(block, str) else _text(block) for block in blocks_of(message)]


def _text(block: Any) -> str:
    text = block.get("text")
    if block.get("type") not in TEXT_BLOCKS or not isinstance(text, str):
        raise InputError(
            f"The question has content of type {block.get('type')!r}, and code in a REPL reads "
            "only text. Such content works below `direct_below_tokens`, where the model is asked "
            "directly, and in earlier messages, where it is data."
        )
    return text


def _with_conversation(
    question: str, before: Sequence[BaseMessage], after: Sequence[BaseMessage], name: str, most: int
) -> str:
    """Show a question with the conversation around it, or with a word on where that is.

    Args:
        question: the question's own text.
        before: messages before it.
        after: messages after it, such as results of tools.
        name: the name of the conversation in code.
        most: characters; a longer conversation is not shown.
    """
    earlier = _lines(before)
    later = _lines(after)
    if len(earlier) + len(later) > most:
        count = len(before) + len(after)
        order = f"; the last {len(after)} came after it" if after else ", oldest first"
        return (
            f"{question}\n\n(The conversation around this message is in `{name}`, "
            f"a list of {count} messages{order}.)"
        )
    said = question
    if earlier:
        said = (
            f"The conversation so far (also in `{name}`):\n\n{earlier}\n\n"
            f"The user now says:\n\n{question}"
        )
    if later:
        said = f"{said}\n\nSince then:\n\n{later}"
    return said


def _lines(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(
        f"{ROLES.get(message.type, message.type)}: {_line(message)}" for message in messages
    )


def _line(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    made = "".join(f"\n[called {call['name']} with {call['args']}]" for call in calls)
    return f"{message.text}{made}"
