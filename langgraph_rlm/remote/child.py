"""Child: what a run takes up that was given a signed task, or that continues one. Asks nobody."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig

from langgraph_rlm.errors import ChildTaskError
from langgraph_rlm.log.entries import Settings
from langgraph_rlm.pregel.keys import SCRATCHPAD
from langgraph_rlm.remote.tasks import PARENT_THREAD, TASK, GrantDict, Task, read_task
from langgraph_rlm.runtime.began import settings_of
from langgraph_rlm.runtime.children import children_key
from langgraph_rlm.runtime.run import FRAME, Caller, Frame
from langgraph_rlm.runtime.settings import RunSettings
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import code_format
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.inputs import Given, Handles, Stored
from langgraph_rlm.storage.json_types import is_dict

LIMITS: Mapping[str, str] = {
    "tokens": "max_tokens",
    "cost": "max_cost",
    "seconds": "max_seconds",
    "sub_calls": "max_sub_calls",
}
"""The limit that each part of a grant is."""


class Child(NamedTuple):
    """A child whose parent is elsewhere."""

    task: Task
    settings: RunSettings
    """What its parent's run has of its own, with its grant as its limits."""

    @property
    def given(self) -> Stored:
        """Its question, which is by reference already."""
        task = self.task
        handles = Handles(rlm_handles=task["contexts"])
        return Stored(Given(query=task["query"], context=handles, messages=[]))


def child_of(given: Any, config: RunnableConfig, rlm: RLMRuntime) -> Child | None:
    """Read the task of a child in the input of a root; None for any other input. Blocks.

    Raises:
        ChildTaskError: it is not signed, or not for this thread.
        ConfigurationError: this process has no key.
        BlobError: a text of it is missing in the blob store.
    """
    if not is_dict(given) or TASK not in given:
        return None
    configurable = config.get("configurable", {})
    if FRAME in configurable or SCRATCHPAD in configurable:
        return None  # the state of a graph around this one, where no task comes from
    if len(given) > 1:
        raise ChildTaskError(f"An input with {TASK!r} has nothing else, got {sorted(given)}.")
    key = children_key(rlm.children)
    task = read_task(given[TASK], str(configurable.get("thread_id", "")), key)
    settings = granted(task["settings"], task["grant"])
    return Child(task, settings_of(settings, rlm.blobs))


def of_parent(config: RunnableConfig, child: Child) -> RunnableConfig:
    """Give the config of a child's run, whose checkpoints name the thread of the parent."""
    metadata = {**config.get("metadata", {}), PARENT_THREAD: child.task["parent"]}
    return {**config, "metadata": metadata}


def granted(settings: Settings, grant: GrantDict) -> Settings:
    """Give the settings of a run with a grant as its limits."""
    limits = {**settings.get("limits", {})}
    for part, limit in LIMITS.items():
        if grant[part] is not None:
            limits[limit] = grant[part]
    return {**settings, "limits": limits}


def framed(frame: Frame, child: Child | None, values: Mapping[str, Any], blobs: BlobStore) -> Frame:
    """Give the frame of a topmost RLM as that of a child, where it is one. Blocks.

    Args:
        frame: of a root.
        child: that begins, or is begun once more.
        values: of the thread that is resumed; empty for a new one.
        blobs: has the form of the answer.
    """
    if child is None:
        depth = values.get("depth", 0)
        if not depth:
            return frame
        where = replace(frame.work.where, depth=depth)
        frame.work.where = where
        return replace(frame, depth=depth, model=values.get("model"), is_elsewhere=True)
    task = child.task
    frame.work.where = replace(frame.work.where, depth=task["depth"])
    frame.work.before = task["trace"]
    form = None if task["form"] is None else code_format(blobs.get_text(task["form"]))
    return replace(
        frame,
        depth=task["depth"],
        model=task["model"],
        form=form,
        caller=Caller(*task["caller"]),
        is_elsewhere=True,
    )
