"""Models: the names that users give, resolved to chat models, and the names of these."""

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langgraph_rlm.errors import ConfigurationError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

MODEL_VARIABLE = "LANGGRAPH_RLM_MODEL"
"""The environment variable that names the command's and the server's model."""

HOW = "Write it as 'provider:model', such as 'openai:gpt-5', or pass a LangChain chat model."


def resolve_model(
    model: "str | BaseChatModel",
    *,
    option: str = "model",
    settings: Mapping[str, Any] | None = None,
) -> "BaseChatModel":
    """Make a chat model from `"provider:model"`; give back one that is a chat model already.

    `openai` needs nothing more than OPENAI_API_KEY, and follows OPENAI_BASE_URL (vLLM, Ollama).
    Other providers are made by `langchain.chat_models.init_chat_model`.

    Args:
        model: the chat model or its name.
        option: the argument that it was given as, for messages.
        settings: for a model by name, what its class takes, such as `temperature`; values that are
            None are left out.

    Raises:
        ConfigurationError: no such provider, a missing package (with the command that installs
            it), or no key.
    """
    from langchain_core.language_models import BaseChatModel

    if isinstance(model, BaseChatModel):
        return model
    # Users pass anything.
    if not isinstance(model, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{option}={model!r} is not a chat model. {HOW}")
    provider, colon, name = model.partition(":")
    if not colon or not provider or not name:
        raise ConfigurationError(f"{option}={model!r} names no provider. {HOW}")
    given = {key: value for key, value in (settings or {}).items() if value is not None}
    if provider == "openai":
        return _openai(name, option, given)
    return _other(provider, name, option, given)


def _openai(name: str, option: str, settings: dict[str, Any]) -> "BaseChatModel":
    from langchain_openai import ChatOpenAI
    from openai import OpenAIError

    try:
        return ChatOpenAI(model=name, **settings)
    except OpenAIError as error:
        raise ConfigurationError(
            f"{option}='openai:{name}' cannot be used: {error} Set OPENAI_API_KEY (any text for a "
            "local server with OPENAI_BASE_URL)."
        ) from error


def _other(provider: str, name: str, option: str, settings: dict[str, Any]) -> "BaseChatModel":
    try:
        models: Any = importlib.import_module("langchain.chat_models")
    except ImportError as error:
        package = f"langchain-{provider.replace('_', '-')}"
        raise ConfigurationError(
            f"{option}='{provider}:{name}' needs LangChain's provider packages: "
            f"pip install langchain {package}. Without them, 'openai:...' works, and so does "
            "any chat model object."
        ) from error
    try:
        return models.init_chat_model(name, model_provider=provider, **settings)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{option}='{provider}:{name}' cannot be used: {error}") from error


def takes_tools(model: "BaseChatModel") -> bool:
    """Whether the model can be given tools to call."""
    from langchain_core.language_models import BaseChatModel

    return type(model).bind_tools is not BaseChatModel.bind_tools


def model_name(model: "BaseChatModel") -> str:
    """Give the name under which a model's prices and spending are kept."""
    for attribute in ("model_name", "model", "model_id"):
        name = getattr(model, attribute, None)
        if isinstance(name, str) and name:
            return name
    return type(model).__name__
