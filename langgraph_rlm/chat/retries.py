"""Wrappers: `with_retry` and `with_fallbacks` that let a pause through. LangChain's catch every `Exception`, and a pause is one: retried
it is asked again and again, and a fallback's answer would take its place.

Inside a wrapper a pause is a `BaseException`, which passes; at its edge it becomes itself again.
"""

from collections.abc import AsyncIterator, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from langchain_core.runnables import Runnable, RunnableBinding, RunnableWithFallbacks
from langchain_core.runnables.retry import RunnableRetry
from langgraph.errors import GraphBubbleUp

from langgraph_rlm.errors import ApprovalNeededError


class Hidden(BaseException):
    """A pause on its way through a wrapper."""

    def __init__(self, pause: Exception) -> None:
        super().__init__(str(pause))
        self.pause = pause


@contextmanager
def hidden(is_wrapped: bool) -> Generator[None]:
    """Raise pauses hidden, where a wrapper is around."""
    try:
        yield
    except (GraphBubbleUp, ApprovalNeededError) as pause:
        if is_wrapped:
            raise Hidden(pause) from None
        raise


@contextmanager
def _shown() -> Generator[None]:
    try:
        yield
    except Hidden as hiding:
        raise hiding.pause from None


class _Edge(Runnable[Any, Any]):
    """Every way into a wrapper."""

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        with _shown():
            return super().invoke(*args, **kwargs)  # type: ignore[safe-super]

    async def ainvoke(self, *args: Any, **kwargs: Any) -> Any:
        with _shown():
            return await super().ainvoke(*args, **kwargs)

    def batch(self, *args: Any, **kwargs: Any) -> list[Any]:
        with _shown():
            return super().batch(*args, **kwargs)

    async def abatch(self, *args: Any, **kwargs: Any) -> list[Any]:
        with _shown():
            return await super().abatch(*args, **kwargs)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with _shown():
            yield from super().stream(*args, **kwargs)

    async def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _shown():
            async for part in super().astream(*args, **kwargs):
                yield part

    def transform(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with _shown():
            yield from super().transform(*args, **kwargs)

    async def atransform(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        with _shown():
            async for part in super().atransform(*args, **kwargs):
                yield part


class Retries(_Edge, RunnableRetry[Any, Any]):  # type: ignore[misc]
    """`RunnableRetry` around a model whose pauses are hidden."""


class Fallbacks(_Edge, RunnableWithFallbacks[Any, Any]):  # type: ignore[misc]
    """`RunnableWithFallbacks` around a model whose pauses are hidden."""


class Bound(RunnableBinding[Any, Any]):
    """The model with options bound, wrapped as the model itself is."""

    def with_retry(self, **options: Any) -> Runnable[Any, Any]:  # type: ignore[override]
        """As `ChatRLM.with_retry`."""
        return with_retry(self._wrapped(), **options)

    def with_fallbacks(self, fallbacks: Sequence[Runnable[Any, Any]], **options: Any) -> Any:  # type: ignore[override]
        """As `ChatRLM.with_fallbacks`."""
        return Fallbacks(runnable=self._wrapped(), fallbacks=fallbacks, **options)

    def _wrapped(self) -> "Bound":
        return self.model_copy(update={"bound": cast(Any, self.bound).wrapped()})


def with_retry(
    model: Runnable[Any, Any],
    *,
    retry_if_exception_type: tuple[type[BaseException], ...] = (Exception,),
    wait_exponential_jitter: bool = True,
    exponential_jitter_params: Any = None,
    stop_after_attempt: int = 3,
) -> Runnable[Any, Any]:
    """`Runnable.with_retry` for a model whose pauses are hidden."""
    return Retries(
        bound=model,
        kwargs={},
        config={},
        retry_exception_types=retry_if_exception_type,
        wait_exponential_jitter=wait_exponential_jitter,
        max_attempt_number=stop_after_attempt,
        exponential_jitter_params=exponential_jitter_params,
    )
