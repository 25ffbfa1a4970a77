"""Runtime: what is live and never checkpointed. One `RLMRuntime` per `create_rlm`, one `Run` per invocation of its root."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from langgraph_rlm.blobs import BlobStore, Text
from langgraph_rlm.limits import Limits, Usage, add_usage, spent
from langgraph_rlm.progress import Event
from langgraph_rlm.repl.calls import HostFunctions, payload_of
from langgraph_rlm.repl.host import Host
from langgraph_rlm.repl.sessions import Sessions
from langgraph_rlm.tools import RLMTool

FRAME = "__rlm_frame"
"""Key of the `Frame` in a config's `configurable`; names with two underscores stay out of checkpoints."""


@dataclass(frozen=True)
class RLMRuntime:
    """Models, tools, stores and interpreters of one `create_rlm`."""

    model: BaseChatModel
    sub_model: BaseChatModel
    models: Mapping[str, BaseChatModel]
    tools: Mapping[str, RLMTool]
    interrupt_on: Mapping[str, Any]
    limits: Limits
    store: BlobStore
    sessions: Sessions
    interpreter: str
    """What the prompt says of the interpreter."""
    prompt: str | None
    payloads: "Payloads" = field(default_factory=lambda: Payloads())

    def root_model(self, depth: int, name: str | None) -> BaseChatModel:
        """Who writes the code of an RLM at `depth`: the root's model, or for a child the sub-model or the one that was picked."""
        return self.model if depth == 0 else self.sub(name)

    def sub(self, name: str | None) -> BaseChatModel:
        """Who answers an `llm_query`."""
        return self.sub_model if name is None else self.models[name]

    def recursive(self, depth: int) -> bool:
        """Whether an RLM at `depth` may have children."""
        return depth + 1 < self.limits.max_depth

    def host(self, depth: int) -> Host:
        """What code at `depth` may call."""
        return self._hosts[self.recursive(depth)]

    def payload(self, request: Text) -> dict[str, Any]:
        """The payload of a request; a thousand `Send`s of one batch parse it once."""
        digest = request.get("blob")
        if digest is None:
            return payload_of(request, self.store)
        return self.payloads.get(digest, lambda: payload_of(request, self.store))

    @cached_property
    def _hosts(self) -> dict[bool, Host]:
        names = sorted(self.models)
        functions = {able: HostFunctions(names, self.tools, self.store, able) for able in (True, False)}
        return {able: Host(functions[able], self.store, self.limits) for able in functions}


class Payloads:
    """The requests last parsed, by digest. A few suffice: a batch is parsed when its first `Send` runs."""

    def __init__(self, size: int = 8) -> None:
        self._size = size
        self._parsed: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def get(self, digest: str, parse: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The payload of `digest`, parsed when it is not there."""
        if digest not in self._parsed:
            self._parsed[digest] = parse()
            while len(self._parsed) > self._size:
                self._parsed.popitem(last=False)
        self._parsed.move_to_end(digest)
        return self._parsed[digest]


@dataclass
class Run:
    """One invocation of a root RLM, shared by its whole tree: who may call a model now, and what has been spent."""

    runtime: RLMRuntime
    emit: Callable[[Event], None] = lambda _: None
    """The root's "custom" stream: LangGraph gives children one that leads nowhere unless subgraphs are streamed."""
    usage: Usage = field(default_factory=spent)
    sub_calls: int = 0
    """Asked for by code so far, over the tree."""
    answered: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """Answers so far to each call, by trajectory and place."""

    def __post_init__(self) -> None:
        self.calls = asyncio.Semaphore(self.runtime.limits.max_concurrency)
        self._children = defaultdict[int, asyncio.Semaphore](lambda: asyncio.Semaphore(self.runtime.limits.max_concurrency))
        self._seen = set[str]()

    def children(self, depth: int) -> asyncio.Semaphore:
        """Limits the RLMs at one depth. Each depth has its own, so that parents who wait never keep their children out."""
        return self._children[depth]

    def catch_up(self, trajectory: str, sub_calls: int) -> None:
        """Count what a trajectory had asked for before this process took it up."""
        if trajectory not in self._seen:
            self._seen.add(trajectory)
            self.sub_calls += sub_calls

    def reserve(self, items: int) -> bool:
        """Take `items` sub-calls out of what is left for the tree; False, and none taken, if they are too many."""
        if self.sub_calls + items > self.runtime.limits.max_sub_calls:
            return False
        self.sub_calls += items
        return True

    def spend(self, usage: Usage) -> None:
        """Count what a call has cost."""
        self.usage = add_usage(self.usage, usage)


@dataclass(frozen=True)
class Frame:
    """Where in the tree of a run a graph is."""

    run: Run
    depth: int = 0
    model: str | None = None
    """The model that a parent's code picked for this child."""

    def below(self, model: str | None) -> "Frame":
        """The frame of a child."""
        return Frame(self.run, self.depth + 1, model)


def frame_of(config: RunnableConfig, runtime: Runtime[None]) -> Frame:
    """The frame that the graph's edge put into every config. At the root it learns where the "custom" stream is."""
    frame = cast(Frame, config["configurable"][FRAME])  # pyright: ignore[reportTypedDictNotRequiredAccess] - the edge sets it
    if frame.depth == 0:
        frame.run.emit = runtime.stream_writer
    return frame


def with_key(config: RunnableConfig, key: str, value: Any) -> RunnableConfig:
    """The same config with one more key in its `configurable`."""
    return {**config, "configurable": {**config.get("configurable", {}), key: value}}
