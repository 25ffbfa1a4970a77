"""Account: what this process knows and holds of one key's day.

All that wait for the database share its next answer: 200 requests at once are two transactions.
"""

import asyncio
import time
from dataclasses import dataclass, replace

from langgraph_rlm.budget.prices import Prices
from langgraph_rlm.server.limits.allowance import Allowance
from langgraph_rlm.server.limits.day import DAY, NOTHING, Amount, Day, Told, Word, heard
from langgraph_rlm.server.limits.days import Days
from langgraph_rlm.server.limits.given import KeyLimits

PARTS = 50
"""A process takes so small a part of a day's limit at a time, so that others have theirs."""
LEAST_TOKENS = 1_000
"""Tokens that it takes at least."""


class DayOver(Exception):
    """The day has ended: the next one has an account of its own."""


@dataclass(frozen=True)
class Answer:
    """What a request that asks to be let in hears."""

    told: Told
    is_in: bool


class Account:
    """One key's day, in this process. It is the `Purse` of its allowance."""

    def __init__(
        self, owner: str, limits: KeyLimits, days: Days, process: str, prices: Prices
    ) -> None:
        self.limits = limits
        self.open = 0
        """Requests that are worked on here."""
        self.allowance = Allowance(self, prices)
        self.day: int | None = None
        """Which one, in days since 1970; None until the database has said."""
        self._owner = owner
        self._days = days
        self._process = process
        self._granted = NOTHING
        """What this process held after the last word."""
        self._used = NOTHING
        """What was spent since."""
        self._taken = NOTHING
        """What calls in flight may spend."""
        self._asked = NOTHING
        """What calls want to take, and wait for."""
        self._waiting: list[asyncio.Future[Answer]] = []
        """Requests that want to be let in."""
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    # Requests

    async def enter(self) -> Answer:
        """Ask for one more request to be let in. `leave` has to follow where it is.

        Raises:
            DayOver: the day has ended.
        """
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            await self.say()
            return await waiting
        except asyncio.CancelledError:
            self._forget(waiting)
            raise

    def _forget(self, waiting: "asyncio.Future[Answer]") -> None:
        """Forget a request whose client has left while it waited."""
        if waiting in self._waiting:
            self._waiting.remove(waiting)
        elif waiting.done() and not waiting.cancelled() and waiting.exception() is None:
            self.open -= int(waiting.result().is_in)
        waiting.cancel()

    def leave(self) -> None:
        """Say that a request has ended."""
        self.open -= 1

    # What calls of models may spend: see `Purse`

    @property
    def room(self) -> Amount:
        """What this process may still spend, calls in flight included."""
        return (self._granted - self._used).at_least(NOTHING)

    async def fill(self, amount: Amount) -> None:
        """Have room for so much, as far as the day has it."""
        if self.room.covers(self._taken + amount):
            return
        self._asked += amount
        try:
            await self.say()
        finally:
            self._asked -= amount

    def take(self, amount: Amount) -> bool:
        """Set aside what a call may spend; False, and nothing, where it does not fit."""
        if not self.room.covers(self._taken + amount):
            return False
        self._taken += amount
        return True

    def put_back(self, amount: Amount) -> None:
        """Give back what was set aside."""
        self._taken -= amount

    def spend(self, amount: Amount) -> None:
        """Count what a call has spent."""
        self._used += amount

    # Words with the database

    @property
    def is_idle(self) -> bool:
        """Whether nobody works for the key here, and the database knows all."""
        is_done = self._used == NOTHING and self._granted == NOTHING
        return is_done and not self._is_at_work

    @property
    def is_long_over(self) -> bool:
        """Whether no run can still spend from it: its day ended a day ago."""
        today = int(time.time() // DAY)
        return self.is_idle and self.day is not None and self.day < today - 1

    @property
    def _is_at_work(self) -> bool:
        return bool(self.open or self._waiting) or self._taken.tokens > 0 or self._taken.usd > 1e-12

    async def say(self) -> None:
        """Tell the database what was spent and is wanted, together with all that wait for it."""
        if self._next is None:
            self._next = asyncio.create_task(self._said())
        # whoever leaves does not take the word from the others
        await asyncio.shield(self._next)

    async def _said(self) -> None:
        async with self._lock:
            self._next = None
            waiting, self._waiting = self._waiting, []
            word = self._word(len(waiting))
            try:
                told, is_over = await self._changed(word)
            except BaseException as error:
                for each in waiting:
                    if not each.done():
                        each.set_exception(_same(error))
                raise
            self._used -= word.used
            self._granted = told.held
            self._answer(waiting, told, is_over=is_over)

    def _answer(
        self, waiting: "list[asyncio.Future[Answer]]", told: Told, *, is_over: bool
    ) -> None:
        """Let the first ones in. A place of one who has left is given back by the next word."""
        left = told.let_in
        for each in waiting:
            if each.done():
                continue
            if is_over:
                each.set_exception(DayOver())
                continue
            self.open += int(left > 0)
            each.set_result(Answer(told, left > 0))
            left -= 1

    def _word(self, requests: int) -> Word:
        word = Word(self._process, requests, self.open, self._used)
        if not (self._is_at_work or requests or self._asked != NOTHING):
            return word
        needed = self._taken + self._asked
        wanted = needed + self._part
        kept = self.room.at_most(wanted + self._part)
        return replace(word, held=kept.at_least(self._taken), needed=needed, wanted=wanted)

    @property
    def _part(self) -> Amount:
        limits = self.limits
        tokens, usd = 0, 0.0
        if limits.tokens_per_day is not None:
            tokens = max(LEAST_TOKENS, limits.tokens_per_day // PARTS)
        if limits.usd_per_day is not None:
            usd = limits.usd_per_day / PARTS
        return Amount(tokens, usd)

    async def _changed(self, word: Word) -> tuple[Told, bool]:
        is_over = False

        def change(day: Day, now: float) -> Told:
            nonlocal is_over
            is_over = self.day is not None and int(now // DAY) != self.day
            given = replace(word, requests=0) if is_over else word
            return heard(day, given, self.limits, now)

        told = await self._days.change(self._owner, change, self.day)
        if self.day is None:
            self.day = told.number
        return told, is_over


def _same(error: BaseException) -> BaseException:
    """Give an error that a future takes."""
    return error if isinstance(error, Exception) else asyncio.CancelledError()
