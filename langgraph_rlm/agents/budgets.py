"""Budgets: what all questions of one agent's thread may spend together. Asks no model."""

from collections.abc import Mapping
from typing import Any

from cachetools import LRUCache
from langgraph.prebuilt import ToolRuntime

from langgraph_rlm.budget.ledger import Ledger, LimitReached
from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.errors import ConfigurationError, shown

OVER_A_THREAD = ("max_tokens", "max_cost", "max_sub_calls")
"""The limits that a thread can have."""

UNLIMITED = 10**12
"""For sub-calls, where a thread has no limit of them."""

KEPT_STEPS = 1_024
"""Steps of agents whose ledgers are remembered. Far fewer are under way at a time."""


def limits_of_thread(given: Mapping[str, Any] | None) -> Limits:
    """Check the limits of a thread.

    Raises:
        ConfigurationError: one is not known, or out of its range.
    """
    limits = {**(given or {})}
    if unknown := [name for name in limits if name not in OVER_A_THREAD]:
        raise ConfigurationError(
            f"thread_limits={shown(given)}: {unknown[0]} is no limit of a thread, which has "
            f"{', '.join(OVER_A_THREAD)}. What one question may use is the RLM's own `limits`."
        )
    return Limits.model_validate({"max_sub_calls": UNLIMITED, **limits})


class Budgets:
    """The ledgers of the threads of one agent."""

    def __init__(self, limits: Limits, prices: Prices) -> None:
        self.limits = limits
        self._prices = prices
        self._open: LRUCache[tuple[Any, ...], tuple[Any, Ledger]] = LRUCache(KEPT_STEPS)
        """With the writer that is part of the key, so that no other one gets its `id()`."""

    def ledger(self, runtime: ToolRuntime[Any, Any], before: Usage | None) -> Ledger:
        """Give the ledger of a step of an agent: the questions of one step share it.

        Args:
            runtime: of a tool call of the step.
            before: what was spent up to this step, as the state has it.
        """
        given, metadata = runtime.config.get("configurable", {}), runtime.config.get("metadata", {})
        around = str(given.get("checkpoint_ns", "")).rpartition("|")[0]
        # Each invocation has a writer of its own. One that continues counts what its runs have
        # spent before, so it may not find them counted already.
        writer = runtime.stream_writer
        key = (given.get("thread_id"), around, metadata.get("langgraph_step"), id(writer))
        if key not in self._open:
            self._open[key] = (writer, self.opened(before))
        return self._open[key][1]

    def opened(self, before: Usage | None) -> Ledger:
        """Open a ledger that shares nothing with others."""
        ledger = Ledger(self.limits, self._prices)
        if before:
            ledger.carry(before)
        return ledger

    def check_price(self, model: str) -> None:
        """Check that what a model of the agent costs is known, where a thread has `max_cost`.

        Raises:
            ConfigurationError: it is not.
        """
        if self.limits.max_cost is not None and self._prices.of(model) is None:
            raise ConfigurationError(
                f"count_agent=True with max_cost={self.limits.max_cost} needs the price of the "
                f"agent's model {model!r}: give it to create_rlm, as prices={{{model!r}: "
                "{'input': ..., 'output': ...}} in USD per million tokens."
            )

    def reached(self, ledger: Ledger) -> str | None:
        """Say which limit is reached before anything more is spent; None for none."""
        try:
            ledger.release(ledger.hold("", 0))
        except LimitReached as reached:
            return str(reached)
        if not ledger.sub_calls_left():
            return f"Limit max_sub_calls of {self.limits.max_sub_calls} reached"
        return None
