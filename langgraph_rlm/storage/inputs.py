"""Inputs: what a caller gives, by reference before anything of it is checkpointed.

Never asks a model.
"""

import os
import warnings
from collections.abc import Sequence
from typing import Any, TypedDict, TypeGuard

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages

from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import HandleDict, ingest
from langgraph_rlm.storage.json_types import is_dict

MOST_OF_A_PATH = 1000
"""Characters; a longer text is not the name of a file."""


class Handles(TypedDict):
    """Contexts that are in the store already, as an input."""

    rlm_handles: list[HandleDict]


class Given(TypedDict):
    """An input by reference: what of it may be checkpointed."""

    query: Text
    context: Handles
    messages: list[BaseMessage]
    """System messages alone."""


class Stored(dict[str, Any]):
    """A `Given` on its way into the graph.

    An input of any other type is data, even one that looks like this: a caller who knows a digest
    cannot have what is stored under it.
    """


def by_reference(given: Any, blobs: BlobStore, *, is_stored: bool = False) -> Given:
    """Store what is large in an input, and keep its handles. Blocks.

    Args:
        given: an `RLMInput`: `query` and `context`, or `messages`.
        blobs: stores the question and the contexts.
        is_stored: whether it may be a result of this function already, which is then kept as it is.

    Raises:
        ContextError: there is no question, or a context cannot be read.
        BlobError: the store cannot be written.
    """
    if not is_dict(given) or not given.keys() & {"query", "messages"}:
        raise ContextError(
            "The input must be {'query': ..., 'context': ...} or {'messages': [...]}, "
            f"got {shown(given)}."
        )
    messages = convert_to_messages(given.get("messages") or [])
    system = [message for message in messages if isinstance(message, SystemMessage)]
    before: Sequence[BaseMessage] = [
        message for message in messages if not isinstance(message, SystemMessage)
    ]
    question = given.get("query")
    if question is None:
        question, before = _asked(before)
    handles = _handles(given.get("context"), blobs, is_stored)
    if before:
        handles.append(ingest(before, blobs).as_dict())
    return Given(
        query=_question(question, blobs, is_stored),
        context=Handles(rlm_handles=handles),
        messages=[*system],
    )


def _asked(messages: Sequence[BaseMessage]) -> tuple[str, Sequence[BaseMessage]]:
    """Take the last human message as the question.

    Returns:
        Its text, and all other messages, which are context.
    """
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], HumanMessage):
            return messages[index].text, [*messages[:index], *messages[index + 1 :]]
    raise ContextError("The input has no question: give 'query', or a human message in 'messages'.")


def _question(question: Any, blobs: BlobStore, is_stored: bool) -> Text:
    if is_stored and _is_stored(question):
        return question
    if not isinstance(question, str) or not question.strip():
        raise ContextError(
            f"The question is empty or not a text: {shown(question)}. "
            "Give 'query' a non-empty string."
        )
    return blobs.put_text(question)


def _is_stored(question: object) -> TypeGuard[Text]:
    """Whether a question is by reference already; a caller's own is a str."""
    return isinstance(question, dict)


def _handles(context: Any, blobs: BlobStore, is_stored: bool) -> list[HandleDict]:
    """Store a context, and give its handle; none for None."""
    if is_stored and is_dict(context) and "rlm_handles" in context:
        return [*context["rlm_handles"]]
    if context is None:
        return []
    if isinstance(context, str) and len(context) < MOST_OF_A_PATH and os.path.exists(context):
        warnings.warn(
            f"The context is the text {context!r} itself, though there is a file of that name: "
            f"give Path({context!r}) to read it.",
            UserWarning,
            stacklevel=2,
        )
    return [ingest(context, blobs).as_dict()]
