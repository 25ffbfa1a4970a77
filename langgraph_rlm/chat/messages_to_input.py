"""How the messages of a chat become the input of a run: by the rule of `storage/messages.py`, or by
a rule of the user's own. Never calls a model."""

from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage

from langgraph_rlm.errors import ContextError, InputError
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.storage.inputs import Stored, by_reference
from langgraph_rlm.storage.messages import Chat, Door, read_chat

Rule = Callable[[list[BaseMessage]], dict[str, Any]]
"""A rule of the user's own: makes an `RLMInput` of messages."""


def _door(first: int) -> Door:
    """Name contexts as code does, which counts them over the thread."""

    def name(number: int, _: str) -> str:
        return f"`context_{first + number}`" if first + number else "`context`"

    return Door(
        name=name,
        shows_conversation=True,
        what_to_do="Such content works below `direct_below_tokens`, where the model is asked "
        "directly, and in earlier messages, where it is data.",
    )


def input_of(
    messages: list[BaseMessage], rule: int | Rule, blobs: BlobStore, *, first: int = 0
) -> Stored:
    """Make the input of a run, with what is large by reference. Blocks.

    Args:
        messages: the chat.
        rule: the most characters of a message that stay as they are, or a rule of the user's own.
        blobs: takes what is large.
        first: the contexts that the thread has already.

    Raises:
        InputError: there is no question, or it has content that is not text.
        ContextError: a context cannot be read.
    """
    if callable(rule):
        return Stored(by_reference(rule(messages), blobs, is_ruled=True))
    chat = _read(messages, rule, first)
    handles = [ingest(context, blobs).as_dict() for context in chat.contexts]
    given = {
        "query": blobs.put_text(chat.question),
        "context": {"rlm_handles": handles},
        "messages": chat.system,
    }
    return Stored(by_reference(given, blobs, is_stored=True))


def _read(messages: list[BaseMessage], most: int, first: int) -> Chat:
    try:
        return read_chat(messages, most, _door(first))
    except ContextError as error:
        raise InputError(str(error)) from None
