"""HTTP clients: one for each event loop, and replies of OpenAI's API put right.

A client keeps its connections on the event loop that opened them. LangChain's OpenAI models share
one client for the whole process: used from a second loop, it fails with "Event loop is closed".
"""

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cachetools import LRUCache

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

    from langgraph_rlm.models.wrapped import Model


KEPT_MODELS = 256
"""Models of one loop that are kept. Runs may name models of their own."""


class Clients:
    """The models of one RLM, as each event loop may use them."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[
            asyncio.AbstractEventLoop, LRUCache[int, tuple[Model, Model]]
        ] = WeakKeyDictionary()
        """Of each loop: a model that was given and the one of the loop, by the `id` of the first,
        which no other object gets while it is held here."""
        self._http: WeakKeyDictionary[asyncio.AbstractEventLoop, Any] = WeakKeyDictionary()

    def here(self, model: "Model") -> "Model":
        """Give the model for the running event loop.

        That is the model itself, with other OpenAI models in it: their replies are put right
        (`openai_replies.py`), and those that the user gave no HTTP client use one of this loop.
        """
        from langgraph_rlm.models.wrapped import mapped

        models = self._models.setdefault(asyncio.get_running_loop(), LRUCache(KEPT_MODELS))
        if id(model) not in models:
            models[id(model)] = (model, mapped(model, self._chat_model))
        return models[id(model)][1]

    def _chat_model(self, model: "BaseChatModel") -> "BaseChatModel":
        from langgraph_rlm.models.openai_replies import Completions
        from langgraph_rlm.models.wrapped import is_openai

        if not is_openai(model):
            return model
        copy: Any = model.model_copy()
        if getattr(model, "http_async_client", None) is None:
            copy.root_async_client = copy.root_async_client.with_options(http_client=self._client())
        copy.async_client = Completions(copy.root_async_client.chat.completions)
        if copy.stream_usage is None:  # as LangChain leaves it where there is a base URL
            copy.stream_usage = True
        return copy

    def _client(self) -> Any:
        """Give the HTTP client of the running loop."""
        from openai import DefaultAsyncHttpxClient

        loop = asyncio.get_running_loop()
        if loop not in self._http:
            self._http[loop] = DefaultAsyncHttpxClient()
        return self._http[loop]
