"""Shared: models, tools, stores and interpreters of one `create_rlm`, shared by all its runs. Knows no run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from langchain_core.language_models import BaseChatModel

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.models.http_clients import Clients
from langgraph_rlm.models.resolve import takes_tools
from langgraph_rlm.repl.host import Host
from langgraph_rlm.repl.requests import Requests
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle
from langgraph_rlm.storage.reads import Reader
from langgraph_rlm.tools.toolset import Toolset

PREVIEW_CHARS = 300


@dataclass(frozen=True)
class RLMRuntime:
    """Models, tools, stores and interpreters of one `create_rlm`."""

    model: BaseChatModel
    sub_model: BaseChatModel
    models: Mapping[str, BaseChatModel]
    toolset: Toolset
    limits: Limits
    blobs: BlobStore
    sessions: Sessions
    prices: Prices
    interpreter: str
    """What the prompt says of the interpreter."""
    prompt: str | None
    window: int | None
    """Tokens that the root model takes, where the user says so."""
    compact_at: float
    """The share of the window at which the conversation is summed up."""
    response_format: Format | None
    """The form of the root's answers; None for text."""
    clients: Clients = field(default_factory=Clients)

    def root_model(self, depth: int, name: str | None) -> BaseChatModel:
        """Who writes the code of an RLM at `depth`: the root's model, or for a child the sub-model or the one that was picked."""
        return self.clients.here(self.model) if depth == 0 else self.sub(name)

    def sub(self, name: str | None) -> BaseChatModel:
        """Who answers an `llm_query`."""
        return self.clients.here(self.sub_model if name is None else self.models[name])

    def recursive(self, depth: int) -> bool:
        """Whether an RLM at `depth` may have children."""
        return depth + 1 < self.limits.max_depth

    def host(self, depth: int) -> Host:
        """What code at `depth` may call."""
        return self._hosts[self.recursive(depth), depth == 0]

    @cached_property
    def preview(self) -> Callable[[ContextHandle], str]:
        """The first characters of a context, which every turn shows; they are read once. Blocks. Raises `BlobError`."""

        def read(handle: ContextHandle) -> str:
            return Reader(handle, self.blobs).peek(0, PREVIEW_CHARS)[0]

        return lru_cache(maxsize=64)(read)

    @cached_property
    def native_tools(self) -> list[dict[str, Any]]:
        """What the root model may call without code, as `bind_tools` takes it; nothing if the model does not."""
        return self.toolset.native if takes_tools(self.model) else []

    @cached_property
    def requests(self) -> Requests:
        """What code has asked for."""
        return Requests(self.blobs)

    @cached_property
    def _hosts(self) -> dict[tuple[bool, bool], Host]:
        names = sorted(self.models)
        return {
            (is_recursive, is_root): Host(
                models=names,
                tools=self.toolset.at(0 if is_root else 1),
                is_recursive=is_recursive,
                blobs=self.blobs,
                requests=self.requests,
                limits=self.limits,
            )
            for is_recursive in (True, False)
            for is_root in (True, False)
        }
