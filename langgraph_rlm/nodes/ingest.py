"""Ingest: turn the input into a question and context handles. Never puts a large value in state."""

import os
import secrets
import time
import warnings
from collections.abc import Sequence
from typing import Any, TypedDict, cast

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime
from langgraph.types import Overwrite

from langgraph_rlm.blobs import BlobStore, Text
from langgraph_rlm.context import HandleDict, ingest
from langgraph_rlm.errors import ContextError
from langgraph_rlm.log import Log, RunEntry, cell_place, last_turn, runs, turn_count
from langgraph_rlm.parsing import reply_of
from langgraph_rlm.repl.replay import rolled_back
from langgraph_rlm.runtime import RLMRuntime, frame_of
from langgraph_rlm.state import RLMState, RLMUpdate
from langgraph_rlm.usage import Usage, spent

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


def by_reference(given: Any, store: BlobStore, *, is_stored: bool = False) -> Given:
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
            f"The input must be {{'query': ..., 'context': ...}} or {{'messages': [...]}}, got {_shown(given)}."
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
        handles = _handles(context, store)
    handles = [*handles, *([ingest(before, store).as_dict()] if before else [])]
    text = (
        cast(Text, question)
        if is_stored and isinstance(question, dict)
        else _question(question, store)
    )
    return Given(query=text, context=Handles(rlm_handles=handles), messages=list(system))


def _asked(messages: list[BaseMessage]) -> tuple[str, list[BaseMessage]]:
    """The last human message is the question, what came before is context."""
    for index in range(len(messages) - 1, -1, -1):
        if isinstance(messages[index], HumanMessage):
            return messages[index].text, messages[:index] + messages[index + 1 :]
    raise ContextError("The input has no question: give 'query', or a human message in 'messages'.")


def _question(question: Any, store: BlobStore) -> Text:
    if not isinstance(question, str) or not question.strip():
        raise ContextError(
            f"The question is empty or no text: {_shown(question)}. Give 'query' a non-empty string."
        )
    return store.put_text(question)


def _handles(context: Any, store: BlobStore) -> list[HandleDict]:
    if context is None:
        return []
    if isinstance(context, str) and len(context) < MOST_OF_A_PATH and os.path.exists(context):
        warnings.warn(
            f"The context is the text {context!r} itself, though there is a file of that name: give Path({context!r}) to read it.",
            UserWarning,
            stacklevel=2,
        )
    return [ingest(cast(object, context), store).as_dict()]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


EMPTY = {"suspended": None, "final": None, "answer": "", "stop_reason": ""}
"""What of the last question must not be taken for the next one's."""


class Ingest:
    """The node."""

    def __init__(self, runtime: RLMRuntime) -> None:
        self._runtime = runtime

    async def __call__(
        self, state: RLMState, config: RunnableConfig, runtime: Runtime[None]
    ) -> RLMUpdate:
        """Open a run: the first on its thread starts a trajectory, a later one is a follow-up with the same variables."""
        frame = frame_of(config, runtime)
        given = by_reference(
            {key: state.get(key) for key in ("query", "context", "messages")},
            self._runtime.store,
            is_stored=True,
        )
        log, stale = state.get("log", {}), cast(dict[str, Any], state)
        question = RunEntry(
            kind="run",
            question=given["query"],
            contexts=given["context"]["rlm_handles"],
            turn=turn_count(log),
            started=time.time(),
        )
        update = RLMUpdate(
            log={**_cut_off(state, self._runtime.store), f"run.{len(runs(log))}": question}
        )
        if runs(log):  # a channel that was never written takes no room in any checkpoint
            update["usage"], update["limit"] = (
                cast(Usage, Overwrite(spent())),
                cast(Any, Overwrite("")),
            )
            update |= cast(
                RLMUpdate, {key: empty for key, empty in EMPTY.items() if stale.get(key)}
            )
        if frame.form is not None or state.get("answer_schema") is not None:
            update["answer_schema"] = (
                None if frame.form is None else await self._runtime.store.keep(frame.form.text)
            )
            update["structured_response"] = None
        if given["messages"]:
            update["instructions"] = await self._runtime.store.keep(
                "\n\n".join(message.text for message in given["messages"])
            )
        if "trajectory" not in state:
            update["trajectory"] = secrets.token_urlsafe(16)
            if frame.depth:
                update["depth"] = frame.depth
            if frame.model is not None:
                update["model"] = frame.model
        return update


def _cut_off(state: RLMState, store: BlobStore) -> Log:
    """The cell that the last question left unfinished ends here, and is rolled back: nobody waits for its calls any more."""
    log = state.get("log", {})
    number = turn_count(log) - 1
    if (
        state.get("stop_reason")
        or state.get("final") is not None
        or not runs(log)
        or number < runs(log)[-1]["turn"]
    ):
        return {}
    turn = last_turn(log)
    places = [
        cell_place(number, index)
        for index in range(0 if turn["limit"] else len(reply_of(turn, store).steps))
    ]
    cut = next((place for place in places if place not in log), None)
    return {} if cut is None else {cut: rolled_back("stopped", store)}
