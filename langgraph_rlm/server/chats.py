"""Chats: from a model id and an owner to a chat model. The one seam between HTTP and `ChatRLM`."""

import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from cachetools import LRUCache

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.server.errors import unknown_model
from langgraph_rlm.server.names import models_of, named_model
from langgraph_rlm.server.settings import Alias, Settings
from langgraph_rlm.server.upstream import Upstream, environment_upstream

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from langgraph_rlm.chat.model import ChatRLM

DEFAULT = "rlm"
"""The id of the server's own model, `--model`."""
KEPT = 32
"""Chat models that are kept for the next request, by their ids."""

Chat = Callable[[str, str], "BaseChatModel | Awaitable[BaseChatModel]"]
"""Gives the chat model for the model id and the owner of a request, at once or awaited.

Raises `Refused` if there is no such model.
"""


# The list


def listed(settings: Settings) -> list[str]:
    """List the ids that the server offers by name."""
    names = set(settings.aliases)
    if settings.model:
        names.add(DEFAULT)
    return sorted(names)


async def described(settings: Settings, upstream: Upstream | None) -> Mapping[str, Any]:
    """Give the body of `GET /v1/models`: what the server names itself, then what the upstream
    lists, if clients may ask for that."""
    ours = listed(settings)
    theirs: tuple[str, ...] = ()
    if upstream is not None and settings.any_model:
        theirs = await upstream.models() or ()
    models = [_described(name, "langgraph-rlm") for name in ours]
    models += [_described(name, "upstream") for name in theirs if name not in ours]
    return {"object": "list", "data": models}


def _described(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}


# The models


def open_chat(settings: Settings, saver: "BaseCheckpointSaver[Any]") -> Chat:
    """Give the chat models of a server.

    Owners share a model's clients and interpreters, and nothing that belongs to one of them.
    """
    kept: LRUCache[str, ChatRLM] = LRUCache(KEPT)
    options = ModelOptions(settings)

    async def chat(model_id: str, owner: str) -> "BaseChatModel":
        if model_id not in kept:
            given = await options.of(model_id)
            kept[model_id] = _chat_rlm(model_id, given, settings, saver)
        return kept[model_id].for_owner(owner)

    return chat


def _chat_rlm(
    model_id: str,
    options: dict[str, Any],
    settings: Settings,
    saver: "BaseCheckpointSaver[Any]",
) -> "ChatRLM":
    from langgraph_rlm.chat.model import ChatRLM

    try:
        return ChatRLM(
            **options,
            skills=settings.skills,
            prices=settings.prices or None,
            checkpointer=saver,
            blob_store=settings.blob_store,
        )
    except ConfigurationError as error:
        raise unknown_model(f"The model {model_id!r} cannot be used: {error}") from error


class ModelOptions:
    """The arguments of `ChatRLM` that model ids stand for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._upstream = environment_upstream()
        self._others: dict[str, Upstream] = {}
        """The upstreams of aliases that have their own, by alias."""

    async def of(self, model_id: str) -> dict[str, Any]:
        """Give the arguments.

        Raises:
            Refused: there is no such model.
        """
        settings = self._settings
        if model_id in settings.aliases:
            try:
                return await self._of_alias(model_id, settings.aliases[model_id])
            except ConfigurationError as error:
                raise unknown_model(f"The model {model_id!r} cannot be used: {error}") from error
        if model_id == DEFAULT and settings.model:
            return await self._of_names(settings.model, settings.sub_model, self._upstream)
        if not settings.any_model:
            names = ", ".join(listed(settings)) or "none"
            raise unknown_model(f"There is no model {model_id!r}. The server has: {names}.")
        root, sub = await models_of(model_id, settings.sub_model, self._upstream)
        return self._with_window({"model": root, "sub_model": sub})

    async def _of_names(
        self, model: str, sub_model: str | None, upstream: Upstream
    ) -> dict[str, Any]:
        """Give the arguments for two whole names, colons included."""
        root = await named_model(model, upstream)
        sub = None
        if sub_model is not None:
            sub = await named_model(sub_model, upstream)
        return self._with_window({"model": root, "sub_model": sub})

    def _with_window(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "window_tokens": self._settings.window_tokens}

    async def _of_alias(self, name: str, alias: Alias) -> dict[str, Any]:
        key = None if alias.api_key_env is None else _key(alias.api_key_env)
        upstream = self._upstream
        if alias.base_url is not None:
            own = Upstream(alias.base_url, key or self._upstream.key)
            upstream = self._others.setdefault(name, own)
        if alias.sub_model is not None:
            options = await self._of_names(alias.model, alias.sub_model, upstream)
        else:
            root, sub = await models_of(alias.model, self._settings.sub_model, upstream)
            options = self._with_window({"model": root, "sub_model": sub})
        converted = {"model", "sub_model", "limits", "api_key_env"}
        options |= alias.model_dump(exclude_none=True, exclude=converted)
        if alias.limits is not None:
            options["limits"] = alias.limits
        if key is not None:
            options["api_key"] = key
        return options


def _key(variable: str) -> str:
    key = os.environ.get(variable)
    if not key:
        raise ConfigurationError(
            f"api_key_env={variable!r}: the environment has no such variable. "
            "Set it to the upstream's key."
        )
    return key
