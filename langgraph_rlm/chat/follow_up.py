"""Follow-up: what a user says behind the results of a run's tool calls, as a question of that run.

A client sends so what a tool message cannot hold, such as a picture that a tool made, or the user
has more to say while the run waits. It is a question of its own in the run's log, which the root
model sees at its next turn, and the run does not end before. Asks no model.
"""

import time
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import HumanMessage

from langgraph_rlm.chat.messages_to_input import Rule
from langgraph_rlm.chat.shapes import blocks_of, is_mapping
from langgraph_rlm.errors import ContextError
from langgraph_rlm.log.entries import Log, QuestionEntry
from langgraph_rlm.log.places import question_place, questions_of, turn_count
from langgraph_rlm.storage.attached import attached
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.inputs import MOST_OF_A_MESSAGE
from langgraph_rlm.storage.messages import Door, read_chat

ASIDE = (
    "(The user said this while your code waited for its tools. Answer it together with the "
    "question before.)"
)


def follow_up(
    said: Sequence[HumanMessage], rule: int | Rule, log: Log, blobs: BlobStore
) -> QuestionEntry:
    """Make the entry of what a user said. Blocks.

    Args:
        said: the messages, at least one.
        rule: as `messages_to_input.input_of` takes it; one of the user's own is for whole inputs,
            and not asked here.
        log: of the run that waits.
        blobs: takes what is large.

    Returns:
        The entry; the log's newest question where that says the same already.
    """
    questions = questions_of(log)
    if len(questions) > 1:  # its contexts are counted from where they were
        before = _entry(said, rule, questions[:-1], turn_count(log), blobs)
        if is_known(log, before):
            return before
    return _entry(said, rule, questions, turn_count(log), blobs)


def _entry(
    said: Sequence[HumanMessage],
    rule: int | Rule,
    before: Sequence[QuestionEntry],
    turn: int,
    blobs: BlobStore,
) -> QuestionEntry:
    """Make the entry of what a user said after the questions `before`."""
    first = sum(len(question["contexts"]) for question in before)
    parts = [ASIDE]
    contexts: list[Any] = []
    told = [block for message in said for block in blocks_of(message) if _is_told(block)]
    if told:
        texts = [text for block in told for text in _texts(block)]
        content = told if len(texts) < len(told) else "\n\n".join(texts)
        chat = read_chat([HumanMessage(content)], _most(rule), _door(first))
        parts.append(chat.question)
        contexts = chat.contexts
    others = [kind for message in said for kind in _other_kinds(message)]
    if others:
        kinds = ", ".join(dict.fromkeys(others))
        name = f"`context_{first + len(contexts)}`"
        parts.append(f"(The user also sent {kinds}, which code cannot see: as data in {name}.)")
        contexts = [*contexts, [*said]]
    entry = QuestionEntry(
        kind="run",
        question=blobs.put_text("\n\n".join(parts)),
        contexts=[ingest(context, blobs).as_dict() for context in contexts],
        turn=turn,
        started=time.time(),
    )
    if before and "settings" in before[-1]:  # it is part of the same run
        entry["settings"] = before[-1]["settings"]
    return entry


def _most(rule: int | Rule) -> int:
    """Give the most characters that are shown whole; a rule of another kind says nothing of it."""
    return rule if isinstance(rule, int) else MOST_OF_A_MESSAGE


def _door(first: int) -> Door:
    """Name contexts as code does, counted over the thread."""
    return Door(
        name=lambda number, _: f"`context_{first + number}`", shows_conversation=True, what_to_do=""
    )


def with_follow_up(log: Log, entry: QuestionEntry) -> Log:
    """Give what is to be added to a log: the entry; nothing if it is there already."""
    if is_known(log, entry):
        return {}
    return {question_place(len(questions_of(log))): entry}


def is_known(log: Log, entry: QuestionEntry) -> bool:
    """Tell whether the newest question of a log says the same, as when a client asks again."""
    last = questions_of(log)[-1]
    return last["question"] == entry["question"] and last["contexts"] == entry["contexts"]


def _texts(block: Any) -> list[str]:
    """Give the text of a block, if it has one."""
    text = block if isinstance(block, str) else block.get("text")
    return [text] if isinstance(text, str) else []


def _is_told(block: Any) -> bool:
    """Whether a block is a text, a picture or the like that can be read."""
    texts = _texts(block)
    if texts:
        return bool(texts[0].strip())
    try:
        return attached(block) is not None
    except ContextError:
        return False


def _other_kinds(message: HumanMessage) -> list[str]:
    """Name the kinds of content in a message that are neither texts nor can be read."""
    blocks = [block for block in blocks_of(message) if is_mapping(block)]
    return [str(block.get("type")) for block in blocks if not _texts(block) and not _is_told(block)]
