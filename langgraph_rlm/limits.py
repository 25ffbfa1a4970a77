"""Limits and usage: what a run may spend, what it has spent, and the reason it stopped."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import TypedDict

from langgraph_rlm.errors import ConfigurationError

StopReason = Literal["answered", "max_iterations", "max_sub_calls"]
"""Why a run ended: it answered, or the limit of that name was reached."""


class Limits(BaseModel):
    """What one run may use. Every limit that is reached ends in an answer with a `stop_reason`, never in an exception.

    Raises:
        ConfigurationError: an unknown name, or a value out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_depth: int = Field(default=1, ge=1)
    """Deepest RLM: the root is depth 0, and an `rlm_query` that would reach `max_depth` is an `llm_query`."""
    max_iterations: int = Field(default=30, ge=1)
    """Turns of one RLM's root model for one question; each child has its own count."""
    max_sub_calls: int = Field(default=1000, ge=0)
    """Model calls and child RLMs that code asks for, over the whole tree."""
    max_concurrency: int = Field(default=16, ge=1)
    """Model calls in flight at once over the whole tree, and children at once at each depth."""
    max_cell_seconds: float = Field(default=30, gt=0)
    """Wall-clock seconds that one cell may execute, not counting its waits for the host."""
    max_heap_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """Memory of one interpreter, its contexts included (about four times their size while they load)."""
    max_output_chars: int = Field(default=20_000, ge=100)
    """Most characters of one cell's output that the model sees, head and tail."""

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: Any) -> "Limits":
        try:
            return handler(data)
        except ValidationError as error:
            names = ", ".join(cls.model_fields)
            problems = "; ".join(f"{'.'.join(map(str, e['loc']))}={e['input']!r}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(f"Limits({problems}). The limits are: {names}.") from None


class Usage(TypedDict):
    """What a run spent, its children included; a plain dict, so that any checkpointer takes it."""

    turns: int
    """Calls of root models, at any depth."""
    sub_calls: int
    """Answered `llm_query` and `rlm_query` calls, at any depth."""
    model_calls: int
    """Calls of any model."""
    input_tokens: int
    output_tokens: int


def spent(*, turns: int = 0, sub_calls: int = 0, model_calls: int = 0, input_tokens: int = 0, output_tokens: int = 0) -> Usage:
    """A `Usage`, zero where nothing is said."""
    return Usage(turns=turns, sub_calls=sub_calls, model_calls=model_calls, input_tokens=input_tokens, output_tokens=output_tokens)


def add_usage(total: Usage | None, more: Usage) -> Usage:
    """Reducer: nodes return increments."""
    if not total:
        return more
    return Usage(
        turns=total["turns"] + more["turns"],
        sub_calls=total["sub_calls"] + more["sub_calls"],
        model_calls=total["model_calls"] + more["model_calls"],
        input_tokens=total["input_tokens"] + more["input_tokens"],
        output_tokens=total["output_tokens"] + more["output_tokens"],
    )
