"""Runtime: what is live and never checkpointed. One `RLMRuntime` per `create_rlm`, one `Run` per invocation of its root."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import Ledger, LimitReached
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.models.resolve import model_name
from langgraph_rlm.progress import Event
from langgraph_rlm.runtime.batch_ends import BatchEnds
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.storage.context import encodable

FRAME = "__rlm_frame"
"""Key of the `Frame` in a config's `configurable`; names with two underscores stay out of checkpoints."""

RUN_OPTIONS = "__rlm_options"
"""Key of a `RunOptions` in a config's `configurable`."""


@dataclass(frozen=True)
class RunOptions:
    """What one invocation wants otherwise than its graph."""

    root_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters for the root's model calls, such as `temperature`."""
    form: Format | None = None
    """The form of the answer."""


class ModelFailed(Exception):
    """A model's client raised. Told apart from everything else that may fail in a child, which is no answer for code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


@dataclass
class Run:
    """One invocation of a root RLM, shared by its whole tree: who may call a model now, and what has been spent."""

    rlm: RLMRuntime
    emit: Callable[[Event], None] = lambda _: None
    """The root's "custom" stream: LangGraph gives children one that leads nowhere unless subgraphs are streamed."""
    resumed: bool = False
    """It goes on where another invocation ended: what that one spent is in the checkpoints."""
    root_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters for the root's model calls."""
    answered: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """Answers so far to each call, by trajectory and place."""

    def __post_init__(self) -> None:
        self.batch_ends = BatchEnds()
        self.calls = asyncio.Semaphore(self.rlm.limits.max_concurrency)
        """The turns: whoever calls a model takes one, by `call_root` or by itself."""
        self._children = defaultdict[int, asyncio.Semaphore](
            lambda: asyncio.Semaphore(self.rlm.limits.max_concurrency)
        )
        self._reserved = set[tuple[str, str]]()
        self.ledger = Ledger(self.rlm.limits, self.rlm.prices)

    def children(self, depth: int) -> asyncio.Semaphore:
        """Limits the RLMs at one depth. Each depth has its own, so that parents who wait never keep their children out."""
        return self._children[depth]

    def reserve(self, rlm_id: str, place: str, items: int) -> bool:
        """Take a call's items out of the sub-calls that are left for the tree; False, and none taken, if they are too many."""
        if not self.ledger.reserve_sub_calls(items):
            return False
        self._reserved.add((rlm_id, place))
        return True

    def take_over(self, rlm_id: str, place: str) -> None:
        """Count one item of a call that an earlier process had reserved."""
        if (rlm_id, place) not in self._reserved:
            self.ledger.take_over_sub_call()

    async def call_root(
        self, model: BaseChatModel, messages: list[AnyMessage], config: RunnableConfig, depth: int
    ) -> tuple[AIMessage, Usage]:
        """As `call` when it is its turn, for whoever writes an RLM's code: always with the same tools, which a provider caches ahead of
        the messages."""
        tools, options = (self.rlm.native_tools, self.root_options) if depth == 0 else ((), None)
        async with self.calls:
            return await self.call(model, messages, config, depth, tools, options)

    async def call(
        self,
        model: BaseChatModel,
        prompt: str | list[AnyMessage],
        config: RunnableConfig,
        depth: int,
        tools: Sequence[dict[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
    ) -> tuple[AIMessage, Usage]:
        """Call a model within the budget, in a turn that the caller holds; its reply, and what it spent.

        Args:
            tools: OpenAI functions that the model may call instead of writing code.
            options: sampling parameters.

        Raises:
            LimitReached: the call may not start, or the time was up before it ended.
            ModelFailed: the model's client raised; its exception is the cause.
        """
        name = (options or {}).get("model") or model_name(model)
        await self.rlm.prices.prepare(name)
        hold = self.ledger.hold(name, _chars(prompt))
        time_left = asyncio.timeout(self.ledger.seconds_left())
        try:
            async with time_left:
                bound = model.bind_tools(tools) if tools else model
                reply = await bound.ainvoke(_encodable(prompt), config, **(options or {}))
        except GraphBubbleUp:
            raise
        except Exception as error:
            if time_left.expired():
                raise LimitReached("max_seconds", self.rlm.limits.max_seconds) from None
            raise ModelFailed(error) from error
        finally:
            self.ledger.release(hold)
        if not isinstance(reply, AIMessage):  # pyright: ignore[reportUnnecessaryIsInstance] - models with a role of their own
            reply = AIMessage(cast(BaseMessage, reply).text)
        return reply, self.ledger.settle(name, depth, reply)


def _encodable(prompt: str | list[AnyMessage]) -> str | list[AnyMessage]:
    """The same without lone surrogates."""
    if isinstance(prompt, str):
        return encodable(prompt)
    return [
        message.model_copy(update={"content": encodable(message.content)})
        if isinstance(message.content, str)
        else message
        for message in prompt
    ]


def _chars(prompt: str | list[AnyMessage]) -> int:
    return len(prompt) if isinstance(prompt, str) else sum(len(message.text) for message in prompt)


@dataclass(frozen=True)
class Frame:
    """Where in the tree of a run a graph is."""

    run: Run
    depth: int = 0
    model: str | None = None
    """The model that a parent's code picked for this child."""
    form: Format | None = None
    """The form that a parent's code wants this child's answer in."""

    def below(self, model: str | None, form: Format | None) -> "Frame":
        """The frame of a child."""
        return Frame(self.run, self.depth + 1, model, form)

    def show_on(self, runtime: Runtime[None]) -> None:
        """Send the whole tree's events to the "custom" stream of a root's node; a child's own leads nowhere."""
        if self.depth == 0:
            self.run.emit = runtime.stream_writer


def frame_of(config: RunnableConfig) -> Frame:
    """The frame that the edge of the graph (`rlm_graph.py`) put into every config."""
    return cast(Frame, config.get("configurable", {})[FRAME])


def with_key(config: RunnableConfig, key: str, value: Any) -> RunnableConfig:
    """The same config with one more key in its `configurable`."""
    return {**config, "configurable": {**config.get("configurable", {}), key: value}}
