"""Allowance: the ledger that all runs of a key in this process are counted in, on one day.

It is the `budget` around the ledgers of runs: a call of a model that would pass what is left of the
key's day does not start, and the run ends as it does at its own limits.
"""

from typing import TYPE_CHECKING, Protocol

from langgraph_rlm.budget.ledger import Hold, Ledger, LimitReached
from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.server.limits.day import Amount
from langgraph_rlm.server.limits.given import KeyLimits

if TYPE_CHECKING:
    from langchain_core.messages import AIMessage

UNLIMITED = 10**12
"""For sub-calls, of which a key has no limit."""


class Purse(Protocol):
    """What this process holds of a key's day."""

    @property
    def limits(self) -> KeyLimits:
        """Of the key."""
        ...

    async def fill(self, amount: Amount) -> None:
        """Have room for so much, as far as the day has it."""
        ...

    def take(self, amount: Amount) -> bool:
        """Set aside what a call may spend; False, and nothing, where it does not fit."""
        ...

    def put_back(self, amount: Amount) -> None:
        """Give back what was set aside."""
        ...

    def spend(self, amount: Amount) -> None:
        """Count what a call has spent."""
        ...


class Allowance(Ledger):
    """A ledger over the requests of one key. See `Ledger`."""

    def __init__(self, purse: Purse, prices: Prices) -> None:
        # the limit of tokens and of cost is the purse; one is named so that costs are estimated
        cost = purse.limits.usd_per_day
        super().__init__(Limits(max_sub_calls=UNLIMITED, max_cost=cost), prices)
        self._purse = purse

    def carry(self, usage: Usage) -> None:
        """Count nothing: what a run had spent before was counted when it was spent."""

    def reserve_sub_calls(self, items: int) -> bool:
        """Allow any number."""
        return True

    async def prepare(self, model: str, prompt_chars: int) -> None:
        """Have the day's part of this process cover a call."""
        await self._prices.prepare(model)
        await self._purse.fill(self._amount(self._expected(model, prompt_chars)))

    def hold(self, model: str, prompt_chars: int) -> Hold:
        """Hold what a call may spend.

        Raises:
            LimitReached: the day has not so much left.
        """
        hold = self._expected(model, prompt_chars)
        if not self._purse.take(self._amount(hold)):
            limits = self._purse.limits
            if limits.usd_per_day is not None and limits.tokens_per_day is None:
                raise LimitReached("max_cost", limits.usd_per_day)
            raise LimitReached("max_tokens", limits.tokens_per_day)
        return hold

    def release(self, hold: Hold) -> None:
        """Give a hold back."""
        self._purse.put_back(self._amount(hold))

    def cut_off(self, hold: Hold) -> None:
        """Count a call whose client has left as what was held for it: its model is paid."""
        self._purse.spend(Amount(hold.tokens, hold.cost))

    def settle(self, model: str, depth: int | str, reply: "AIMessage", prompt_chars: int) -> Usage:
        """Count what a call has spent."""
        usage = super().settle(model, depth, reply, prompt_chars)
        self._purse.spend(Amount(usage["input_tokens"] + usage["output_tokens"], usage["cost"]))
        return usage

    def _amount(self, hold: Hold) -> Amount:
        """Give the sides of a hold that the key has a limit of."""
        limits = self._purse.limits
        tokens = 0 if limits.tokens_per_day is None else hold.tokens
        return Amount(tokens, 0.0 if limits.usd_per_day is None else hold.cost)
