"""The ledger: one budget for a whole tree.

A call holds what it may spend before it starts, and settles what it spent afterwards. So parallel
children cannot overspend together: what is spent passes a limit by no more than what was in flight.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph_rlm.budget.clock import Deadline, RunClock
from langgraph_rlm.budget.limits import Limits, StopReason
from langgraph_rlm.budget.prices import Price, Prices
from langgraph_rlm.budget.reported import cached_input, count, counts, is_from_cache
from langgraph_rlm.budget.usage import Spending, Usage, add_usage, spent, sub_calls_made

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

CHARS_PER_TOKEN = 4
"""Used for holds, and for calls of which the provider does not say what they used."""

FIRST_REPLY_TOKENS = 256
"""The length that is held for a model's first reply; later ones hold the mean of its replies."""

GRACE_SECONDS = 1.0
"""How long the root's code may run after `max_seconds`, at most a quarter of that limit."""


class LimitReached(Exception):
    """A call may not start, or was cut off: the limit of that name is reached.

    An outcome, which never leaves the nodes; of a model that is asked directly, on a budget of its
    caller's, it is the error.
    """

    def __init__(self, limit: StopReason, value: float | None) -> None:
        known = "" if value is None else f" of {value:g}"
        super().__init__(f"Limit {limit}{known} reached")
        self.limit: StopReason = limit


@dataclass(frozen=True)
class Hold:
    """What one call in flight may spend."""

    tokens: int
    cost: float
    around: "Hold | None" = None
    """What the ledger around holds for the same call."""

    def __add__(self, other: "Hold") -> "Hold":
        return Hold(self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: "Hold") -> "Hold":
        return Hold(self.tokens - other.tokens, self.cost - other.cost)


@dataclass(frozen=True)
class Grant:
    """What a child that runs elsewhere may spend, with a ledger of its own. None is no limit."""

    tokens: int | None
    cost: float | None
    seconds: float | None
    sub_calls: int

    def shared(self, among: int) -> "Grant":
        """Give the same share to each of several. Time passes for all of them at once."""
        return Grant(
            None if self.tokens is None else self.tokens // among,
            None if self.cost is None else self.cost / among,
            self.seconds,
            self.sub_calls // among,
        )

    def within(self, other: "Grant") -> "Grant":
        """Give what both allow."""
        return Grant(
            least(self.tokens, other.tokens),
            least(self.cost, other.cost),
            least(self.seconds, other.seconds),
            min(self.sub_calls, other.sub_calls),
        )


N = TypeVar("N", int, float)


def least(one: N | None, other: N | None) -> N | None:
    """Give the lower of two limits; None is no limit."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


class Ledger:
    """What the tree of one run has spent, and what is held for its calls in flight.

    Used from one event loop.
    """

    def __init__(self, limits: Limits, prices: Prices, around: "Ledger | None" = None) -> None:
        """Open a ledger; nothing is spent.

        Args:
            limits: of the run.
            prices: of its models.
            around: a ledger of several runs, which counts all that this one counts; its limits
                hold too.
        """
        self.usage: Usage = spent()
        self._around = around
        self._limits = limits
        self._prices = prices
        self._held = Hold(0, 0.0)
        self._sub_calls = 0
        self._granted_calls = 0
        self._seconds_before = 0.0
        self.clock = RunClock()
        self._started = self.clock.now()
        self._reported = self._started

    def carry(self, usage: Usage) -> None:
        """Add what was spent before this process continued the run.

        Called once for each RLM of the tree.
        """
        self.usage = add_usage(self.usage, usage)
        self._sub_calls += sub_calls_made(usage)
        self._seconds_before += usage["seconds"]
        if self._around is not None:
            self._around.carry(usage)

    def reserve_sub_calls(self, items: int) -> bool:
        """Take `items` sub-calls out of what is left for the tree.

        Returns:
            False, and none are taken, if they are too many.
        """
        if self._sub_calls + self._granted_calls + items > self._limits.max_sub_calls:
            return False
        if self._around is not None and not self._around.reserve_sub_calls(items):
            return False
        self._sub_calls += items
        return True

    def sub_calls_left(self) -> int:
        """Tell how many sub-calls are left for the tree."""
        left = max(0, self._limits.max_sub_calls - self._sub_calls - self._granted_calls)
        return left if self._around is None else min(left, self._around.sub_calls_left())

    def take_over_sub_call(self) -> None:
        """Count a sub-call that an earlier process had reserved and that is made now."""
        self._sub_calls += 1
        if self._around is not None:
            self._around.take_over_sub_call()

    @property
    def limits(self) -> Limits:
        """What is limited."""
        return self._limits

    async def prepare(self, model: str, prompt_chars: int) -> None:
        """Make room for a call, before `hold`: a ledger around may have to ask for some."""
        if self._around is not None:
            await self._around.prepare(model, prompt_chars)

    def hold(self, model: str, prompt_chars: int) -> Hold:
        """Hold what a call may spend; `release` gives it back.

        Raises:
            LimitReached: with this call, the tree would spend more than a limit.
        """
        limits = self._limits
        if self.seconds_left() == 0:
            raise LimitReached("max_seconds", limits.max_seconds)
        hold = self._expected(model, prompt_chars)
        tokens = self._tokens() + self._held.tokens + hold.tokens
        if limits.max_tokens is not None and tokens > limits.max_tokens:
            raise LimitReached("max_tokens", limits.max_tokens)
        cost = self.usage["cost"] + self._held.cost + hold.cost
        if limits.max_cost is not None and cost > limits.max_cost:
            raise LimitReached("max_cost", limits.max_cost)
        if self._around is not None:
            hold = replace(hold, around=self._around.hold(model, prompt_chars))
        self._held += hold
        return hold

    def left(self) -> Grant:
        """Give what is left for the tree, without what is held."""
        limits, tokens, cost = self._limits, None, None
        if limits.max_tokens is not None:
            tokens = limits.max_tokens - self._tokens() - self._held.tokens
        if limits.max_cost is not None:
            cost = limits.max_cost - self.usage["cost"] - self._held.cost
        own = Grant(tokens, cost, self.seconds_left(), self.sub_calls_left())
        return own if self._around is None else own.within(self._around.left())

    def grant(self, among: int) -> Grant:
        """Hold a fair share of what is left for a child that runs elsewhere; `end_grant` gives it
        back.

        Args:
            among: how many may want one, this child included.

        Raises:
            LimitReached: nothing is left of something.
        """
        left, limits = self.left(), self._limits
        share = left.shared(among)
        if left.seconds == 0:
            raise LimitReached("max_seconds", limits.max_seconds)
        if share.tokens is not None and share.tokens <= 0:
            raise LimitReached("max_tokens", limits.max_tokens)
        if share.cost is not None and share.cost <= 0:
            raise LimitReached("max_cost", limits.max_cost)
        self.hold_grant(share)
        return share

    def hold_grant(self, grant: Grant) -> None:
        """Hold what a child has been granted already, by this process or an earlier one."""
        self._granted_calls += grant.sub_calls
        self._held += Hold(grant.tokens or 0, grant.cost or 0.0)
        if self._around is not None:
            self._around.hold_grant(grant)

    def end_grant(self, grant: Grant, usage: Usage | None = None) -> None:
        """Give a grant back, and count what its child has spent once it is known."""
        self._granted_calls -= grant.sub_calls
        self._held -= Hold(grant.tokens or 0, grant.cost or 0.0)
        if usage is not None:
            self.usage = add_usage(self.usage, usage)
            self._sub_calls += sub_calls_made(usage)
        if self._around is not None:
            self._around.end_grant(grant, usage)

    def is_reached(self, limit: StopReason) -> bool:
        """Tell whether the tree has spent all that it may; what is held may still come back."""
        limits = self._limits
        reached = {
            "max_sub_calls": self._sub_calls >= limits.max_sub_calls,
            "max_tokens": limits.max_tokens is not None and self._tokens() >= limits.max_tokens,
            "max_cost": limits.max_cost is not None and self.usage["cost"] >= limits.max_cost,
            "max_seconds": self.seconds_left() == 0,
        }
        around = self._around is not None and self._around.is_reached(limit)
        return around or reached.get(limit, False)

    def _tokens(self) -> int:
        return self.usage["input_tokens"] + self.usage["output_tokens"]

    def _expected(self, model: str, prompt_chars: int) -> Hold:
        """Estimate what a call will spend; its cost only where `max_cost` limits it."""
        prompt = prompt_chars // CHARS_PER_TOKEN
        reply = self._reply_tokens(model)
        cost = 0.0
        if self._limits.max_cost is not None:
            price = self._prices.of(model)
            cost = price.cost(prompt, reply) if price else 0.0
        return Hold(prompt + reply, cost)

    def _reply_tokens(self, model: str) -> int:
        """Estimate the length of a model's next reply, from those that it gave at any depth."""
        breakdown = self.usage["breakdown"]
        known = [breakdown[key] for key in breakdown if key.partition("/")[2] == model]
        calls = sum(spending["model_calls"] for spending in known)
        if not calls:
            return FIRST_REPLY_TOKENS
        return sum(spending["output_tokens"] for spending in known) // calls

    def release(self, hold: Hold) -> None:
        """Give a hold back, when its call has ended."""
        self._held -= hold
        if self._around is not None and hold.around is not None:
            self._around.release(hold.around)

    def cut_off(self, hold: Hold) -> None:
        """Tell a ledger around of a call that was cut off: nobody knows what it has spent.

        `release` follows.
        """
        if self._around is not None and hold.around is not None:
            self._around.cut_off(hold.around)

    def settle(self, model: str, depth: int | str, reply: "AIMessage", prompt_chars: int) -> Usage:
        """Count what a call has spent, as the provider reports it, or as the texts let one think.

        Args:
            model: that answered.
            depth: that the spending is counted under, or who asked where no RLM did.
            reply: of the model.
            prompt_chars: of what it was sent.

        Returns:
            The increment for the state.
        """
        usage = spent(by={f"{depth}/{model}": self._spending(model, reply, prompt_chars)})
        self.usage = add_usage(self.usage, usage)
        if self._around is not None:
            self._around.settle(model, depth, reply, prompt_chars)
        return usage

    def _spending(self, model: str, reply: "AIMessage", prompt_chars: int) -> Spending:
        reported: Mapping[str, Any] = reply.usage_metadata or {}
        if is_from_cache(reported):
            return _nothing()
        input_tokens = count(reported.get("input_tokens"))
        output_tokens = count(reported.get("output_tokens"))
        spending = Spending(
            model_calls=1,
            input_tokens=input_tokens or prompt_chars // CHARS_PER_TOKEN,
            output_tokens=output_tokens or _length(reply) // CHARS_PER_TOKEN,
            cost=0.0,
            unpriced_calls=1,
        )
        if not input_tokens or (not output_tokens and spending["output_tokens"]):
            spending["estimated_calls"] = 1
        details = counts(reported.get("input_token_details"))
        price = self._prices.of(model)
        if price is not None:
            spending["cost"] = _cost(price, spending, details)
            spending["unpriced_calls"] = 0
        if details:
            spending["input_token_details"] = details
        if details := counts(reported.get("output_token_details")):
            spending["output_token_details"] = details
        return spending

    def seconds_left(self) -> float | None:
        """Give what is left of `max_seconds`, never below zero; None without that limit."""
        if self._limits.max_seconds is None:
            return None
        return max(0.0, self._limits.max_seconds - self._elapsed())

    def deadline_for_code(self, depth: int) -> Deadline:
        """Give the moment at which code at a depth is cut off; none without `max_seconds`.

        That is a little after the limit: in between, calls fail at once, and code can still make
        something of what it has. Children have less of it than their parents.
        """
        limit = self._limits.max_seconds
        if limit is None:
            return Deadline(self.clock)
        grace = min(GRACE_SECONDS, limit / 4) / (depth + 1)
        return Deadline(self.clock, self.clock.now() + limit + grace - self._elapsed())

    def _elapsed(self) -> float:
        return self._seconds_before + self.clock.now() - self._started

    def unreported_seconds(self) -> float:
        """Give the seconds that no RLM of the tree has reported yet."""
        return self.clock.now() - self._reported

    def take_seconds(self) -> float:
        """Seconds since any RLM of the tree last reported time.

        Whoever reports first takes them, so no second is counted twice.
        """
        now = self.clock.now()
        seconds = now - self._reported
        self._reported = now
        return seconds


def _nothing() -> Spending:
    """The spending of a reply for which nobody was asked."""
    return Spending(model_calls=0, input_tokens=0, output_tokens=0, cost=0.0, unpriced_calls=0)


def _cost(price: Price, spending: Spending, details: Mapping[str, int]) -> float:
    """USD of one call, by what its provider's cache has given and taken."""
    tokens = spending["input_tokens"]
    part = cached_input(details, tokens)
    output = spending["output_tokens"]
    return price.cost(tokens, output, part.read, part.written, part.written_1h)


def _length(reply: "AIMessage") -> int:
    """Count the characters that a model has written: its text, its thoughts and its calls."""
    content: Any = reply.content
    texts = [content] if isinstance(content, str) else [str(block) for block in content]
    thoughts = [str(value) for value in reply.additional_kwargs.values() if value]
    calls = [] if isinstance(content, list) else [str(call["args"]) for call in reply.tool_calls]
    return sum(map(len, [*texts, *thoughts, *calls]))
