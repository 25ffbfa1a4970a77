"""Sampling: parameters of OpenAI's API for a model of any provider.

OpenAI's models take them all. Of another provider's model those are set that its class has as
fields, on a copy of it, since not every class takes them with a call. The rest is left out, and
`ignored_by` says what that is. Never calls a model.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel

from langgraph_rlm.models.wrapped import Model, first_of, is_openai
from langgraph_rlm.storage.json_types import is_dict

SAMPLING = "rlm_sampling"
"""Key of a call's options for such parameters; other options go to a model as they are."""

EXTRA_BODY = "extra_body"
"""Key of fields that only OpenAI-compatible servers know."""

NAMES: Mapping[str, tuple[str, ...]] = {
    "temperature": ("temperature",),
    "top_p": ("top_p",),
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens"),
    "seed": ("seed", "random_seed"),
    "frequency_penalty": ("frequency_penalty",),
    "presence_penalty": ("presence_penalty",),
    "logit_bias": ("logit_bias",),
    "reasoning_effort": ("reasoning_effort",),
    "verbosity": ("verbosity",),
}
"""What LangChain's classes call a parameter, by OpenAI's name."""


def ignored_by(model: Model, sampling: Mapping[str, Any]) -> list[str]:
    """Name the parameters that the model that is asked first does not have."""
    first = first_of(model)
    if is_openai(first):
        return []
    names = [name for name in sampling if name != EXTRA_BODY and _field(first, name) is None]
    return [*names, *sampling.get(EXTRA_BODY, {})]


def sampled(
    model: BaseChatModel, sampling: Mapping[str, Any]
) -> tuple[BaseChatModel, dict[str, Any]]:
    """Give a model with the parameters that it has.

    Returns:
        A copy of the model, and what has to be given with a call.
    """
    if is_openai(model):
        return model, _with_own_body(model, sampling)
    fields: dict[str, Any] = {}
    given: dict[str, Any] = {}
    for name, value in sampling.items():
        field = _field(model, name)
        if field is not None:
            fields[field] = value
        elif name == "max_tokens":  # LangChain's own name for it, which most classes take
            given[name] = value
    return (model.model_copy(update=fields) if fields else model), given


def _field(model: BaseChatModel, name: str) -> str | None:
    """Give the field of a model's class that a parameter is, if it has one."""
    fields: Iterable[str] = type(model).model_fields
    return next((field for field in NAMES.get(name, ()) if field in fields), None)


def _with_own_body(model: BaseChatModel, sampling: Mapping[str, Any]) -> dict[str, Any]:
    """Add to the fields of a request's body those that the model has of its own."""
    given = dict(sampling)
    own: Any = getattr(model, EXTRA_BODY, None)
    if EXTRA_BODY in given and is_dict(own):
        given[EXTRA_BODY] = {**own, **given[EXTRA_BODY]}
    return given
