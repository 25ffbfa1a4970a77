"""Accounts: the keys that this process works for, and who of them may ask."""

import asyncio
import logging
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from langgraph_rlm.budget.ledger import Ledger
from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.server.errors import Refused
from langgraph_rlm.server.limits.account import Account, DayOver
from langgraph_rlm.server.limits.day import DAY, Day
from langgraph_rlm.server.limits.days import Days
from langgraph_rlm.server.limits.given import LIMITS, KeyLimits
from langgraph_rlm.server.limits.refusals import headers_of, refused_for

LOG = logging.getLogger("langgraph_rlm.server")
WORD_SECONDS = 2.0
"""Between two words of an account that is in use."""


@dataclass(frozen=True)
class Entered:
    """A request that was let in."""

    headers: Mapping[str, str]
    """What its answer says of the limits."""
    account: Account


class Accounts:
    """The accounts of one process."""

    def __init__(
        self,
        days: Days,
        default: KeyLimits,
        named: Mapping[str, KeyLimits],
        prices: Prices,
        on_refusal: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open none yet.

        Args:
            days: where they are kept.
            default: the limits of all keys that have none of their own.
            named: those of keys that do, by owner.
            prices: of models.
            on_refusal: is told the reason of each refusal.
        """
        self._on_refusal = on_refusal
        self._days = days
        self._default = default
        self._named = named
        self._prices = prices
        self._process = secrets.token_hex(8)
        self._today: dict[str, Account] = {}
        self._before: list[Account] = []
        """Accounts of days that have ended, which runs still spend from."""
        self._ticker: asyncio.Task[None] | None = None

    def limits_of(self, owner: str) -> KeyLimits:
        """Give the limits of a key."""
        return self._named.get(owner, self._default)

    def budget(self, owner: str) -> Ledger:
        """Give the ledger that what a key spends from now on is counted in."""
        return self._account(owner).allowance

    @asynccontextmanager
    async def request(self, owner: str) -> AsyncGenerator[Entered]:
        """Let a request of a key in, for as long as it is worked on.

        Raises:
            Refused: a limit of the key is reached.
        """
        entered = await self._entered(owner)
        try:
            yield entered
        finally:
            entered.account.leave()
            if entered.account.limits.open_requests is not None:
                # the place is another one's at once, on every server
                with suppress(asyncio.CancelledError):
                    await self._say(entered.account)

    async def _entered(self, owner: str) -> Entered:
        while True:
            account = self._account(owner)
            try:
                answer = await account.enter()
            except DayOver:
                if self._today.get(owner) is account:
                    del self._today[owner]
                    self._before.append(account)
                continue
            except Exception as error:
                LOG.error("What a key has used cannot be read", exc_info=error)
                raise _unknown() from error
            if answer.is_in:
                return Entered(headers_of(account.limits, answer.told), account)
            reason = answer.told.reason or "in_flight"
            self._on_refusal(reason)
            raise refused_for(reason, account.limits, answer.told)

    def _account(self, owner: str) -> Account:
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick())
        account = self._today.get(owner)
        if account is None:
            limits = self.limits_of(owner)
            account = Account(owner, limits, self._days, self._process, self._prices)
            self._today[owner] = account
        return account

    async def used(self, owner: str) -> dict[str, Any]:
        """Say what a key has used today, and what it may use."""
        if owner in self._today:
            await self._today[owner].say()
        day, now = await self._days.read(owner)
        return _usage(day, now, self.limits_of(owner))

    async def close(self) -> None:
        """Give back what is held, and tell what was spent."""
        if self._ticker is not None:
            self._ticker.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticker
        for account in [*self._today.values(), *self._before]:
            await self._say(account)
        await self._days.close()

    async def _tick(self) -> None:
        """Say every now and then what was spent, so that other servers know."""
        while True:
            await asyncio.sleep(WORD_SECONDS)
            for account in [*self._today.values(), *self._before]:
                if not account.is_idle:
                    await self._say(account)
            self._before = [account for account in self._before if not account.is_long_over]
            for owner, account in [*self._today.items()]:
                if account.is_long_over:
                    del self._today[owner]

    async def _say(self, account: Account) -> None:
        try:
            await account.say()
        except Exception as error:  # noqa: BLE001 - the next word says it again
            LOG.warning("What a key has used could not be kept: %s", type(error).__name__)


def _usage(day: Day, now: float, limits: KeyLimits) -> dict[str, Any]:
    used: dict[str, Any] = {
        "requests": day.requests,
        "tokens": day.used.tokens,
        "usd": round(day.used.usd, 6),
        "open_requests": day.all_open,
    }
    return {
        "object": "usage",
        "day": int(now // DAY) * DAY,
        "ends_at": (int(now // DAY) + 1) * DAY,
        "used": used,
        "limits": {name: getattr(limits, name) for name in LIMITS},
    }


def _unknown() -> Refused:
    """Make the refusal of a request of which nobody knows whether it is within its limits."""
    message = "What this key has used cannot be read now. Nothing of the request was done."
    return Refused(503, message, code="limits_unknown", headers={"retry-after": "2"})


def unpriced(model: str, limits: KeyLimits) -> Refused:
    """Make the refusal of a model that a key with a limit of USD may not ask."""
    message = (
        f"The key has a limit of {limits.usd_per_day:g} USD a day, and what {model!r} costs is not "
        "known. Ask a model with a known price; the server's owner gives prices as [prices.NAME] "
        "in --config."
    )
    return Refused(400, message, param="model", code="model_not_priced")
