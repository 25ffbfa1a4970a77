"""Models: the names that users give, resolved to chat models."""

import importlib
import os
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cachetools import LRUCache

from langgraph_rlm.errors import ConfigurationError, problems_in, shown

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_rlm.models.wrapped import Model

MODEL_VARIABLE = "LANGGRAPH_RLM_MODEL"
"""The environment variable that names the command's and the server's model."""

BASE_VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_BASE")
"""The environment variables with the address of OpenAI's API, or of another server of it."""

MADE_HERE = "_rlm_made_here"
"""Mark of models that were made of their names: an attribute that their copies keep."""

HOW = "Write it as 'provider:model', such as 'openai:gpt-5', or pass a LangChain chat model."


def base_address() -> str | None:
    """Give the address of OpenAI's API that the environment names; None is OpenAI's own."""
    given = (os.environ.get(variable) for variable in BASE_VARIABLES)
    return next((url for url in given if url), None)


def resolve_model(
    model: "str | Model",
    *,
    option: str = "model",
    settings: Mapping[str, Any] | None = None,
) -> "Model":
    """Make a chat model from `"provider:model"`; give back what is a model already.

    `openai` needs nothing more than OPENAI_API_KEY, and follows OPENAI_BASE_URL (vLLM, Ollama).
    Other providers are made by `langchain.chat_models.init_chat_model`.

    Args:
        model: the name; or a chat model, also behind `bind`, `with_config`, `with_retry` and
            `with_fallbacks`.
        option: the argument that it was given as, for messages.
        settings: for a model by name, what its class takes, such as `temperature`; values that are
            None are left out.

    Raises:
        ConfigurationError: no such provider, a missing package (with the command that installs
            it), or no key.
    """
    from langgraph_rlm.models.wrapped import is_model

    if is_model(model):
        return model
    if not isinstance(model, str):  # users pass anything
        raise ConfigurationError(f"{option}={shown(model)} is not a chat model. {HOW}")
    provider, colon, name = model.partition(":")
    if not colon or not provider or not name:
        raise ConfigurationError(f"{option}={model!r} names no provider. {HOW}")
    given = {key: value for key, value in (settings or {}).items() if value is not None}
    if provider == "openai":
        made = _openai(name, option, given)
    else:
        made = _other(provider, name, option, given)
    vars(made)[MADE_HERE] = True  # its class has no such field
    return made


def is_made_here(model: "BaseChatModel") -> bool:
    """Whether a model was made of its name, so that the HTTP client is this package's to choose."""
    return MADE_HERE in vars(model)


def _openai(name: str, option: str, settings: dict[str, Any]) -> "BaseChatModel":
    from langchain_openai import ChatOpenAI
    from openai import OpenAIError
    from pydantic import ValidationError

    for variable in BASE_VARIABLES:
        check_address(variable, os.environ.get(variable))
    check_address("base_url", settings.get("base_url"))
    try:
        return ChatOpenAI(model=name, **settings)
    except ValidationError as error:
        problems = problems_in(error, has_values=False)
        raise ConfigurationError(f"{option}='openai:{name}' cannot be used: {problems}.") from None
    except OpenAIError as error:
        raise ConfigurationError(
            f"{option}='openai:{name}' cannot be used: {error} Set OPENAI_API_KEY (any text for a "
            "local server with OPENAI_BASE_URL)."
        ) from error


KEPT_NAMED = 64
"""Models by name that are kept for later runs."""


class NamedModels:
    """Models that runs ask for by name. Runs that name the same one share it."""

    def __init__(self) -> None:
        self._made: LRUCache[str, Model] = LRUCache(KEPT_NAMED)
        self._lock = threading.Lock()

    def of(self, name: str, option: str) -> "Model":
        """Give the model of `"provider:model"`. Blocks: it may import a package.

        Raises:
            ConfigurationError: as in `resolve_model`.
        """
        with self._lock:
            if name not in self._made:
                self._made[name] = resolve_model(name, option=option)
            return self._made[name]


def check_address(name: str, url: str | None) -> None:
    """Check that the address of an API can be one.

    Args:
        name: of the option or the variable that has it.
        url: the address; None for none.

    Raises:
        ConfigurationError: it cannot.
    """
    try:
        _ = urlsplit(url or "").port
    except ValueError as error:
        raise ConfigurationError(
            f"{name}={shown(url)} is not an address: {error}. Write it as http://HOST:PORT/v1."
        ) from None


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
