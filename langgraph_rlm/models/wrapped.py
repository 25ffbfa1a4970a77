"""Wrapped models: chat models behind `bind`, `with_config`, `with_retry` and `with_fallbacks`.

LangChain gives these back as runnables, which have none of a chat model's own methods. Here the
chat models within are found, and changed where they stand. Never calls a model.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeGuard

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

Model = Runnable[Any, Any]
"""A chat model, or a wrapper that leads to one: see `is_model`."""


def is_model(value: object) -> TypeGuard[Model]:
    """Tell whether a value is a chat model, or a wrapper around nothing else."""
    if isinstance(value, BaseChatModel):
        return True
    within = _within(value)
    return len(within) > 0 and all(is_model(each) for each in within)


def chat_models_of(model: Model) -> Iterator[BaseChatModel]:
    """Give the chat models of a model, those that are asked first before their fallbacks."""
    if isinstance(model, BaseChatModel):
        yield model
    for each in _within(model):
        yield from chat_models_of(each)


def first_of(model: Model) -> BaseChatModel:
    """Give the chat model that is asked first."""
    return next(chat_models_of(model))


def mapped(model: Model, change: Callable[[BaseChatModel], Model]) -> Model:
    """Give the same wrappers around changed chat models."""
    if isinstance(model, BaseChatModel):
        return change(model)
    if isinstance(model, RunnableWithFallbacks):
        first = mapped(model.runnable, change)
        others = [mapped(fallback, change) for fallback in model.fallbacks]
        return model.model_copy(update={"runnable": first, "fallbacks": others})
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update={"bound": mapped(model.bound, change)})
    raise TypeError(f"{model!r} leads to no chat model.")


def takes_tools(model: Model) -> bool:
    """Whether each chat model of a model can be given tools to call."""
    return all(
        type(each).bind_tools is not BaseChatModel.bind_tools for each in chat_models_of(model)
    )


def is_openai(model: BaseChatModel) -> bool:
    """Whether a chat model is LangChain's for OpenAI's API, or a child of it (Azure, xAI, ...).

    These take OpenAI's parameters under their own names.
    """
    return getattr(model, "root_async_client", None) is not None


def profile_of(model: Model) -> dict[str, Any]:
    """Give what LangChain knows of the model that is asked first; empty for an unknown one."""
    return {**(first_of(model).profile or {})}


def model_name(model: Model) -> str:
    """Give the name under which a model's prices and spending are kept.

    With fallbacks that is the name of the model that is asked first.
    """
    if isinstance(model, RunnableBindingBase):
        name = model.kwargs.get("model")
        return name if isinstance(name, str) else model_name(model.bound)
    if isinstance(model, RunnableWithFallbacks):
        return model_name(model.runnable)
    for attribute in ("model_name", "model", "model_id"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__


def model_names(model: Model) -> list[str]:
    """Give the names under which a model's spending may be kept: one for each of its fallbacks."""
    if isinstance(model, RunnableWithFallbacks):
        return [name for each in _within(model) for name in model_names(each)]
    if isinstance(model, RunnableBindingBase) and not isinstance(model.kwargs.get("model"), str):
        return model_names(model.bound)
    return [model_name(model)]


def _within(value: object) -> Sequence[Any]:
    """Give what a wrapper wraps; nothing for anything else."""
    if isinstance(value, RunnableWithFallbacks):
        return [value.runnable, *value.fallbacks]
    if isinstance(value, RunnableBindingBase):
        return [value.bound]
    return []
