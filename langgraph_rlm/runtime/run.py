"""Run: one invocation of a root RLM, shared by its whole tree: who may call a model now, and what
has been spent.

It is live and never checkpointed. A graph finds its `Frame`, which says where in the tree it is, in
its config.
"""

import asyncio
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime

from langgraph_rlm.budget.ledger import CHARS_PER_TOKEN, Hold, Ledger, LimitReached
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import Settings
from langgraph_rlm.log.stamps import seconds_since
from langgraph_rlm.models.ask import ask
from langgraph_rlm.models.caching import Cached
from langgraph_rlm.models.patience import KeptBack, Wait, answered_by, telling
from langgraph_rlm.models.wrapped import Model, model_name
from langgraph_rlm.pregel.held import Held
from langgraph_rlm.pregel.kept_answers import KeptAnswer
from langgraph_rlm.progress import Event, Waiting
from langgraph_rlm.runtime.batch_ends import BatchEnds
from langgraph_rlm.runtime.prompts import length_of, sendable
from langgraph_rlm.runtime.shared import RLMRuntime
from langgraph_rlm.schemas.answers import Format
from langgraph_rlm.telemetry.marks import is_watched, marked
from langgraph_rlm.telemetry.observers import at_work, happened
from langgraph_rlm.telemetry.work import Event as Happening
from langgraph_rlm.telemetry.work import Kind, Where, Work

FRAME = "__rlm_frame"
"""Key of the `Frame` in a config's `configurable`. LangGraph keeps names with two underscores out
of checkpoints."""

RUN_OPTIONS = "__rlm_options"
"""Key of a `RunOptions` in a config's `configurable`."""


@dataclass(frozen=True)
class RunOptions:
    """What one invocation wants that its graph does not have."""

    root_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters for the root's model calls, such as `temperature`."""
    form: Format | None = None
    """The form of the answer."""
    emit: Callable[[Event], None] | None = None
    """Takes the events of the whole tree; None for the "custom" stream of the graph itself, which
    leads nowhere within a tool."""
    budget: Ledger | None = None
    """A ledger of several runs that this one is counted in too, and whose limits hold for it."""


class Paid(NamedTuple):
    """The reply of a model, and what its call took."""

    reply: AIMessage
    cost: Usage
    seconds: float
    """From when the call got its slot."""
    was_shortened: bool = False
    """Whether what the model was sent had been cut to fit it."""


class ModelFailed(Exception):
    """A model's client raised. Code gets to see this; nothing else that fails in a child is an
    answer for code."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.error = error


@dataclass
class Run:
    """One invocation of a root RLM."""

    rlm: RLMRuntime
    """What it works with: its graph's runtime, changed by the settings of this run."""
    base: RLMRuntime
    """Its graph's runtime, the same for all runs."""
    settings: Settings | None = None
    """What it has of its own, for the log; None for nothing."""
    emit: Callable[[Event], None] = lambda _: None
    """Writes to the root's "custom" stream. LangGraph gives children one that leads nowhere."""
    own_emit: Callable[[Event], None] | None = None
    """What takes the events instead, where the caller has said so."""
    budget: Ledger | None = None
    """A ledger around its own, as in `RunOptions`."""
    resumed: bool = False
    """It continues where another invocation ended; what that one spent is in the checkpoints."""
    root_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Sampling parameters for the root's model calls."""
    kept: Mapping[str, KeptAnswer] = field(default_factory=dict[str, KeptAnswer])
    """Answers to pauses that were kept for this invocation, by the pauses' ids."""
    items_done: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """How many items of each call are answered so far, by the RLM's id and the call's place."""
    granted: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """How many items of each call run elsewhere now, with a budget of their own."""
    interpreters: set[str] = field(default_factory=set[str])
    """Ids of the RLMs whose code has run in this invocation."""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Names this invocation in the log."""
    lease: Held | None = None
    """Of the thread, for the whole tree; None where there is no thread."""

    def __post_init__(self) -> None:
        self.batch_ends = BatchEnds()
        self.ledger = Ledger(self.rlm.limits, self.rlm.prices, self.budget)
        self.slots = self._semaphore()
        """A model call holds one of these while it is in flight."""
        self._child_slots = defaultdict[int, asyncio.Semaphore](self._semaphore)
        self._reserved = set[tuple[str, str]]()

    def _semaphore(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.rlm.limits.max_concurrency)

    def child_slots(self, depth: int) -> asyncio.Semaphore:
        """What an RLM at a depth holds one of while it runs.

        Each depth has its own, so that parents who wait for their children never keep them out.
        """
        return self._child_slots[depth]

    def reserve(self, rlm_id: str, place: str, items: int) -> bool:
        """Take a call's items out of the sub-calls that are left for the tree; False, and none
        taken, if they are too many.

        Args:
            rlm_id: of the RLM whose code calls.
            place: of the call in its log.
            items: answers that the call waits for.
        """
        if not self.ledger.reserve_sub_calls(items):
            return False
        self._reserved.add((rlm_id, place))
        return True

    def has_reserved(self, rlm_id: str, place: str) -> bool:
        """Whether a call's items were taken out of what is left by this process."""
        return (rlm_id, place) in self._reserved

    def take_over(self, rlm_id: str, place: str) -> None:
        """Count one item of a call that an earlier process had reserved."""
        if not self.has_reserved(rlm_id, place):
            self.ledger.take_over_sub_call()

    def count_items(self, rlm_id: str, place: str, items: int = 1) -> int:
        """Count items of a call that are answered, and give how many there are so far."""
        key = f"{rlm_id} {place}"
        self.items_done[key] += items
        return self.items_done[key]

    @contextmanager
    def granting(self, rlm_id: str, place: str, total: int) -> Generator[int]:
        """Count an item of a call as one that runs elsewhere, and give how many of its items may
        still want a budget, this one included."""
        key = f"{rlm_id} {place}"
        yet = max(1, total - self.items_done[key] - self.granted[key])
        self.granted[key] += 1
        try:
            yield yet
        finally:
            self.granted[key] -= 1

    async def call_root(
        self, model: Model, messages: list[AnyMessage], config: RunnableConfig, work: Work
    ) -> Paid:
        """Wait for a slot and call a model that writes an RLM's code; see `call`.

        A root is always given the same tools, because providers cache tools together with the
        messages after them.
        """
        asked = time.monotonic()
        async with self.slots:
            work.waited = time.monotonic() - asked
            conversation = self._conversation(work)
            if work.where.depth:
                return await self.call(model, messages, config, work, conversation=conversation)
            tools, options = self.rlm.native_tools, self.root_options
            return await self.call(model, messages, config, work, tools, options, conversation)

    def _conversation(self, work: Work) -> Cached | None:
        """The conversation of a root model, as its provider's cache is told of it."""
        life = self.rlm.prompt_caching
        return None if life is None else Cached(work.where.rlm_id, life)

    async def call(
        self,
        model: Model,
        prompt: str | list[AnyMessage],
        config: RunnableConfig,
        work: Work,
        tools: Sequence[dict[str, Any]] = (),
        options: Mapping[str, Any] | None = None,
        conversation: Cached | None = None,
        shown_tokens: int = 0,
    ) -> Paid:
        """Call a model within the budget. The caller holds a slot.

        Args:
            model: usable on this event loop.
            prompt: a text, or messages.
            config: of the node that calls.
            work: the call, as observers are told of it; the spending is counted under its depth.
            tools: OpenAI functions that the model may call instead of writing code.
            options: sampling parameters.
            conversation: whose beginning will be sent again.
            shown_tokens: what the prompt's pictures and the like are thought to cost.

        Returns:
            The reply, and what the call spent.

        Raises:
            LimitReached: the call may not start, or the time was up before it ended.
            ModelFailed: the model's client raised; its exception is the cause.
            ThreadTakenOverError: another process works on the thread; the call is its to make.
        """
        given = dict(options or {})
        name = given.get("model") or model_name(model)
        await self.rlm.prices.prepare(name)
        chars = length_of(prompt) + shown_tokens * CHARS_PER_TOKEN
        await self.ledger.prepare(name, chars)
        await self.check_lease()
        hold, started = self._held(name, chars, work), time.monotonic()
        work.model, work.client, work.given = name, model, prompt
        try:
            with at_work(work):
                if is_watched(config, model):
                    config = marked(config, work)
                told = telling(config, lambda wait: self._waits(wait, work), self._before_request)
                reply = await self._asked(model, prompt, told, work, tools, given, conversation)
                work.model = answered_by(reply, name)
                await self.rlm.prices.prepare(work.model)
                cost = self.ledger.settle(work.model, work.where.depth, reply, chars)
                work.reply, work.spent = reply, cost
        except (asyncio.CancelledError, LimitReached):
            self.ledger.cut_off(hold)
            raise
        finally:
            self.ledger.release(hold)
        return Paid(reply, cost, seconds_since(started))

    async def check_lease(self) -> None:
        """See to it that the thread is still ours, before something is paid or takes effect.

        Raises:
            ThreadTakenOverError: another process works on it.
        """
        if self.lease is not None:
            await self.lease.check()

    async def _before_request(self) -> None:
        """Look once more where a call has waited for its turn, or is sent again.

        Raises:
            KeptBack: with what `check_lease` has raised, which is no failure of a model.
        """
        try:
            await self.check_lease()
        except Exception as error:
            raise KeptBack(error) from error

    def _waits(self, wait: Wait, work: Work) -> None:
        """Tell that a call is not answered yet and will be sent again."""
        happened(Happening("wait", str(wait), work.within))
        if wait.slows_all:
            where = (work.within or work).where
            self.emit(
                Waiting(
                    type="waiting",
                    model=wait.model,
                    seconds=round(wait.seconds, 3),
                    depth=where.depth,
                    trajectory=where.rlm_id,
                )
            )

    def _held(self, model: str, chars: int, work: Work) -> Hold:
        try:
            return self.ledger.hold(model, chars)
        except LimitReached as reached:
            happened(Happening("limit", reached.limit, work.within))
            raise

    async def _asked(
        self,
        model: Model,
        prompt: str | list[AnyMessage],
        config: RunnableConfig,
        work: Work,
        tools: Sequence[dict[str, Any]],
        options: Mapping[str, Any],
        conversation: Cached | None,
    ) -> AIMessage:
        """Ask within the time that is left. Raises as `call` does."""
        time_left = asyncio.timeout(self.ledger.seconds_left())
        try:
            async with time_left:
                sent = sendable(prompt, model)
                return await ask(
                    model, sent, config, tools=tools, options=options, conversation=conversation
                )
        except GraphBubbleUp:
            raise
        except KeptBack as kept_back:
            raise kept_back.error from None
        except Exception as error:
            if time_left.expired():
                work.outcome, work.error = "limit", error
                raise LimitReached("max_seconds", self.rlm.limits.max_seconds) from None
            work.outcome, work.error = "error", error
            raise ModelFailed(error) from error


class Caller(NamedTuple):
    """What called a child RLM."""

    rlm_id: str
    """The id of its parent."""
    place: str
    """The place in its parent's log that its answer is for."""


@dataclass(frozen=True)
class Frame:
    """Where in the tree of a run a graph is."""

    run: Run
    depth: int = 0
    model: str | None = None
    """The name of the model that a parent's code picked for this child."""
    form: Format | None = None
    """The form of the answer: what a parent's code or the root's caller asks for."""
    caller: Caller | None = None
    """Of a child: what called it."""
    work: Work = field(default_factory=lambda: Work("rlm", "rlm"))
    """This RLM at work, as observers are told of it."""
    is_elsewhere: bool = False
    """Whether this is a child whose parent works on another thread, by a task that it signed."""

    @property
    def is_top(self) -> bool:
        """Whether no RLM of this invocation has called this one: it is a root, or a child whose
        parent is elsewhere."""
        return self.depth == 0 or self.is_elsewhere

    def below(self, model: str | None, form: Format | None, caller: Caller, work: Work) -> "Frame":
        """The frame of a child."""
        return Frame(self.run, self.depth + 1, model, form, caller, work)

    def piece(self, kind: Kind, purpose: str, rlm_id: str, place: str, depth: int) -> Work:
        """A piece of this RLM's work, such as a call of a model.

        Args:
            kind: of the piece.
            purpose: what it is for.
            rlm_id: of this RLM.
            place: in its log.
            depth: that the piece is counted under.
        """
        around = self.work.where
        where = Where(rlm_id, place, depth, around.thread, around.conversation)
        return Work(kind, purpose, where, within=self.work)

    def show_on(self, runtime: Runtime[None]) -> None:
        """Send the whole tree's events to the "custom" stream of the node of its topmost RLM; a
        child's own leads nowhere."""
        if self.is_top:
            self.run.emit = self.run.own_emit or runtime.stream_writer


def frame_of(config: RunnableConfig) -> Frame:
    """The frame that the edge of the graph (`rlm_graph.py`) has put into every config."""
    return cast(Frame, config.get("configurable", {})[FRAME])


def with_key(config: RunnableConfig, key: str, value: Any) -> RunnableConfig:
    """Give the same config with one more key in its `configurable`."""
    return {**config, "configurable": {**config.get("configurable", {}), key: value}}
