"""The ledger: one budget for a whole tree. A call holds what it may spend before it starts, and settles what it spent after.

So parallel children cannot overspend together: what is spent passes a limit by no more than what was in flight.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from langgraph_rlm.budget.limits import Limits, StopReason
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.budget.usage import Spending, Usage, add_usage, spent

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

CHARS_PER_TOKEN = 4
"""For the hold alone: what is settled is what the provider reports."""

FIRST_REPLY_TOKENS = 256
"""How long a model's reply is thought to be before its first one; then the mean of those it gave."""


GRACE_SECONDS = 1.0
"""How long the root's code may go on behind `max_seconds`, if that is no more than a quarter of it."""


class LimitReached(Exception):
    """A call may not start, or was cut off: the limit of that name is reached. An outcome, which never leaves the nodes."""

    def __init__(self, limit: StopReason, value: float | None) -> None:
        super().__init__(
            f"Limit {limit} of {value:g} reached" if value is not None else f"Limit {limit} reached"
        )
        self.limit: StopReason = limit


@dataclass(frozen=True)
class Hold:
    """What one call in flight may spend."""

    tokens: int
    cost: float


class Ledger:
    """What the tree of one run has spent, and what is held for its calls in flight. Used from one event loop."""

    def __init__(self, limits: Limits, prices: Prices) -> None:
        self.usage: Usage = spent()
        self._limits = limits
        self._prices = prices
        self._held = Hold(0, 0.0)
        self._asked = 0
        self._lap = self._started = time.monotonic()
        self._before = 0.0

    def carry(self, usage: Usage) -> None:
        """Go on from what was spent before this process took the run up; for each RLM of the tree once."""
        self.usage = add_usage(self.usage, usage)
        self._asked += usage["sub_calls"]
        self._before += usage["seconds"]

    def reserve_sub_calls(self, items: int) -> bool:
        """Take `items` sub-calls out of what is left for the tree; False, and none taken, if they are too many."""
        if self._asked + items > self._limits.max_sub_calls:
            return False
        self._asked += items
        return True

    def take_over_sub_call(self) -> None:
        """Count a sub-call that an earlier process had reserved and that is made now."""
        self._asked += 1

    def hold(self, model: str, prompt_chars: int) -> Hold:
        """Hold what a call may spend.

        Raises:
            LimitReached: with it, the tree would spend more than a limit.
        """
        if self.seconds_left() == 0:
            raise LimitReached("max_seconds", self._limits.max_seconds)
        known = [s for key, s in self.usage["breakdown"].items() if key.partition("/")[2] == model]
        calls = sum(spending["model_calls"] for spending in known)
        reply = (
            sum(spending["output_tokens"] for spending in known) // calls
            if calls
            else FIRST_REPLY_TOKENS
        )
        price = self._prices.of(model) if self._limits.max_cost is not None else None
        hold = Hold(
            prompt_chars // CHARS_PER_TOKEN + reply,
            price.cost(prompt_chars // CHARS_PER_TOKEN, reply) if price else 0.0,
        )
        tokens = (
            self.usage["input_tokens"]
            + self.usage["output_tokens"]
            + self._held.tokens
            + hold.tokens
        )
        if self._limits.max_tokens is not None and tokens > self._limits.max_tokens:
            raise LimitReached("max_tokens", self._limits.max_tokens)
        if (
            self._limits.max_cost is not None
            and self.usage["cost"] + self._held.cost + hold.cost > self._limits.max_cost
        ):
            raise LimitReached("max_cost", self._limits.max_cost)
        self._held = Hold(self._held.tokens + hold.tokens, self._held.cost + hold.cost)
        return hold

    def release(self, hold: Hold) -> None:
        """Give a hold back, when its call has ended."""
        self._held = Hold(self._held.tokens - hold.tokens, self._held.cost - hold.cost)

    def settle(self, model: str, depth: int, reply: "AIMessage") -> Usage:
        """Count what a call has spent, as the provider reports it; the increment for the state."""
        usage = spent(by={f"{depth}/{model}": self._spending(model, reply)})
        self.usage = add_usage(self.usage, usage)
        return usage

    def _spending(self, model: str, reply: "AIMessage") -> Spending:
        reported = reply.usage_metadata
        if reported is None:
            return Spending(
                model_calls=1, input_tokens=0, output_tokens=0, cost=0.0, unpriced_calls=1
            )
        price, tokens = (
            self._prices.of(model),
            (reported["input_tokens"], reported["output_tokens"]),
        )
        cached = reported.get("input_token_details", {}).get("cache_read") or 0
        spending = Spending(
            model_calls=1,
            input_tokens=tokens[0],
            output_tokens=tokens[1],
            cost=price.cost(*tokens, cached) if price else 0.0,
            unpriced_calls=0 if price else 1,
        )
        if details := _counts(reported.get("input_token_details")):
            spending["input_token_details"] = details
        if details := _counts(reported.get("output_token_details")):
            spending["output_token_details"] = details
        return spending

    def seconds_left(self) -> float | None:
        """Of `max_seconds`, never below zero; None without that limit."""
        if self._limits.max_seconds is None:
            return None
        return max(0.0, self._limits.max_seconds - self._elapsed())

    def seconds_for_code(self, depth: int) -> float | None:
        """Seconds until code at a depth is cut off: a moment behind the deadline, in which its calls fail at once and it can make
        something of what it has. Children have less of it than their parents.
        """
        limit = self._limits.max_seconds
        return (
            None
            if limit is None
            else max(0.0, limit + min(GRACE_SECONDS, limit / 4) / (depth + 1) - self._elapsed())
        )

    def _elapsed(self) -> float:
        return self._before + time.monotonic() - self._started

    def since_lap(self) -> float:
        """Seconds that no state knows of yet."""
        return time.monotonic() - self._lap

    def lap(self) -> float:
        """Seconds since the last lap: what one state of the tree is to add."""
        now = time.monotonic()
        lap, self._lap = now - self._lap, now
        return lap


def _counts(details: Mapping[str, Any] | None) -> dict[str, int]:
    """The details that a provider gives, its zeros left out."""
    return {
        name: count for name, count in (details or {}).items() if isinstance(count, int) and count
    }
