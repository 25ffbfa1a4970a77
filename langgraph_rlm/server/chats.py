"""Chats: from a model id and an owner to a chat model. The one seam between HTTP and `ChatRLM`."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.errors import unknown_model
from langgraph_rlm.server.settings import Alias, Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from langgraph_rlm.chat.model import ChatRLM

DEFAULT = "rlm"
"""The id of the server's own model, `--model`."""
KEPT = 32
"""Chat models that are kept for the next request, by their ids."""
PROVIDERS = frozenset(
    """
    anthropic anthropic_bedrock azure_ai azure_openai baseten bedrock bedrock_converse cohere
    deepseek fireworks google_anthropic_vertex google_genai google_vertexai groq huggingface ibm
    litellm mistralai nvidia ollama openai openrouter perplexity together upstage xai
    """.split()  # noqa: SIM905 - a list of names reads best as one
)
"""What may stand before the slash of `provider/model`.

Any other name with a slash is a model of the OpenAI-compatible upstream.
"""

Chat = Callable[[str, str], "BaseChatModel"]
"""Gives the chat model for the model id and the owner of a request.

Raises `Refused` if there is no such model.
"""


def listed(settings: Settings) -> list[str]:
    """List the ids that the server offers by name."""
    names = set(settings.aliases)
    if settings.model:
        names.add(DEFAULT)
    return sorted(names)


def described(settings: Settings) -> Mapping[str, Any]:
    """Give the body of `GET /v1/models`."""
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "langgraph-rlm"}
        for name in listed(settings)
    ]
    return {"object": "list", "data": models}


def open_chat(settings: Settings, saver: "BaseCheckpointSaver[Any]") -> Chat:
    """Give the chat models of a server.

    Owners share a model's clients and interpreters, and nothing that belongs to one of them.
    """
    kept: LRUCache[str, ChatRLM] = LRUCache(KEPT)

    def chat(model_id: str, owner: str) -> "BaseChatModel":
        if model_id not in kept:
            kept[model_id] = _chat_rlm(model_id, settings, saver)
        return kept[model_id].for_owner(owner)

    return chat


def _chat_rlm(model_id: str, settings: Settings, saver: "BaseCheckpointSaver[Any]") -> "ChatRLM":
    from langgraph_rlm.chat.model import ChatRLM

    try:
        options = options_of(model_id, settings)
        return ChatRLM(**options, checkpointer=saver, blob_store=settings.blob_store)
    except ConfigurationError as error:
        raise unknown_model(f"The model {model_id!r} cannot be used: {error}") from error


def options_of(model_id: str, settings: Settings) -> dict[str, Any]:
    """Give the arguments of `ChatRLM` that a model id stands for.

    Raises:
        Refused: there is no such model.
    """
    if model_id in settings.aliases:
        return _options_of_alias(settings.aliases[model_id], settings)
    if model_id == DEFAULT and settings.model:
        return _options_of_models(settings.model, settings)
    if not settings.any_model:
        names = ", ".join(listed(settings)) or "none"
        raise unknown_model(f"There is no model {model_id!r}. The server has: {names}.")
    return _options_of_models(model_id, settings)


def _options_of_models(model_id: str, settings: Settings) -> dict[str, Any]:
    model, sub_model = models_of(model_id, settings.sub_model)
    return {"model": model, "sub_model": sub_model}


def _options_of_alias(alias: Alias, settings: Settings) -> dict[str, Any]:
    if alias.sub_model is not None:
        model = provider_model(alias.model)
        sub_model = provider_model(alias.sub_model)
    else:
        model, sub_model = models_of(alias.model, settings.sub_model)
    options: dict[str, Any] = {"model": model, "sub_model": sub_model}
    converted = {"model", "sub_model", "limits", "api_key_env"}
    options |= alias.model_dump(exclude_none=True, exclude=converted)
    if alias.limits is not None:
        options["limits"] = alias.limits
    if alias.api_key_env is not None:
        options["api_key"] = _key(alias.api_key_env)
    return options


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise ConfigurationError(
            f"api_key_env={variable!r}: the environment has no such variable. "
            "Set it to the upstream's key."
        )
    return key


def models_of(model_id: str, sub_model: str | None) -> tuple[str, str | None]:
    """Give the root model and the sub-model of an id.

    Args:
        model_id: `root:sub`, or one name.
        sub_model: the server's own sub-model, for an id of one name.

    Raises:
        Refused: one of the two names is empty.
    """
    root, colon, sub = model_id.partition(":")
    if not root or (colon and not sub):
        message = f"The model {model_id!r} names no model: write root:sub, or one name."
        raise unknown_model(message)
    if colon:
        return provider_model(root), provider_model(sub)
    if sub_model:
        return provider_model(root), provider_model(sub_model)
    return provider_model(root), None


def provider_model(name: str) -> str:
    """Give `provider:model`, LangChain's form, for `provider/model`.

    Any other name is a model of the OpenAI-compatible upstream: `openai:name`.
    """
    provider, _, model = name.partition("/")
    if model and provider in PROVIDERS:
        return f"{provider}:{model}"
    return f"openai:{name}"
