"""Marks: name, tags and metadata by which a piece of work is found in any tracer. What the user has
set stays; of metadata, the keys that begin with `rlm_` are ours."""

from collections.abc import Mapping
from typing import Any

from langchain_core.callbacks import AsyncCallbackManager
from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig

from langgraph_rlm.models.patience import Patient
from langgraph_rlm.telemetry.work import Work

TAG = "rlm"
"""The tag of everything that is marked; further ones begin with it."""


def tags_of(work: Work) -> list[str]:
    """Give the tags of a piece of work: `rlm`, `rlm:llm_query`, `rlm:depth:1`."""
    purpose = "tool" if work.kind == "tool" else work.purpose.replace(" ", "_")
    return [TAG, f"{TAG}:{purpose}", f"{TAG}:depth:{work.where.depth}"]


def facts_of(work: Work) -> dict[str, Any]:
    """Give the metadata of a piece of work: `rlm_id`, `rlm_place`, `rlm_depth`."""
    where = work.where
    facts: dict[str, Any] = {"rlm_depth": where.depth}
    if where.rlm_id:
        facts["rlm_id"] = where.rlm_id
    if where.place:
        facts["rlm_place"] = where.place
    return facts


def is_watched(config: RunnableConfig, model: object) -> bool:
    """Whether any callback is told of a call; where none is, marks would only cost time.

    Args:
        config: of the node.
        model: that is called, which may have callbacks of its own.
    """
    callbacks = config.get("callbacks")
    if isinstance(model, Patient):
        model = model.bound
    if not isinstance(model, BaseChatModel) or model.callbacks:
        return True
    return not isinstance(callbacks, AsyncCallbackManager) or bool(callbacks.handlers)


def marked(config: RunnableConfig, work: Work, *, has_name: bool = True) -> RunnableConfig:
    """Give the config of a model's call or a tool's, with its marks.

    Args:
        config: of the node.
        work: the call.
        has_name: whether its run is named after it. A tool's own name is kept.
    """
    metadata: Mapping[str, Any] = config.get("metadata") or {}
    marks: RunnableConfig = {
        **config,
        "tags": [*(config.get("tags") or []), *tags_of(work)],
        "metadata": {**metadata, **facts_of(work)},
    }
    if has_name:
        marks["run_name"] = work.name
    return marks


def marked_graph(config: RunnableConfig, work: Work) -> RunnableConfig:
    """Give the config of a graph within a node, with its marks.

    They go to the callbacks: what is in `config` itself would be in the graph's checkpoints too,
    and its tags on all runs below.
    """
    marks: RunnableConfig = {**config, "run_name": work.name}
    callbacks = config.get("callbacks")
    if isinstance(callbacks, AsyncCallbackManager) and callbacks.handlers:
        callbacks = callbacks.copy()
        callbacks.add_tags(tags_of(work), inherit=False)
        callbacks.add_metadata(facts_of(work))
        marks["callbacks"] = callbacks
    return marks
