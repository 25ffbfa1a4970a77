"""Patience: a chat model that is asked again where its provider was busy, at the pace of its tree.

Retries that a provider's client makes by itself are hidden: the other calls of the tree would not
know of them. So the clients of models that are known here make none (`http_clients.py`), and as
many are made here. Models of other classes keep their own; what they raise at last slows the tree
too. Libraries for retries count the tries of one call; here what is waited for is the tree's.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeVar

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableBinding, RunnableConfig

from langgraph_rlm.models.pace import Pace
from langgraph_rlm.models.refusals import Refusal, refusal_of
from langgraph_rlm.models.wrapped import model_name

T = TypeVar("T")

ON_WAIT = "__rlm_on_wait"
"""Key of a config's `configurable`: a function that is told of each `Wait`."""

BEFORE = "__rlm_before"
"""Key of a config's `configurable`: what is awaited before each request, and may keep it back."""

ANSWERED_BY = "rlm_answered_by"
"""Key of a reply's `response_metadata`: the name of the model that gave it."""

MOST_REFUSALS = 10
"""How often a call comes back to a provider that has had too many. All of them wait as they are
told to, so this many in vain are no bad luck."""

FIRST_BACK_OFF, LONGEST_BACK_OFF = 0.5, 8.0
"""Seconds before another try where the provider does not say: twice as long each time."""


@dataclass(frozen=True)
class Wait:
    """A call that was not answered will be sent again."""

    model: str
    status: int | None
    """HTTP status; None where there was no reply."""
    seconds: float
    """How long it waits at least."""
    slows_all: bool
    """Whether this has just slowed the other calls of the model down."""

    def __str__(self) -> str:
        """Say it in a few words, none of them the provider's."""
        said = f"HTTP {self.status}" if self.status else "no reply"
        what = "all calls wait" if self.slows_all else "sent again after"
        return f"{self.model}: {said}; {what} {self.seconds:.1f} s"


class KeptBack(Exception):
    """What is awaited before a request has kept it back. It passes through clients and fallbacks,
    and is no failure of a model."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def telling(
    config: RunnableConfig,
    tell: Callable[[Wait], None],
    before: Callable[[], Awaitable[None]] | None = None,
) -> RunnableConfig:
    """Give the config of a call whose waits are told.

    Args:
        config: of the call.
        tell: is told of each.
        before: is awaited before each request; raises `KeptBack` to end the call.
    """
    own = {ON_WAIT: tell, BEFORE: before}
    return {**config, "configurable": {**config.get("configurable", {}), **own}}


def answered_by(reply: BaseMessage, name: str) -> str:
    """Give the name of the model that gave a reply; of one with fallbacks that is not always the
    first.

    Args:
        reply: of `ask`, or all of its pieces in one.
        name: of the model that was asked.
    """
    return str(reply.response_metadata.get(ANSWERED_BY) or name)


class Patient(RunnableBinding[Any, Any]):
    """A chat model that keeps the pace of its tree, and is asked again where that helps."""

    pace: Pace
    retries: int = 0
    """How often a request that failed is sent again; 0 where the model does so itself."""
    is_named: bool = False
    """Whether replies say that this model gave them."""

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Ask, as the bound model does."""
        call = self._call(config, kwargs)
        reply = await call.run(
            lambda: self.bound.ainvoke(input, config, **{**self.kwargs, **kwargs})
        )
        return self._named(reply, call)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Ask, as the bound model does. What has begun to arrive is not asked for again."""
        call = self._call(config, kwargs)

        async def begun() -> tuple[Any, list[Any]]:
            stream: Any = self.bound.astream(input, config, **{**self.kwargs, **kwargs})
            return stream, [part async for part in _first(stream)]

        stream, parts = await call.run(begun)
        async with aclosing(stream):
            for part in parts:
                yield self._named(part, call)
            async for part in stream:
                yield part

    def _call(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> "_Call":
        given = (config or {}).get("configurable") or {}
        name = kwargs.get("model") or model_name(self.bound)
        tell, before = given.get(ON_WAIT) or _nobody, given.get(BEFORE) or _nothing
        return _Call(self.pace, self.retries, name, tell, before)

    def _named(self, reply: Any, call: "_Call") -> Any:
        if not self.is_named or not isinstance(reply, BaseMessage):
            return reply
        metadata = {**reply.response_metadata, ANSWERED_BY: call.model}
        return reply.model_copy(update={"response_metadata": metadata})


@dataclass
class _Call:
    """One call, with all of its tries."""

    pace: Pace
    retries: int
    model: str
    tell: Callable[[Wait], None]
    before: Callable[[], Awaitable[None]]
    failures: int = 0
    refusals: int = 0

    async def run(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask until there is an answer, or there is no use in asking again.

        Raises:
            Exception: what the model's client raised at last.
        """
        while True:
            begun = await self.pace.turn()
            await self.before()
            try:
                answer = await ask()
            except Exception as error:
                refusal = refusal_of(error)
                if refusal is None or refusal.is_too_long:
                    raise
                wait = self._noted(refusal, begun)
                if not self._is_tried_again(refusal):
                    raise
                self.tell(wait)
                # where all wait, the pace says how long
                await asyncio.sleep(0 if refusal.is_for_all else wait.seconds)
            else:
                self.pace.answered()
                return answer

    def _noted(self, refusal: Refusal, begun: int) -> Wait:
        """Count a refusal, and slow the others down if it is for them too."""
        seconds = refusal.wait
        if seconds is None:
            seconds = _back_off(self.failures + self.refusals)
        slows_all = False
        if refusal.is_for_all:
            self.refusals += 1
            slows_all = self.pace.refused(seconds, begun)
        else:
            self.failures += 1
        return Wait(self.model, refusal.status, seconds, slows_all)

    def _is_tried_again(self, refusal: Refusal) -> bool:
        if refusal.is_for_all and self.retries:
            return self.refusals <= MOST_REFUSALS
        return self.failures <= self.retries and self.retries > 0


def _back_off(tries: int) -> float:
    longest = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2**tries)
    return longest * random.uniform(0.75, 1)


async def _first(stream: Any) -> AsyncIterator[Any]:
    """Give the first part of a stream, if it has one; a stream that fails there is closed."""
    try:
        async for part in stream:
            yield part
            return
    except BaseException:
        await stream.aclose()
        raise


def _nobody(_: Wait) -> None:
    """Tell nobody."""


async def _nothing() -> None:
    """Keep nothing back."""
