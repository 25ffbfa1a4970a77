"""Messages: how a chat is read: what of it are instructions, what the question, and what context.

System and developer messages are instructions, the last human message is the question, and all
other messages are a context of messages. What is long is context, whatever message it comes in: its
head and its tail stay where it was, with a line that says where the whole of it is. Pictures,
sounds and files of the question are contexts too, with a few words in their place. Never calls a
model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.attached import TEXT_BLOCKS, Attached, Elsewhere, attached
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.storage.media import Media, described

ROLES = {"human": "User", "ai": "Assistant", "tool": "Tool result"}
"""How a question names who said what, by the type of the message."""

Part = str | Attached | bytes
"""A part of a message: text, a picture or sound, or the bytes of another file."""

INSTRUCTION_ROLES = ("system", "developer")

KEPT_OF_INSTRUCTIONS = 4
"""Times the limit that a long system message keeps of itself in the instructions. An agent's own
are often a few times as long as a question, and have to be read whole."""

LEAST_OF_A_RESULT = 200
"""Characters that are shown of a tool's long result, or none of it is."""


@dataclass(frozen=True)
class Door:
    """What differs between the ways in which a chat comes in."""

    name: Callable[[int, str], str]
    """Names a context in a text: its number among those of the question, and what it is."""
    shows_conversation: bool
    """Whether the question shows the messages around it, where they are short."""
    what_to_do: str
    """What to do about content that is not text."""


@dataclass(frozen=True)
class Chat:
    """A chat as it is read."""

    system: list[SystemMessage]
    question: str
    contexts: list[Any]
    """Anything that `ingest.ingest` takes."""


def read_chat(
    messages: Sequence[BaseMessage], most: int, door: Door, question: str | None = None
) -> Chat:
    """Read a chat by the rule of this file.

    Args:
        messages: any number, in their order.
        most: characters; a message that is longer, or whose parts are, is context.
        door: how it came in.
        question: the question, where it did not come in a message.

    Raises:
        ContextError: there is no question, or it has content that code and models cannot use.
    """
    before = [message for message in messages if not _is_instruction(message)]
    after: list[BaseMessage] = []
    reading = _Reading(most, door)
    if question is None:
        asked = _last_human(before)
        question = reading.question(before[asked])
        before, after = before[:asked], before[asked + 1 :]
    if before or after:
        question = reading.with_conversation(question, before, after)
    system = [message for message in messages if _is_instruction(message)]
    instructions = [SystemMessage(reading.instructions(message)) for message in system]
    return Chat(instructions, question, reading.contexts)


def ends_of(text: str, head: int, tail: int) -> str:
    """Give the head and the tail of a text, with a mark between that says how much is left out."""
    if len(text) <= head + tail:
        return text
    left_out = len(text) - head - tail
    return f"{text[:head]}\n[... {left_out:,} characters left out ...]\n{text[-tail:]}"


class _Reading:
    """The contexts that a chat has given so far."""

    def __init__(self, most: int, door: Door) -> None:
        self.contexts: list[Any] = []
        self._most = most
        self._door = door

    def question(self, message: BaseMessage) -> str:
        """Give the text of the question, of about `most` characters at most."""
        parts = self._parts(message)
        texts = [part for part in parts if isinstance(part, str)]
        if not "".join(texts).strip() and len(texts) == len(parts):
            raise ContextError("The last human message is empty: there is no question.")
        whole = "\n\n".join(texts)
        if len(whole) <= self._most:
            return "\n\n".join(self._shown(parts))
        short = [part for part in texts if len(part) <= self._most]
        long = [part for part in texts if len(part) > self._most]
        has_question = "".join(short).strip() and sum(map(len, short)) <= self._most
        if long and has_question:
            names = ", ".join(self._add(part) for part in long)
            shown = self._shown([part for part in parts if part not in long])
            return "\n\n".join([*shown, f"(Longer parts of this message are in {names}.)"])
        return self._in_short(parts)

    def _in_short(self, parts: Sequence[Part]) -> str:
        """Make a context of a whole message, and give its ends and what else it has."""
        number = len(self.contexts)
        self.contexts.append("")  # ahead of its pictures: what `context` is to be is the text
        whole = "\n\n".join(self._shown(parts))
        self.contexts[number] = whole
        name = self._door.name(number, f"input of {len(whole):,} characters")
        others = [words_of(other) for other in self.contexts[number + 1 :]]
        more = f"\n\n(It comes with {'; '.join(others)}.)" if others else ""
        return (
            f"Do what the text in {name} asks: it is the user's message, too long to show here. "
            f"It reads so, in short:\n{ends_of(whole, self._most // 2, self._most // 4)}{more}"
        )

    def _shown(self, parts: Sequence[Part]) -> list[str]:
        """Give parts as text; what is not text becomes a context, and is named in its place."""
        shown: list[str] = []
        for part in parts:
            if not isinstance(part, str):
                self.contexts.append(part)
                name = self._door.name(len(self.contexts) - 1, "inputs")
                part = f"({words_of(part)}, in {name})"
            shown.append(part)
        return shown

    def instructions(self, message: BaseMessage) -> str:
        """Give what a system message says, its long parts by their ends."""
        parts = self._texts(message, "system message")
        return "\n\n".join(part if len(part) <= self._most else self._cut(part) for part in parts)

    def _cut(self, part: str) -> str:
        kept = self._most * KEPT_OF_INSTRUCTIONS
        name = self._add(part)
        if len(part) <= kept:
            return f"{part}\n\n(This text is also in {name}.)"
        shown = ends_of(part, kept * 3 // 4, kept // 4)
        return f"{shown}\n\n(The whole of this text, {len(part):,} characters, is in {name}.)"

    def with_conversation(
        self, question: str, before: Sequence[BaseMessage], after: Sequence[BaseMessage]
    ) -> str:
        """Show a question with the conversation around it, or with a word on where that is."""
        name = self._add([*before, *after])
        if not self._door.shows_conversation:
            return question
        earlier, later = _lines(before), _lines(after)
        if len(earlier) + len(later) > self._most:
            count = len(before) + len(after)
            order = f"; the last {len(after)} came after it" if after else ", oldest first"
            return (
                f"{question}\n\n(The conversation around this message is in {name}, "
                f"a list of {count} messages{order}.){self._results(after)}"
            )
        said = question
        if earlier:
            said = (
                f"The conversation so far (also in {name}):\n\n{earlier}\n\n"
                f"The user now says:\n\n{question}"
            )
        if later:
            said = f"{said}\n\nSince then:\n\n{later}"
        return said

    def _results(self, after: Sequence[BaseMessage]) -> str:
        """Show the results of tools, which the question waits for, by their ends; nothing where
        there are too many."""
        results = [message for message in after if isinstance(message, ToolMessage)]
        each = self._most // max(1, len(results))
        if not results or each < LEAST_OF_A_RESULT:
            return ""
        shown = "\n\n".join(
            f"{ROLES['tool']}: {ends_of(_line(result), each // 2, each // 4)}" for result in results
        )
        return f"\n\nOf the results since then:\n\n{shown}"

    def _add(self, context: str | list[BaseMessage]) -> str:
        """Take a context, and give the name that texts call it by."""
        self.contexts.append(context)
        what = "list of messages among the inputs"
        if isinstance(context, str):
            what = f"input of {len(context):,} characters"
        return self._door.name(len(self.contexts) - 1, what)

    def _parts(self, message: BaseMessage) -> list[Part]:
        """Give the parts of a message. Raises `ContextError` if one cannot be read."""
        content: Any = message.content
        blocks: Sequence[Any] = [content] if isinstance(content, str) else content
        return [self._part(block) for block in blocks]

    def _part(self, block: Any) -> Part:
        if isinstance(block, str) or _text_in(block) is not None:
            return self._text(block, "question")
        return attached(block) or self._text(block, "question")

    def _texts(self, message: BaseMessage, what: str) -> list[str]:
        """Give the texts of a message's parts. Raises `ContextError` if one is not text."""
        content: Any = message.content
        blocks: Sequence[Any] = [content] if isinstance(content, str) else content
        return [self._text(block, what) for block in blocks]

    def _text(self, block: Any, what: str) -> str:
        text = block if isinstance(block, str) else _text_in(block)
        if text is None:
            kind = block.get("type") if is_dict(block) else type(block).__name__
            raise ContextError(
                f"The {what} has content of type {kind!r}, and code in a REPL reads only text. "
                f"{self._door.what_to_do}"
            )
        return text


def words_of(part: Part) -> str:
    """Say in a few words what comes with a message beside text."""
    if isinstance(part, (Media, Elsewhere)):
        return described(part.facts)
    return f"file of {len(part):,} bytes"


def _text_in(block: Any) -> str | None:
    """Give the text of a block that has one."""
    if not is_dict(block) or block.get("type") not in TEXT_BLOCKS:
        return None
    text = block.get("text")
    return text if isinstance(text, str) else None


def _is_instruction(message: BaseMessage) -> bool:
    if isinstance(message, ChatMessage):
        return message.role in INSTRUCTION_ROLES
    return isinstance(message, SystemMessage)


def _last_human(messages: Sequence[BaseMessage]) -> int:
    """Find the last human message."""
    for index in reversed(range(len(messages))):
        message = messages[index]
        if isinstance(message, HumanMessage) or getattr(message, "role", None) == "user":
            return index
    raise ContextError("The messages have no question: give at least one human message.")


def _lines(messages: Sequence[BaseMessage]) -> str:
    return "\n\n".join(
        f"{ROLES.get(message.type, message.type)}: {_line(message)}" for message in messages
    )


def _line(message: BaseMessage) -> str:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    made = "".join(f"\n[called {call['name']} with {call['args']}]" for call in calls)
    return f"{message.text}{made}"
