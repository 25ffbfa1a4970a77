"""Limits: what a run may use, and the reason it stopped."""

from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from langgraph_rlm.errors import ConfigurationError, problems_in

StopReason = Literal[
    "answered", "max_iterations", "max_sub_calls", "max_tokens", "max_cost", "max_seconds", "failed"
]
"""Why a run ended: it answered, or the limit of that name was reached. `failed` is for children alone: their model's client raised."""


class Limits(BaseModel, frozen=True, extra="forbid"):
    """What one run may use. Every limit that is reached ends in an answer with a `stop_reason`, never in an exception.

    Raises:
        ConfigurationError: an unknown name, or a value out of its range.
    """

    max_depth: int = Field(default=1, ge=1)
    """Deepest RLM: the root is depth 0, and an `rlm_query` that would reach `max_depth` is an `llm_query`."""
    max_iterations: int = Field(default=30, ge=1)
    """Turns of one RLM's root model for one question; each child has its own count."""
    max_sub_calls: int = Field(default=1000, ge=0)
    """Model calls and child RLMs that code asks for, over the whole tree."""
    max_concurrency: int = Field(default=16, ge=1)
    """Model calls in flight at once over the whole tree, and children at once at each depth."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Input and output tokens over the whole tree; None is no limit."""
    max_cost: float | None = Field(default=None, gt=0)
    """USD over the whole tree; every model needs a known price."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Wall-clock seconds that a run works, its pauses not counted; reaches into running cells and model calls."""
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
            raise ConfigurationError(
                f"Limits({problems_in(error)}). The limits are: {names}."
            ) from None


def keep_first(limit: str, reached: str | None) -> str:
    """Reducer: parallel calls may reach several limits; the run stops for the first."""
    return limit or reached or ""
