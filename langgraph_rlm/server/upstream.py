"""Upstream: the models that an OpenAI-compatible server lists, asked now and then. Chooses none."""

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json

from langgraph_rlm.hosting.secrets import without_secrets
from langgraph_rlm.models.failures import is_page, page_text
from langgraph_rlm.models.http_clients import openai_http_client
from langgraph_rlm.models.resolve import base_address
from langgraph_rlm.storage.json_types import is_dict, is_list

LOG = logging.getLogger("langgraph_rlm.server")

KEPT_SECONDS = 60.0
"""How long a list is used."""
RETRY_SECONDS = 10.0
"""How long an upstream that gave no list is left alone."""
TIMEOUT_SECONDS = 5.0
MOST_MODELS = 10_000
LONGEST_ID = 256
"""Characters of an id; longer ones are left out."""

LONGEST_LOG = 300
"""Characters of an error in the log."""

KEY_VARIABLE = "OPENAI_API_KEY"


@dataclass
class Upstream:
    """One upstream, whose list is kept."""

    base_url: str | None
    """Where it is; None is OpenAI itself."""
    key: str | None = field(repr=False, default=None)
    _models: tuple[str, ...] | None = None
    _until: float = 0.0
    """The `time.monotonic()` until which the list, or its absence, is taken for granted."""
    _asking: "asyncio.Lock | None" = field(default=None, repr=False)

    @property
    def has_own_names(self) -> bool:
        """Whether it may be another server than OpenAI's, whose models have slashes in their
        names."""
        return self.base_url is not None

    async def models(self) -> tuple[str, ...] | None:
        """Give the ids that it lists; None if it gives no list.

        It is asked once a minute at most, by one request at a time. An older list is better than
        none.
        """
        if self.base_url is None and self.key is None:
            return None
        if self._asking is None:
            self._asking = asyncio.Lock()
        async with self._asking:
            if time.monotonic() >= self._until:
                await self._ask()
        return self._models

    async def _ask(self) -> None:
        # the package takes half a second to import, during which the loop would serve nobody
        openai: Any = await asyncio.to_thread(__import__, "openai")
        self._until = time.monotonic() + RETRY_SECONDS
        try:
            async with openai.AsyncOpenAI(
                base_url=self.base_url,
                api_key=self.key or "none",
                timeout=TIMEOUT_SECONDS,
                max_retries=0,
                http_client=openai_http_client(),
            ) as client:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    response: Any = await client.models.with_raw_response.list()
            self._models = _ids_in(response.text)
            self._until = time.monotonic() + KEPT_SECONDS
        except Exception as error:  # noqa: BLE001 - whatever a client raises: there is no list
            told = without_secrets(repr(error))[:LONGEST_LOG]
            LOG.info("The upstream gave no list of its models: %s", told)


def environment_upstream() -> Upstream:
    """Give the upstream that the environment names."""
    return Upstream(base_address(), os.environ.get(KEY_VARIABLE) or None)


def _ids_in(text: str) -> tuple[str, ...]:
    """Read the ids in a list of models.

    Raises:
        ValueError: it is no list of models.
    """
    if is_page(text):
        raise ValueError(f"it sent a page of HTML: {page_text(text)}")
    listed: object = from_json(text)
    models = listed.get("data") if is_dict(listed) else None
    if not is_list(models):
        raise ValueError("its answer has no `data`")
    ids = [model.get("id") for model in models[:MOST_MODELS] if is_dict(model)]
    return tuple(id for id in ids if isinstance(id, str) and _is_plain(id))


def _is_plain(id: str) -> bool:
    return 0 < len(id) <= LONGEST_ID and id.isprintable()
