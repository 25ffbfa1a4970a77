"""HTTP clients: one for each event loop.

A client keeps its connections on the event loop that opened them. LangChain's OpenAI models share
one client for the whole process: used from a second loop, it fails with "Event loop is closed".
"""

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel


class Clients:
    """The models of one RLM, as each event loop may use them."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, BaseChatModel]] = (
            WeakKeyDictionary()
        )
        """The models of each loop, by the `id` of the model that was given."""
        self._http: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def here(self, model: "BaseChatModel") -> "BaseChatModel":
        """Give the model for the running event loop.

        That is the model itself, unless it is an OpenAI model that the user gave no HTTP client.

        Args:
            model: kept alive by the caller for as long as this object.
        """
        models = self._models.setdefault(asyncio.get_running_loop(), {})
        if id(model) not in models:
            models[id(model)] = self._with_client(model) if _is_shared(model) else model
        return models[id(model)]

    def _with_client(self, model: "BaseChatModel") -> "BaseChatModel":
        """Copy a model, with the HTTP client of the running loop."""
        from openai import DefaultAsyncHttpxClient

        loop = asyncio.get_running_loop()
        if loop not in self._http:
            self._http[loop] = DefaultAsyncHttpxClient()
        copy: Any = model.model_copy()
        copy.root_async_client = copy.root_async_client.with_options(http_client=self._http[loop])
        copy.async_client = copy.root_async_client.chat.completions
        return copy


def _is_shared(model: "BaseChatModel") -> bool:
    """Whether the model calls through the HTTP client that LangChain's OpenAI models share."""
    return (
        getattr(model, "root_async_client", None) is not None
        and getattr(model, "http_async_client", None) is None
    )
