"""Variant: the runtime of a graph, changed by what a run has of its own, as far as that is allowed.

It shares models, HTTP clients, blobs and interpreters with its graph's. Reads no config.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.wrapped import Model, model_names
from langgraph_rlm.runtime.settings import RunSettings, given_limits, refused
from langgraph_rlm.runtime.shared import RLMRuntime


async def variant(rlm: RLMRuntime, settings: RunSettings) -> RLMRuntime:
    """Give the runtime of a run; the graph's own for a run that sets nothing.

    Args:
        rlm: the graph's.
        settings: of the run.

    Raises:
        SettingsError: a setting is not allowed.
        ConfigurationError: a model has no package, key or price here.
    """
    if settings == RunSettings():
        return rlm
    return await asyncio.to_thread(_changed, rlm, settings)  # it may import a provider's package


def _changed(rlm: RLMRuntime, settings: RunSettings) -> RLMRuntime:
    changes: dict[str, Any] = _models(rlm, settings)
    if settings.prompt is not None:
        changes["prompt"] = _prompt(rlm, settings.prompt)
    if settings.limits is not None:
        changes["limits"] = rlm.limits.model_copy(
            update=_limits(rlm, given_limits(settings.limits))
        )
    if settings.tools is not None:
        changes["toolset"] = rlm.toolset.only(_tools(rlm, settings.tools))
    if settings.sandbox is not None:
        changes["sandbox_name"] = _sandbox(rlm, settings.sandbox)
    changed = replace(rlm, **changes)
    check_prices(changed, changed.limits)
    return changed


def check_prices(rlm: RLMRuntime, limits: Limits) -> None:
    """Refuse a limit on cost that cannot be kept.

    Raises:
        ConfigurationError: `limits` has one, and the price of a model is not known.
    """
    if limits.max_cost is None:
        return
    models = (rlm.model, rlm.sub_model, *rlm.models.values())
    names = {name for model in models for name in model_names(model)}
    unknown = sorted(name for name in names if rlm.prices.of(name) is None)
    if unknown:
        raise ConfigurationError(
            f"max_cost={limits.max_cost} needs the price of {', '.join(unknown)}. Give "
            f"prices={{{unknown[0]!r}: {{'input': ..., 'output': ...}}}} in USD per million "
            "tokens; the prices of well-known models come with "
            "pip install 'langgraph-rlm[prices]'."
        )


# What is allowed


def _models(rlm: RLMRuntime, settings: RunSettings) -> dict[str, Model]:
    found: dict[str, Model] = {}
    if settings.model is not None:
        found["model"] = _model(rlm, "model", settings.model)
        if rlm.sub_model is rlm.model:
            found["sub_model"] = found["model"]
    if settings.sub_model is not None:
        found["sub_model"] = _model(rlm, "sub_model", settings.sub_model)
    return found


def _model(rlm: RLMRuntime, option: str, name: str) -> Model:
    if name in rlm.models:
        return rlm.models[name]
    patterns = rlm.configurable.models
    if any(fnmatchcase(name, pattern) for pattern in patterns):
        return rlm.named.of(name, option)
    known = [*sorted(rlm.models), *patterns]
    raise refused(option, name, "the graph does not allow this model.", known or ["none"])


def _prompt(rlm: RLMRuntime, prompt: str) -> str:
    if not rlm.configurable.prompt:
        raise refused("prompt", prompt, "the graph allows no prompt of a run's own.")
    return f"{rlm.prompt}\n\n{prompt}" if rlm.prompt else prompt


def _limits(rlm: RLMRuntime, given: dict[str, Any]) -> dict[str, Any]:
    ceiling = rlm.configurable.ceiling
    for name, value in given.items():
        highest = ceiling.get(name, getattr(rlm.limits, name))
        if highest is not None and (value is None or value > highest):
            why = f"{name} may be at most {highest:,} here."
            raise refused("limits", {name: value}, why)
    return given


def _tools(rlm: RLMRuntime, names: Sequence[str]) -> Sequence[str]:
    if not rlm.configurable.tools:
        raise refused("tools", names, "the graph's tools are the same for all runs.")
    known = rlm.toolset.names
    for name in names:
        if name not in known:
            raise refused("tools", name, "the graph has no such tool.", known or ["none"])
    return names


def _sandbox(rlm: RLMRuntime, name: str) -> str:
    own = rlm.sessions.sandboxes.name
    if name != own and name not in rlm.configurable.sandboxes:
        known = [own, *rlm.configurable.sandboxes]
        raise refused("sandbox", name, "the graph does not allow this sandbox.", known)
    return name
