"""Limits: what a run may use, and the reasons why a run stops. Enforces nothing itself."""

from typing import Any, Literal

from pydantic import BaseModel, Field, ModelWrapValidatorHandler, ValidationError, model_validator

from langgraph_rlm.errors import ConfigurationError, problems_in

StopReason = Literal[
    "answered", "max_iterations", "max_sub_calls", "max_tokens", "max_cost", "max_seconds", "failed"
]
"""Why a run ended: it answered, or it reached the limit of that name.

`failed` is for children alone: the client of their model raised.
"""


class Limits(BaseModel, frozen=True, extra="forbid"):
    """What one run may use.

    A limit that is reached ends the run with an answer and a `stop_reason`, not with an exception.

    Raises:
        ConfigurationError: an unknown name, or a value out of its range.
    """

    max_depth: int = Field(default=1, ge=1)
    """Deepest RLM: the root is depth 0, and each child is one deeper.

    An `rlm_query` that would reach `max_depth` is an `llm_query`. Enforced by repl/answers.py, for
    depths where `RLMRuntime.is_recursive` (runtime/shared.py) allows no children.
    """
    max_iterations: int = Field(default=30, ge=1)
    """Turns of one RLM's root model for one question; each child has its own count.

    Enforced by the nodes after each turn: plan_code.py, execute_repl.py and finalize.py.
    """
    max_sub_calls: int = Field(default=1000, ge=0)
    """Model calls and child RLMs that code asks for, over the whole tree.

    Enforced by `Ledger.reserve_sub_calls`, which nodes/execute_repl.py asks before each call.
    """
    max_concurrency: int = Field(default=16, ge=1)
    """Model calls in flight at once over the whole tree, and children at once at each depth.

    Enforced by the semaphores of `Run` (runtime/run.py).
    """
    max_tokens: int | None = Field(default=None, ge=1)
    """Input and output tokens over the whole tree; None is no limit.

    Enforced by `Ledger.hold` (budget/ledger.py) before each model call.
    """
    max_cost: float | None = Field(default=None, gt=0)
    """USD over the whole tree; every model needs a known price.

    Enforced by `Ledger.hold` (budget/ledger.py) before each model call; `create_rlm` refuses
    models without a price.
    """
    max_seconds: float | None = Field(default=None, gt=0)
    """Wall-clock seconds that a run works, its pauses not counted.

    Reaches into running cells, model calls and tools: enforced by `Ledger.hold` before a model
    call, by `Run.call` during it, by nodes/tool_interrupt.py in a tool (one without an async form
    is left behind), by repl/replay.py in a cell, and by nodes/execute_repl.py and
    nodes/finalize.py, which then start no other turn.
    """
    max_cell_seconds: float = Field(default=30, gt=0)
    """Wall-clock seconds that one cell may execute, not counting its waits for the host.

    Enforced by `Repl` in repl/replay.py, whose `Watch` kills the interpreter; a cell that is
    replayed gets ten times as long.
    """
    max_heap_bytes: int = Field(default=1 << 30, ge=1 << 20)
    """Memory of one interpreter in bytes, its contexts included.

    Enforced by the sandbox (repl/monty.py, repl/local_worker.py, processes/jail.py). Loading
    a context takes about four times its size: `is_loaded` of repl/host.py leaves out one that
    cannot fit.
    """
    max_output_chars: int = Field(default=20_000, ge=100)
    """Most characters of one cell's output that the model sees, head and tail.

    Enforced where a cell's log entry is written (repl/replay.py), and for results of native calls
    (nodes/native_calls.py).
    """
    max_out_bytes: int = Field(default=256 << 20, ge=0)
    """Most bytes of files that the code of one question gives back through `out/`, each version of
    a file counted. A file beyond it is not taken, and the model is told.

    Enforced where a cell's log entry is written (repl/out_folder.py), and by Monty as it writes.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, data: Any, handler: ModelWrapValidatorHandler["Limits"]) -> "Limits":
        """Turn what pydantic refuses into an error that lists the limits."""
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
