"""Began: the settings that a run began with, as its checkpoints have them. Allows nothing.

They are in the question's entry of the log; until that is written, they lie beside the handles of
the input's contexts. So a run that is resumed, in whatever process, continues with them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import START
from langgraph.types import StateSnapshot

from langgraph_rlm.errors import shown
from langgraph_rlm.log.entries import QuestionEntry, Settings
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.repl.host import OF_THREAD, limits_of_thread
from langgraph_rlm.runtime.settings import RunSettings, as_dict, given_limits, refused
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.runtime.variant import variant
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.inputs import Given, Handles
from langgraph_rlm.storage.json_types import is_dict

INGEST = "ingest"
"""The node that writes the entry of a question."""


class Begun(NamedTuple):
    """What a run works with."""

    rlm: RLMRuntime
    entry: Settings | None
    """What it has of its own, for the log."""
    state: StateSnapshot | None
    """Its thread, where that was read: always, where the run is resumed."""


async def begin(
    asked: RunSettings,
    rlm: RLMRuntime,
    saver: BaseCheckpointSaver[Any] | None,
    config: RunnableConfig,
    read: Callable[[], Awaitable[StateSnapshot]],
    *,
    is_resumed: bool,
) -> Begun:
    """Find out what a run works with: one that is resumed with what it began with.

    Args:
        asked: the settings that its call asks for.
        rlm: the graph's runtime.
        saver: that has the thread; None where there is none, or the root has done this.
        config: of the call.
        read: reads the thread.
        is_resumed: whether the run goes on.

    Raises:
        SettingsError: a setting is not allowed, or not the one that the run or its thread began
            with.
    """
    settings, state = asked, None
    if saver is not None and (is_resumed or _asks_of_thread(asked, rlm)):
        state = await read()
        if is_resumed and state.metadata is not None:  # else it begins, in a graph that is resumed
            entry = await _entry_of_run(state, saver, config)
            settings = await asyncio.to_thread(settings_of, entry, rlm.blobs)
            _check_same(asked, settings)
        elif not is_resumed:
            settings = _of_thread(asked, state, rlm)
    own = await variant(rlm, settings)
    if own is rlm:
        return Begun(rlm, None, state)
    entry = await asyncio.to_thread(_entry, settings, rlm.blobs)
    return Begun(own, entry, state)


def with_settings(given: Any, entry: Settings | None) -> Any:
    """Put the settings of a new question into its input, which is by reference; a command and None
    stay as they are."""
    if entry is None or not isinstance(given, dict):
        return given
    question = cast(Given, given)
    context = Handles(rlm_handles=question["context"]["rlm_handles"], rlm_settings={**entry})
    return Given(query=question["query"], context=context, messages=question["messages"])


def _entry(settings: RunSettings, blobs: BlobStore) -> Settings:
    """Give settings as the log has them. Blocks."""
    given = as_dict(settings)
    if "prompt" in given:
        given["prompt"] = blobs.put_text(given["prompt"])
    return Settings(**given)


def settings_of(entry: Settings, blobs: BlobStore) -> RunSettings:
    """Read settings from the log. Blocks. Raises `BlobError`."""
    given: dict[str, Any] = {**entry}
    if "prompt" in given:
        given["prompt"] = blobs.get_text(given["prompt"])
    return RunSettings(**given)


async def _entry_of_run(
    state: StateSnapshot, saver: BaseCheckpointSaver[Any], config: RunnableConfig
) -> Settings:
    """Give the settings that the newest run of a thread began with; empty for none.

    Args:
        state: of the thread.
        saver: that has it.
        config: that the state was read with.
    """
    if any(task.name == START for task in state.tasks):  # not in `next` once it has results
        saved = await saver.aget_tuple(config)
        values = {} if saved is None else saved.checkpoint["channel_values"]
        return _beside(values.get(START, {}).get("context"))
    if INGEST in state.next:
        return _beside(state.values.get("context"))
    questions = _questions(state)
    return questions[-1].get("settings", Settings()) if questions else Settings()


def _beside(context: Any) -> Settings:
    if not is_dict(context):
        return Settings()
    return cast(Settings, context.get("rlm_settings", {}))


def _questions(state: StateSnapshot) -> list[QuestionEntry]:
    return questions_of(state.values.get("log", {}))


def _check_same(asked: RunSettings, began: RunSettings) -> None:
    """Check that a run is continued with what it began with, or with nothing said.

    Raises:
        SettingsError: a setting is another one.
    """
    for name, value in as_dict(asked).items():
        then = getattr(began, name)
        if value != then:
            had = "without it" if then is None else f"with {shown(then)}"
            why = (
                f"this run began {had}, and continues so. Leave settings out where a run is "
                "continued; a new question may have others."
            )
            raise refused(name, value, why)


# What a thread keeps from its first question


def _asks_of_thread(settings: RunSettings, rlm: RLMRuntime) -> bool:
    """Tell whether it matters to a new question what its thread began with."""
    is_limited = any(name in OF_THREAD for name in given_limits(settings.limits))
    return bool(settings.sandbox or rlm.configurable.sandboxes or is_limited)


def _of_thread(settings: RunSettings, state: StateSnapshot, rlm: RLMRuntime) -> RunSettings:
    """Give the settings of a new question on a thread: its sandbox stays, and its memory.

    Raises:
        SettingsError: they ask for others.
    """
    questions = _questions(state)
    if not questions:
        return settings
    kept = limits_of_thread(rlm.limits, questions)
    for name, value in given_limits(settings.limits).items():
        if name in OF_THREAD and value != getattr(kept, name):
            why = f"the thread began with {name}={getattr(kept, name):,}, and keeps it."
            raise refused("limits", {name: value}, why)
    began = questions[0].get("sandbox")
    sandboxes = rlm.sessions.sandboxes
    if settings.sandbox is not None and not sandboxes.is_of_thread(settings.sandbox, questions):
        why = f"the thread began in {began!r}, and stays in it."
        raise refused("sandbox", settings.sandbox, why)
    first = questions[0].get("settings", {}).get("sandbox")
    return replace(settings, sandbox=first)
