"""Inputs: what a caller gives, by reference before anything of it is checkpointed.

Never asks a model.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, NotRequired, TypedDict, TypeGuard

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from pydantic import BaseModel

from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import HandleDict
from langgraph_rlm.storage.ingest import ingest, ingest_all
from langgraph_rlm.storage.json_types import is_array, is_dict
from langgraph_rlm.storage.messages import Door, ends_of, read_chat
from langgraph_rlm.storage.names import warn_of_file_names

KEYS = ("query", "context", "messages")
"""What an input may have; see `state.RLMInput`."""

MOST_OF_A_MESSAGE = 4_000
"""Characters of a message that stay as they are; a longer one is context."""

MOST_OF_A_QUESTION = 40_000
"""Characters of a `query`, which is sent with every call of the root model; a longer one is
context."""


def _name(_: int, what: str) -> str:
    """Contexts count over a thread, which is not known here; what they are is listed."""
    return f"the {what}"


DOOR = Door(
    name=_name,
    shows_conversation=False,
    what_to_do="Give its text instead, or the file itself as `context`.",
)


class Handles(TypedDict):
    """Contexts that are in the store already, as an input."""

    rlm_handles: list[HandleDict]
    rlm_settings: NotRequired[dict[str, Any]]
    """What the question has of its own, until it is in the log (`runtime/began.py`)."""


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


def by_reference(
    given: Any,
    blobs: BlobStore,
    *,
    is_stored: bool = False,
    is_strict: bool = False,
    is_ruled: bool = False,
) -> Given:
    """Store what is large in an input, and keep its handles. Blocks.

    Args:
        given: an `RLMInput`: `query` and `context`, or `messages` in any form that LangGraph takes.
        blobs: stores the question and the contexts.
        is_stored: whether it may be a result of this function already, which is then kept as it is.
        is_strict: whether a key that is no input is refused. The state of a graph around this one
            has keys of its own.
        is_ruled: whether a rule of the user's own has made it, which has decided what is context.

    Raises:
        ContextError: there is no question, or a context cannot be read.
        BlobError: the store cannot be written.
    """
    known = _fields(given)
    if not known.keys() & {"query", "messages"}:
        raise ContextError(
            "The input must be {'query': ..., 'context': ...} or {'messages': [...]}, "
            f"got {shown(given)}."
        )
    unknown = sorted(map(str, known.keys() - set(KEYS)))
    if is_strict and unknown:
        raise ContextError(
            f"The input has no {', '.join(map(repr, unknown))}: it takes {', '.join(KEYS)}. "
            "Several contexts go into `context`, as a list of files or a dict of names to contexts."
        )
    handles = _handles(known.get("context"), blobs, is_stored)
    question, messages = known.get("query"), _messages(known.get("messages"))
    if is_stored and _is_stored(question):
        return Given(query=question, context=Handles(rlm_handles=handles), messages=messages)
    if question is not None:
        _check_question(question)
    chat = read_chat(messages, sys.maxsize if is_ruled else MOST_OF_A_MESSAGE, DOOR, question)
    contexts = list(chat.contexts)
    question = chat.question
    if len(question) > MOST_OF_A_QUESTION and not is_ruled:
        contexts.append(question)
        question = _short(question)
    handles += [ingest(context, blobs).as_dict() for context in contexts]
    return Given(
        query=blobs.put_text(question),
        context=Handles(rlm_handles=handles),
        messages=[*chat.system],
    )


def _fields(given: Any) -> Mapping[str, Any]:
    """Give the fields of an input: a dict, or the state of a graph around this one. Empty for
    anything else."""
    if is_dict(given):
        return given
    if isinstance(given, BaseModel):
        return dict(given)
    if is_dataclass(given) and not isinstance(given, type):
        return {field.name: getattr(given, field.name) for field in fields(given)}
    return {}


def _messages(given: Any) -> list[BaseMessage]:
    """Make messages of whatever LangGraph takes for them: a list, or one message in any form.

    Raises:
        ContextError: it is none of these.
    """
    if given is None:
        return []
    is_many = is_array(given) and not _is_pair(given)
    try:
        return convert_to_messages(given if is_many or isinstance(given, PromptValue) else [given])
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ContextError(
            f"'messages' must be a text, a message or a list of messages, such as "
            f"[{{'role': 'user', 'content': '...'}}], got {shown(given)}: {error}"
        ) from None


def _is_pair(given: Any) -> bool:
    """Whether a value is one message as `(role, content)`."""
    match given:
        case (str(), str() | [*_]) if isinstance(given, tuple):
            return True
        case _:
            return False


def _check_question(question: Any) -> None:
    if not isinstance(question, str) or not question.strip():
        raise ContextError(
            f"The question is empty or not a text: {shown(question)}. "
            "Give 'query' a non-empty string."
        )


def _short(question: str) -> str:
    """Write a question for one that is too long to be sent with every call."""
    ends = ends_of(question, MOST_OF_A_MESSAGE // 2, MOST_OF_A_MESSAGE // 4)
    name = _name(0, f"input of {len(question):,} characters")
    return (
        f"Do what the text in {name} asks: it is the user's question, too long "
        f"to show here. It reads so, in short:\n{ends}"
    )


def _is_stored(question: object) -> TypeGuard[Text]:
    """Whether a question is by reference already; a caller's own is a str."""
    return isinstance(question, dict)


def _handles(context: Any, blobs: BlobStore, is_stored: bool) -> list[HandleDict]:
    """Store a context, or several, and give their handles; none for None."""
    if is_stored and is_dict(context) and "rlm_handles" in context:
        return [*context["rlm_handles"]]
    if context is None:
        return []
    warn_of_file_names(context)
    return [handle.as_dict() for handle in ingest_all(context, blobs)]
