"""Shared: models, tools, blobs and interpreters of one `create_rlm`, shared by all of its runs.
Knows no run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.log.places import AnyLog, questions_of
from langgraph_rlm.models.caching import CacheLife
from langgraph_rlm.models.http_clients import Clients
from langgraph_rlm.models.media import refusal
from langgraph_rlm.models.resolve import NamedModels
from langgraph_rlm.models.wrapped import Model, takes_tools
from langgraph_rlm.pregel.known_history import Histories
from langgraph_rlm.repl.base import Backend, capacity_of
from langgraph_rlm.repl.host import Host, limits_of_thread
from langgraph_rlm.repl.requests import Requests
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.runtime.beginnings import Beginnings
from langgraph_rlm.runtime.children import RemoteChildren
from langgraph_rlm.runtime.parts import needed_for
from langgraph_rlm.runtime.settings import Configurable
from langgraph_rlm.runtime.windows import LEAST_CHARS, Windows
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import MEDIA, ContextHandle, described_handle
from langgraph_rlm.storage.pages import Pages
from langgraph_rlm.storage.reads import PREVIEW_CHARS, Reader
from langgraph_rlm.storage.references import Reference, names_in
from langgraph_rlm.storage.shapes import shape_of
from langgraph_rlm.storage.skill_folders import SkillFolders
from langgraph_rlm.tools.toolset import Toolset

NAMES_SHOWN = 2
"""Names of pictures in a context that its question shows."""

SHAPE_CHARS = 20_000
"""Characters of a context that are looked at to say what its items are."""


@dataclass(eq=False)
class RLMRuntime:
    """What all runs of one graph share."""

    model: Model
    sub_model: Model
    models: Mapping[str, Model]
    """More sub-models, by the name that code gives as `model=`."""
    toolset: Toolset
    limits: Limits
    blobs: BlobStore
    sessions: Sessions
    prices: Prices
    prompt: str | None
    """The user's own instructions."""
    windows: Windows
    """How many tokens root models take."""
    compact_at: float
    """The share of the window at which the conversation is summed up."""
    response_format: Format | None
    """The form of the root's answers; None for text."""
    prompt_caching: CacheLife | None
    """How long Claude keeps conversations in its cache; None tells providers nothing."""
    skills: SkillFolders
    """What questions may use of skills, as it is on disk."""
    configurable: Configurable = field(default_factory=Configurable)
    """What a run may set for itself."""
    children: RemoteChildren | None = None
    """Where children run; None for this process."""
    named: NamedModels = field(default_factory=NamedModels)
    """Models that runs have asked for by `"provider:model"`."""
    sandbox_name: str | None = None
    """The sandbox that a run has chosen for a new thread; None for the graph's own."""
    clients: Clients = field(default_factory=Clients)
    beginnings: Beginnings = field(default_factory=Beginnings)
    """What the conversations of root models begin with."""
    histories: Histories = field(default_factory=partial(Histories, "log"))
    """The logs of threads as they were read last."""
    begun: set[str] = field(default_factory=set[str])
    """Marks of tools that must not run twice: those that were begun in this process and have not
    started."""

    def root_model(self, depth: int, name: str | None) -> Model:
        """The model that writes the code of an RLM, usable on this event loop.

        Args:
            depth: of the RLM. The root has a model of its own, children have sub-models.
            name: of the sub-model that a parent's code picked for this child.
        """
        return self.clients.here(self.model) if depth == 0 else self.sub(name)

    def output_chars(self, depth: int, name: str | None) -> int:
        """The most characters of one cell's output that a root model is shown: no more than a
        quarter of its window.

        Args:
            depth: of the RLM.
            name: as in `root_model`.
        """
        model = self.model if depth == 0 else self._sub(name)
        return min(self.limits.max_output_chars, max(LEAST_CHARS, self.windows.of(model)))

    def _sub(self, name: str | None) -> Model:
        return self.sub_model if name is None else self.models[name]

    def sub(self, name: str | None) -> Model:
        """The model that answers an `llm_query`, usable on this event loop."""
        return self.clients.here(self._sub(name))

    def is_recursive(self, depth: int) -> bool:
        """Whether an RLM at `depth` may have children."""
        return depth + 1 < self.limits.max_depth

    def sandbox(self, log: AnyLog) -> Backend:
        """The sandbox in which an RLM began, by its log; for a new one, that in which it begins.

        Raises:
            ConfigurationError: the graph was made with another one.
            SandboxError: this machine cannot have it.
        """
        questions, sandboxes = questions_of(log), self.sessions.sandboxes
        if not questions and self.sandbox_name is not None:
            return sandboxes.named(self.sandbox_name)
        return sandboxes.of(questions)

    def limits_in(self, log: AnyLog) -> Limits:
        """The limits of an RLM; its log says with what memory its interpreter began."""
        return limits_of_thread(self.limits, questions_of(log))

    def host(self, depth: int, log: AnyLog) -> Host:
        """What code of the RLM with this log may call at `depth`.

        It is asked of a graph's own runtime: what a question has of its own, the log says.
        """
        host = self._hosts[self.is_recursive(depth), depth == 0]
        capacity, limits = capacity_of(self.sandbox(log)), self.limits_in(log)
        return replace(host, capacity=capacity, limits=limits, depth=depth)

    @cached_property
    def preview(self) -> Callable[[ContextHandle], str]:
        """Reads the first characters of a context, once for all turns that show them. Blocks.
        Raises `BlobError`."""

        def read(handle: ContextHandle) -> str:
            if handle.kind in MEDIA:
                return ""
            return Reader(handle, self.blobs).peek(0, PREVIEW_CHARS)[0]

        return lru_cache(maxsize=64)(read)

    @cached_property
    def shape(self) -> Callable[[ContextHandle], str]:
        """Says what the items of a context are, or a picture is, once for all turns that show it.
        Blocks. Raises `BlobError`."""

        def read(handle: ContextHandle) -> str:
            if handle.kind in MEDIA:
                return described_handle(handle, self.blobs)
            return shape_of(handle.kind, Reader(handle, self.blobs).peek(0, SHAPE_CHARS)[0])

        return lru_cache(maxsize=64)(read)

    def refusal(self, name: str | None, references: Sequence[Reference]) -> str | None:
        """Why the model that code asks cannot be shown these; None where it can, as far as is
        known."""
        needed = needed_for(references)
        return refusal(self._sub(name), needed, self.models) if needed else None

    @cached_property
    def names_shown(self) -> Callable[[ContextHandle], list[str]]:
        """Gives some names of what a context has that models can be shown, as literals. Blocks.
        Raises `BlobError`."""

        def read(handle: ContextHandle) -> list[str]:
            if handle.kind in MEDIA:
                return []
            return [repr(name) for name in names_in(handle, self.blobs, NAMES_SHOWN)]

        return lru_cache(maxsize=64)(read)

    @cached_property
    def pages(self) -> Pages:
        """The pictures that have to be made before a model is shown them."""
        return Pages(self.blobs)

    @cached_property
    def native_tools(self) -> list[dict[str, Any]]:
        """The tools that the root model may call without code, as `bind_tools` takes them; none if
        it takes no tools."""
        return self.toolset.native if takes_tools(self.model) else []

    @cached_property
    def requests(self) -> Requests:
        """The requests in the logs of this graph's runs."""
        return Requests(self.blobs)

    @cached_property
    def _hosts(self) -> dict[tuple[bool, bool], Host]:
        """By whether RLMs may have children, and whether it is the root."""
        kinds = [(able, is_root) for able in (True, False) for is_root in (True, False)]
        return {kind: self._host(*kind) for kind in kinds}

    def _host(self, is_recursive: bool, is_root: bool) -> Host:
        return Host(
            models=sorted(self.models),
            tools=self.toolset.at(0 if is_root else 1),
            is_recursive=is_recursive,
            blobs=self.blobs,
            requests=self.requests,
            limits=self.limits,
            gives_files=is_root,
            desk=self.sessions.desk,
        )
