"""Day: what one key has used on one day, and what of it is let in. Pure: it knows no database.

A process that works for a key holds a part of what is left, and spends from that: so a call of a
model asks no database, and what all processes spend together stays within the limit. What a process
holds has an end: if the process dies, it is given back.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from langgraph_rlm.server.limits.given import KeyLimits

HELD_SECONDS = 30.0
"""How long a process that says nothing more still holds what it had taken."""
DAY = 86_400
MINUTE = 60

Reason = Literal[
    "requests_per_day",
    "tokens_per_day",
    "usd_per_day",
    "requests_per_minute",
    "open_requests",
    "in_flight",
]
"""Why a request is refused. `in_flight`: all that is left of the day is held by requests under way,
which may give some of it back."""


@dataclass(frozen=True)
class Amount:
    """What models cost."""

    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.tokens - other.tokens, self.usd - other.usd)

    def at_most(self, other: "Amount") -> "Amount":
        """Give the smaller of both, each by itself."""
        return Amount(min(self.tokens, other.tokens), min(self.usd, other.usd))

    def at_least(self, other: "Amount") -> "Amount":
        """Give the larger of both, each by itself."""
        return Amount(max(self.tokens, other.tokens), max(self.usd, other.usd))

    def covers(self, other: "Amount") -> bool:
        """Whether the other one fits into it."""
        return other.tokens <= self.tokens and other.usd <= self.usd + 1e-12


NOTHING = Amount()


@dataclass(frozen=True)
class Held:
    """What one process has taken of a day."""

    amount: Amount = NOTHING
    open: int = 0
    """Its requests that are worked on."""
    until: float = 0.0
    """When it counts as gone, in seconds of the database's clock."""


@dataclass(frozen=True)
class Day:
    """What one key has used on one day, as it is kept."""

    requests: int = 0
    used: Amount = NOTHING
    minute: int = 0
    """The last minute with a request, in minutes since 1970, ..."""
    in_minute: int = 0
    """... and how many it had."""
    held: Mapping[str, Held] = field(default_factory=dict[str, Held])
    """By process."""

    @property
    def all_held(self) -> Amount:
        """What all processes hold."""
        return sum((held.amount for held in self.held.values()), NOTHING)

    @property
    def all_open(self) -> int:
        """Requests that are worked on, everywhere."""
        return sum(held.open for held in self.held.values())

    def without(self, process: str, now: float) -> "Day":
        """Give the day without a process, and without those that are gone."""
        alive = {
            name: held for name, held in self.held.items() if name != process and held.until > now
        }
        return replace(self, held=alive)

    def written(self) -> dict[str, Any]:
        """Give it as JSON."""
        return asdict(self)


def read_day(given: Mapping[str, Any]) -> Day:
    """Read what `Day.written` gave; a new day from nothing."""
    if not given:
        return Day()
    held = {
        name: Held(Amount(**each["amount"]), each["open"], each["until"])
        for name, each in given["held"].items()
    }
    return Day(
        given["requests"],
        Amount(**given["used"]),
        given["minute"],
        given["in_minute"],
        held,
    )


@dataclass(frozen=True)
class Word:
    """What a process says to a day, and asks of it."""

    process: str
    requests: int = 0
    """New ones, which want to be let in."""
    open: int = 0
    """Those that it works on already."""
    used: Amount = NOTHING
    """Spent since its last word."""
    held: Amount = NOTHING
    """What it still holds, without that."""
    needed: Amount = NOTHING
    """What it wants to hold at least."""
    wanted: Amount = NOTHING
    """What it would rather hold, where there is so much."""


@dataclass(frozen=True)
class Told:
    """What a process hears."""

    day: Day
    now: float
    """Seconds since 1970, by the database's clock."""
    let_in: int = 0
    """How many of the new requests may begin."""
    reason: Reason | None = None
    """Why the others may not."""
    held: Amount = NOTHING
    """What the process holds from now on."""

    @property
    def number(self) -> int:
        """The day, in days since 1970."""
        return int(self.now // DAY)

    @property
    def seconds_left(self) -> float:
        """Seconds to the end of the day."""
        return DAY - self.now % DAY


def heard(day: Day, word: Word, limits: KeyLimits, now: float) -> Told:
    """Take a word of a process: count what it has used, let requests in, and give it its part.

    Args:
        day: as it is kept.
        word: of the process.
        limits: of the key.
        now: seconds since 1970, by the database's clock.
    """
    day = day.without(word.process, now)
    day = replace(day, used=day.used + word.used)
    left = _left(day, limits)
    held = word.held.at_least(word.needed.at_least(word.wanted).at_most(left)).at_least(NOTHING)
    let_in, reason = _let_in(day, word, limits, now, held)
    minute = int(now // MINUTE)
    before = day.in_minute if day.minute == minute else 0
    is_idle = not (word.open + let_in) and held == NOTHING
    mine = {} if is_idle else {word.process: Held(held, word.open + let_in, now + HELD_SECONDS)}
    day = replace(
        day,
        requests=day.requests + let_in,
        minute=minute,
        in_minute=before + let_in,
        held={**day.held, **mine},
    )
    return Told(day, now, let_in, reason, held)


ENDLESS = Amount(1 << 60, 1e18)
"""What is left where there is no limit."""


def _left(day: Day, limits: KeyLimits) -> Amount:
    """Give what neither was used nor is held by others."""
    gone = day.used + day.all_held
    tokens, usd = ENDLESS.tokens, ENDLESS.usd
    if limits.tokens_per_day is not None:
        tokens = max(0, limits.tokens_per_day - gone.tokens)
    if limits.usd_per_day is not None:
        usd = max(0.0, limits.usd_per_day - gone.usd)
    return Amount(tokens, usd)


def _let_in(
    day: Day, word: Word, limits: KeyLimits, now: float, held: Amount
) -> tuple[int, Reason | None]:
    """Say how many new requests may begin, and why the others may not."""
    if not word.requests:
        return 0, None
    reason = _spent(day, limits, held)
    if reason is not None:
        return 0, reason
    in_minute = day.in_minute if day.minute == int(now // MINUTE) else 0
    rooms: list[tuple[Reason, int | None, int]] = [
        ("requests_per_day", limits.requests_per_day, day.requests),
        ("requests_per_minute", limits.requests_per_minute, in_minute),
        ("open_requests", limits.open_requests, day.all_open + word.open),
    ]
    let_in = word.requests
    for name, limit, count in rooms:
        if limit is not None and limit - count < let_in:
            let_in, reason = max(0, limit - count), name
    return let_in, reason


def _spent(day: Day, limits: KeyLimits, held: Amount) -> Reason | None:
    """Say which amount of the day has nothing left for one more request."""
    sides: list[tuple[Reason, float | None, float, float]] = [
        ("tokens_per_day", limits.tokens_per_day, day.used.tokens, held.tokens),
        ("usd_per_day", limits.usd_per_day, day.used.usd, held.usd),
    ]
    for name, limit, used, ours in sides:
        if limit is not None and used >= limit:
            return name
        if limit is not None and ours <= 0:
            return "in_flight"
    return None
