"""Inputs: what a caller gives, stored and by reference, before anything of it is checkpointed. Never asks a model."""

import os
import warnings
from collections.abc import Sequence
from typing import Any, TypedDict, cast

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages

from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import HandleDict, ingest

MOST_OF_A_PATH = 1000
"""Characters; a longer text is no file's name."""


class Handles(TypedDict):
    """Contexts that are in the store already, as an input."""

    rlm_handles: list[HandleDict]


class Given(TypedDict):
    """An input by reference: what may be checkpointed of it."""

    query: Text
    context: "Handles"
    messages: list[BaseMessage]
    """System messages alone."""


class Stored(dict[str, Any]):
    """A `Given` on its way into the graph. An input of any other type is data, also one that looks like this: a caller who knows a
    digest cannot have what is stored under it."""


def by_reference(given: Any, blobs: BlobStore, *, is_stored: bool = False) -> Given:
    """Store what is large in an input and keep its handles. Blocks.

    Args:
        given: an `RLMInput`: `query` and `context`, or `messages`.
        store: takes the question and the contexts.
        is_stored: it may be a result of this function already, and then stays what it is.

    Raises:
        ContextError: there is no question, or a context cannot be read.
    """
    if not isinstance(given, dict) or not set(cast(dict[str, Any], given)) & {"query", "messages"}:
        raise ContextError(
            f"The input must be {{'query': ..., 'context': ...}} or {{'messages': [...]}}, got {shown(cast(object, given))}."
        )
    parts = cast(dict[str, Any], given)
    messages = convert_to_messages(cast(Sequence[Any], parts.get("messages") or []))
    system = [message for message in messages if isinstance(message, SystemMessage)]
    others = [message for message in messages if not isinstance(message, SystemMessage)]
    question, before = parts.get("query"), others
    if question is None:
        question, before = _asked(others)
    context = parts.get("context")
    if is_stored and isinstance(context, dict) and "rlm_handles" in context:
        handles = cast(Handles, context)["rlm_handles"]
    else:
        handles = _handles(context, blobs)
    handles = [*handles, *([ingest(before, blobs).as_dict()] if before else [])]
    text = (
        cast(Text, question)
        if is_stored and isinstance(question, dict)
        else _question(question, blobs)
    )
    return Given(query=text, context=Handles(rlm_handles=handles), messages=list(system))


def _asked(messages: list[BaseMessage]) -> tuple[str, list[BaseMessage]]:
    """The last human message is the question, what came before is context."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], HumanMessage):
            return messages[index].text, messages[:index] + messages[index + 1 :]
    raise ContextError("The input has no question: give 'query', or a human message in 'messages'.")


def _question(question: Any, blobs: BlobStore) -> Text:
    if not isinstance(question, str) or not question.strip():
        raise ContextError(
            f"The question is empty or no text: {shown(question)}. Give 'query' a non-empty string."
        )
    return blobs.put_text(question)


def _handles(context: Any, blobs: BlobStore) -> list[HandleDict]:
    if context is None:
        return []
    if isinstance(context, str) and len(context) < MOST_OF_A_PATH and os.path.exists(context):
        warnings.warn(
            f"The context is the text {context!r} itself, though there is a file of that name: give Path({context!r}) to read it.",
            UserWarning,
            stacklevel=2,
        )
    return [ingest(cast(object, context), blobs).as_dict()]
