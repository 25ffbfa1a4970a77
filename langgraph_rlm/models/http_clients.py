"""HTTP clients: one for each event loop, replies of OpenAI's API put right, and retries taken over.

A client keeps its connections on the event loop that opened them. LangChain's models share one
client for the whole process: used from a second loop, it fails with "Event loop is closed".
"""

import asyncio
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from langgraph_rlm.models.pace import Paces

if TYPE_CHECKING:
    import httpx2
    from langchain_core.language_models import BaseChatModel

    from langgraph_rlm.models.wrapped import Model


KEPT_MODELS = 256
"""Models of one loop that are kept. Runs may name models of their own."""

NEEDED = {"aiohttp": (3, 14), "openai": (3, 57)}
"""The versions that `aiohttp_transport.py` needs, which the extra `openai` brings."""


def aiohttp_version() -> str | None:
    """Give the version of the aiohttp that OpenAI's client is used with; None where it is httpx."""
    if not all(find_spec(name) for name in NEEDED):
        return None
    found = {name: version(name) for name in NEEDED}
    is_enough = all(_numbers(found[name]) >= NEEDED[name] for name in NEEDED)
    return found["aiohttp"] if is_enough else None


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdecimal() else 0 for part in text.split(".")[:2])


def openai_http_client(**options: Any) -> "httpx2.AsyncClient":
    """Make an HTTP client for OpenAI's client: over aiohttp where the extra `openai` is installed,
    which takes half the CPU time a call, else over httpx.

    Args:
        options: as `httpx2.AsyncClient` takes them, such as `verify`, `proxy` and `limits`.
    """
    if aiohttp_version() is None:
        from openai import DefaultAsyncHttpxClient

        return DefaultAsyncHttpxClient(**options)
    from langgraph_rlm.models.aiohttp_transport import AiohttpTransport
    from langgraph_rlm.pregel.aiohttp_client import aiohttp_client

    return aiohttp_client(AiohttpTransport, **options)


class Clients:
    """The models of one RLM, as each event loop may use them."""

    def __init__(self) -> None:
        self._models: WeakKeyDictionary[
            asyncio.AbstractEventLoop, LRUCache[int, tuple[Model, Model]]
        ] = WeakKeyDictionary()
        """Of each loop: a model that was given and the one of the loop, by the `id` of the first,
        which no other object gets while it is held here."""
        self._http: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Any]] = (
            WeakKeyDictionary()
        )
        """The HTTP clients of each loop, by their class and proxy."""
        self._paces = Paces()

    def here(self, model: "Model") -> "Model":
        """Give the model for the running event loop.

        Its chat models keep the pace of the tree (`patience.py`). Those for OpenAI's and
        Anthropic's API are others: they make no retries of their own, replies of OpenAI's are put
        right (`openai_replies.py`), and those that the user gave no HTTP client use one of this
        loop.
        """
        from langgraph_rlm.models.wrapped import chat_models_of, mapped

        models = self._models.setdefault(asyncio.get_running_loop(), LRUCache(KEPT_MODELS))
        if id(model) not in models:
            is_named = len(list(chat_models_of(model))) > 1
            own = mapped(model, lambda each: self._chat_model(each, is_named=is_named))
            models[id(model)] = (model, own)
        return models[id(model)][1]

    def _chat_model(self, model: "BaseChatModel", *, is_named: bool) -> "Model":
        from langgraph_rlm.models.caching import is_anthropic
        from langgraph_rlm.models.patience import Patient
        from langgraph_rlm.models.wrapped import is_openai

        own, retries = model, 0
        if is_openai(model):
            own, retries = self._openai(model)
        elif is_anthropic(model):
            own, retries = self._anthropic(model)
        pace = self._paces.of(model)
        return Patient(bound=own, pace=pace, retries=retries, is_named=is_named)

    def _openai(self, model: "BaseChatModel") -> "tuple[BaseChatModel, int]":
        """Give a model of this loop that makes no retries, and how many it would have made."""
        from openai import DefaultAsyncHttpxClient

        from langgraph_rlm.models.openai_replies import Completions
        from langgraph_rlm.models.resolve import is_made_here

        copy: Any = model.model_copy()
        retries: int = copy.root_async_client.max_retries
        options: dict[str, Any] = {"max_retries": 0}
        given, proxy = (
            getattr(model, name, None) for name in ("http_async_client", "openai_proxy")
        )
        if is_made_here(model) and (given is None or proxy is not None):
            options["http_client"] = self._client(openai_http_client, proxy)
        elif given is None:
            options["http_client"] = self._client(DefaultAsyncHttpxClient)
        copy.root_async_client = copy.root_async_client.with_options(**options)
        copy.async_client = Completions(copy.root_async_client.chat.completions)
        if copy.stream_usage is None:  # as LangChain leaves it where there is a base URL
            copy.stream_usage = True
        return copy, retries

    def _anthropic(self, model: "BaseChatModel") -> "tuple[BaseChatModel, int]":
        """Give a model of this loop that makes no retries, and how many it would have made."""
        from anthropic import DefaultAsyncHttpxClient

        from langgraph_rlm.pregel.keys import with_anthropic_client

        proxy = getattr(model, "anthropic_proxy", None)
        client = self._client(DefaultAsyncHttpxClient, proxy)
        retries: int = getattr(model, "max_retries", 0)
        return with_anthropic_client(model, http_client=client, max_retries=0), retries

    def _client(self, kind: Any, proxy: str | None = None) -> Any:
        """Give the HTTP client of the running loop."""
        clients = self._http.setdefault(asyncio.get_running_loop(), {})
        if (kind, proxy) not in clients:
            clients[kind, proxy] = kind(proxy=proxy) if proxy else kind()
        return clients[kind, proxy]
