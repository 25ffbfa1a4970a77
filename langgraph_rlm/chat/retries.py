"""Retries: `with_retry` and `with_fallbacks` that let a pause through.

LangChain's own catch every `Exception`, and a pause is one: a retry would ask the human again and
again, and a fallback would answer in the human's place. So a pause is a `BaseException` on its way
through them, and becomes itself again where it leaves them.
"""

from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, aclosing, contextmanager
from typing import Any, Self

from langchain_core.callbacks import AsyncCallbackManager, CallbackManager
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableConfig,
    RunnableWithFallbacks,
)
from langchain_core.runnables.retry import RunnableRetry
from langgraph.errors import GraphBubbleUp
from pydantic import PrivateAttr

from langgraph_rlm.chat.around import known_around
from langgraph_rlm.errors import ApprovalNeededError


class HiddenPause(BaseException):
    """A pause on its way through retries or fallbacks."""

    def __init__(self, pause: Exception) -> None:
        super().__init__(str(pause))
        self.pause = pause


@contextmanager
def _pauses_hidden(is_wrapped: bool) -> Generator[None]:
    """Hide pauses that leave the model, if retries or fallbacks are around it."""
    try:
        yield
    except (GraphBubbleUp, ApprovalNeededError) as pause:
        if is_wrapped:
            raise HiddenPause(pause) from None
        raise


@contextmanager
def _pauses_shown() -> Generator[None]:
    """Show hidden pauses again, where they leave retries or fallbacks."""
    try:
        yield
    except HiddenPause as hidden:
        raise hidden.pause from None


class PausingChatModel(BaseChatModel):
    """A chat model whose pauses pass through its `with_retry` and `with_fallbacks`."""

    _is_wrapped: bool = PrivateAttr(default=False)
    """Retries or fallbacks are around this copy of the model."""

    trace_inside: bool = False
    """Whether all callback handlers see the calls inside, as tracers do. Theirs are then the tokens
    of those calls, by their models, instead of the sum under this model's name."""

    def _known(
        self,
        kind: type[CallbackManager] | type[AsyncCallbackManager],
        config: RunnableConfig | None,
    ) -> AbstractContextManager[RunnableConfig]:
        """Note what stands around a call."""
        return known_around(config, kind, trace_inside=self.trace_inside)

    def wrapped(self) -> Self:
        """Copy the model for retries and fallbacks: it hides its pauses from them."""
        copy = self.model_copy()
        copy._is_wrapped = True
        return copy

    def bind(self, **kwargs: Any) -> "Bound":  # type: ignore[override]
        """Do what `Runnable.bind` does."""
        return Bound(bound=self, kwargs=kwargs, config={})

    def with_retry(  # type: ignore[override]
        self, **options: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Do what `Runnable.with_retry` does; a pause is not retried.

        In a LangGraph node a retry continues the run that failed, elsewhere it begins another one.
        """
        return _with_retry(self.wrapped(), **options)

    def with_fallbacks(  # type: ignore[override]
        self, fallbacks: Sequence[Runnable[Any, Any]], **options: Any
    ) -> Any:
        """Do what `Runnable.with_fallbacks` does; a pause is not a failure, and passes."""
        return Fallbacks(runnable=self.wrapped(), fallbacks=fallbacks, **options)

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """Do what `BaseChatModel.invoke` does."""
        with _pauses_hidden(self._is_wrapped), self._known(CallbackManager, config) as known:
            return super().invoke(input, known, **kwargs)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        """Do what `BaseChatModel.ainvoke` does."""
        with _pauses_hidden(self._is_wrapped), self._known(AsyncCallbackManager, config) as known:
            return await super().ainvoke(input, known, **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """Do what `BaseChatModel.stream` does."""
        with _pauses_hidden(self._is_wrapped), self._known(CallbackManager, config) as known:
            yield from super().stream(input, known, **kwargs)

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        """Do what `BaseChatModel.astream` does."""
        with _pauses_hidden(self._is_wrapped), self._known(AsyncCallbackManager, config) as known:
            stream: Any = super().astream(input, known, **kwargs)
            async with aclosing(stream) as chunks:
                async for chunk in chunks:
                    yield chunk


class Bound(RunnableBinding[Any, Any]):
    """A `PausingChatModel` with options bound."""

    def with_retry(self, **options: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """Do what `PausingChatModel.with_retry` does."""
        return _with_retry(self._wrapped(), **options)

    def with_fallbacks(  # type: ignore[override]
        self, fallbacks: Sequence[Runnable[Any, Any]], **options: Any
    ) -> Any:
        """Do what `PausingChatModel.with_fallbacks` does."""
        return Fallbacks(runnable=self._wrapped(), fallbacks=fallbacks, **options)

    def _wrapped(self) -> "Bound":
        model: Any = self.bound
        return self.model_copy(update={"bound": model.wrapped()})


class _Edge(Runnable[Any, Any]):
    """Every way out of retries or fallbacks, where hidden pauses are shown again."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        with _pauses_shown():
            return super().invoke(*args, **kwargs)  # type: ignore[safe-super]

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        with _pauses_shown():
            return await super().ainvoke(*args, **kwargs)

    def batch(self, *args: Any, **kwargs: Any) -> list[Any]:
        with _pauses_shown():
            return super().batch(*args, **kwargs)

    async def abatch(self, *args: Any, **kwargs: Any) -> list[Any]:
        with _pauses_shown():
            return await super().abatch(*args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with _pauses_shown():
            yield from super().stream(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _pauses_shown():
            async for part in super().astream(*args, **kwargs):
                yield part

    def transform(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with _pauses_shown():
            yield from super().transform(*args, **kwargs)

    async def atransform(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _pauses_shown():
            async for part in super().atransform(*args, **kwargs):
                yield part


class Retries(_Edge, RunnableRetry[Any, Any]):  # type: ignore[misc]
    """`RunnableRetry` around a model that hides its pauses."""


class Fallbacks(_Edge, RunnableWithFallbacks[Any, Any]):  # type: ignore[misc]
    """`RunnableWithFallbacks` around a model that hides its pauses."""


def _with_retry(
    model: Runnable[Any, Any],
    *,
    retry_if_exception_type: tuple[type[BaseException], ...] = (Exception,),
    wait_exponential_jitter: bool = True,
    exponential_jitter_params: Any = None,
    stop_after_attempt: int = 3,
) -> Runnable[Any, Any]:
    """Do what `Runnable.with_retry` does, around a model that hides its pauses."""
    return Retries(
        bound=model,
        kwargs={},
        config={},
        retry_exception_types=retry_if_exception_type,
        wait_exponential_jitter=wait_exponential_jitter,
        max_attempt_number=stop_after_attempt,
        exponential_jitter_params=exponential_jitter_params,
    )
