"""Chats: from a model id and an owner to a chat model. The one seam between HTTP and `ChatRLM`."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.errors import Refused
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
    anthropic anthropic_bedrock azure_ai azure_openai baseten bedrock bedrock_converse cohere deepseek fireworks google_anthropic_vertex
    google_genai google_vertexai groq huggingface ibm litellm mistralai nvidia ollama openai openrouter perplexity together upstage xai
    """.split()  # noqa: SIM905 - a list of names reads best as one
)
"""What may stand before the slash of `provider/model`; another name with a slash is a model of the OpenAI-compatible upstream."""

Chat = Callable[[str, str], "BaseChatModel"]
"""A chat model from the model id and the owner of a request. Raises `Refused`: there is no such model."""


def listed(settings: Settings) -> list[str]:
    """The ids that the server offers by name."""
    return sorted({*settings.aliases, *([DEFAULT] if settings.model else [])})


def open_chat(settings: Settings, saver: "BaseCheckpointSaver[Any]") -> Chat:
    """The chat models of a server. Owners share a model's clients and interpreters, and nothing that is theirs."""
    kept: OrderedDict[str, ChatRLM] = OrderedDict()

    def chat(model_id: str, owner: str) -> "BaseChatModel":
        if model_id not in kept:
            kept[model_id] = _chat_rlm(model_id, settings, saver)
            if len(kept) > KEPT:
                kept.popitem(last=False)
        kept.move_to_end(model_id)
        return kept[model_id].for_owner(owner)

    return chat


def _chat_rlm(model_id: str, settings: Settings, saver: "BaseCheckpointSaver[Any]") -> "ChatRLM":
    from langgraph_rlm.chat.model import ChatRLM

    try:
        return ChatRLM(
            **options_of(model_id, settings), checkpointer=saver, blob_store=settings.blob_store
        )
    except ConfigurationError as error:
        raise Refused(
            404,
            f"The model {model_id!r} cannot be used: {error}",
            param="model",
            code="model_not_found",
        ) from error


def options_of(model_id: str, settings: Settings) -> dict[str, Any]:
    """The arguments of `ChatRLM` that a model id stands for.

    Raises:
        Refused: there is no such model.
    """
    if model_id in settings.aliases:
        return _options_of_alias(settings.aliases[model_id], settings)
    if model_id == DEFAULT and settings.model:
        return dict(
            zip(("model", "sub_model"), models_of(settings.model, settings.sub_model), strict=True)
        )
    if not settings.any_model:
        names = ", ".join(listed(settings)) or "none"
        raise Refused(
            404,
            f"There is no model {model_id!r}. The server has: {names}.",
            param="model",
            code="model_not_found",
        )
    return dict(zip(("model", "sub_model"), models_of(model_id, settings.sub_model), strict=True))


def _options_of_alias(alias: Alias, settings: Settings) -> dict[str, Any]:
    if alias.sub_model is not None:
        model, sub_model = provider_model(alias.model), provider_model(alias.sub_model)
    else:
        model, sub_model = models_of(alias.model, settings.sub_model)
    rest = alias.model_dump(
        exclude_none=True, exclude={"model", "sub_model", "limits", "api_key_env"}
    )
    if alias.limits is not None:
        rest["limits"] = alias.limits
    if alias.api_key_env is not None:
        rest["api_key"] = _key(alias.api_key_env)
    return {"model": model, "sub_model": sub_model, **rest}


def _key(variable: str) -> str:
    if not (key := os.environ.get(variable)):
        raise ConfigurationError(
            f"api_key_env={variable!r}: the environment has no such variable. Set it to the upstream's key."
        )
    return key


def models_of(model_id: str, sub_model: str | None) -> tuple[str, str | None]:
    """The root's and the sub-calls' model of `root:sub`, or of one name and the server's own `sub_model`."""
    root, colon, sub = model_id.partition(":")
    if not root or (colon and not sub):
        raise Refused(
            404,
            f"The model {model_id!r} names no model: write root:sub, or one name.",
            param="model",
            code="model_not_found",
        )
    if not colon:
        return provider_model(root), provider_model(sub_model) if sub_model else None
    return provider_model(root), provider_model(sub)


def provider_model(name: str) -> str:
    """`provider:model`, as LangChain has it, of `provider/model`; of any other name, a model of the OpenAI-compatible upstream."""
    provider, slash, model = name.partition("/")
    return f"{provider}:{model}" if slash and model and provider in PROVIDERS else f"openai:{name}"


def described(settings: Settings) -> Mapping[str, Any]:
    """The body of `GET /v1/models`."""
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "langgraph-rlm"}
        for name in listed(settings)
    ]
    return {"object": "list", "data": models}
