"""Media: whether models take pictures, sounds and PDFs, by what LangChain knows of them.

Nothing is known of many models, such as those of a local server: these are asked.
"""

from collections.abc import Collection, Mapping
from typing import Literal

from langgraph_rlm.models.wrapped import Model, chat_models_of, model_name

Needed = Literal["image_inputs", "audio_inputs", "pdf_inputs", "image_url_inputs"]
"""A key of LangChain's model profiles."""

WORDS: Mapping[Needed, str] = {
    "image_inputs": "pictures",
    "audio_inputs": "sounds",
    "pdf_inputs": "PDFs",
    "image_url_inputs": "pictures by their address",
}


def lacks(model: Model, needed: Collection[Needed]) -> list[Needed]:
    """Give what of this a model is known not to take; a model with fallbacks as all of them do."""
    profiles = [each.profile or {} for each in chat_models_of(model)]
    return [each for each in needed if any(profile.get(each) is False for profile in profiles)]


def takes(model: Model, needed: Collection[Needed]) -> bool:
    """Whether a model is known to take all of this."""
    profiles = [each.profile or {} for each in chat_models_of(model)]
    return all(profile.get(each) is True for profile in profiles for each in needed)


def refusal(model: Model, needed: Collection[Needed], others: Mapping[str, Model]) -> str | None:
    """Say why a model cannot be asked, and which can; None where it can, as far as is known.

    Args:
        model: that code asks.
        needed: what the request has.
        others: the models by the names that code can give.
    """
    missing = lacks(model, needed)
    if not missing:
        return None
    words = " or ".join(WORDS[each] for each in missing)
    known = [repr(name) for name, other in others.items() if takes(other, needed)]
    untold = [repr(name) for name, other in others.items() if not lacks(other, needed)]
    told = "No other model here is known to: work from the text."
    if known or untold:
        told = f"Ask one that does, by model=: {' or '.join(known or untold)}."
    if missing == ["pdf_inputs"]:
        told += " Or name its pages as pictures, such as 'a.pdf#page=1'."
    return f"the model {model_name(model)!r} takes no {words}. {told}"
