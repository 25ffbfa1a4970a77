"""Refusals: what a client is told that has reached a limit of its key, and headers of answers.

As OpenAI's clients know them: 429, `retry-after`, and `x-ratelimit-*`.
"""

from collections.abc import Mapping

from langgraph_rlm.server.errors import DO_NOT_RETRY, Refused
from langgraph_rlm.server.limits.day import MINUTE, Reason, Told
from langgraph_rlm.server.limits.given import KeyLimits

QUOTA = "insufficient_quota"
RATE = "rate_limit_exceeded"
SOON = 2
"""Seconds after which requests that are under way may have ended."""

UNITS: Mapping[str, str] = {
    "requests_per_day": "requests of this day",
    "tokens_per_day": "tokens of this day",
    "usd_per_day": "USD of this day",
    "requests_per_minute": "requests of this minute",
    "open_requests": "requests at once",
}


def refused_for(reason: Reason, limits: KeyLimits, told: Told) -> Refused:
    """Make the refusal of a request.

    Those of the day are not to be tried again by themselves: OpenAI's clients would within a
    minute. Neither what the key is nor its name is told.
    """
    headers = headers_of(limits, told)
    if reason == "in_flight":
        message = (
            "What is left of this key's day is held by its requests under way, which may not need "
            "all of it. Try again when one of them has ended."
        )
        return _refused(message, RATE, "rate_limit_error", SOON, headers)
    limit = getattr(limits, reason)
    message = f"This key may use {limit:g} {UNITS[reason]}, which are used up."
    if reason == "open_requests":
        message = f"This key may have {limit} requests open at once. Wait for one of them."
        return _refused(message, RATE, "rate_limit_error", SOON, headers)
    if reason == "requests_per_minute":
        seconds = MINUTE - told.now % MINUTE
        return _refused(message, RATE, "rate_limit_error", seconds, headers)
    headers = {**headers, **DO_NOT_RETRY}
    message = f"{message} The next day begins at 00:00 UTC."
    return _refused(message, QUOTA, QUOTA, told.seconds_left, headers)


def _refused(
    message: str, code: str, type: str, seconds: float, headers: Mapping[str, str]
) -> Refused:
    wait = str(max(1, int(seconds) + 1))
    told = Refused(429, message, code=code, headers={**headers, "retry-after": wait})
    told.type = type
    return told


def headers_of(limits: KeyLimits, told: Told) -> dict[str, str]:
    """Make the headers that say what is left."""
    headers: dict[str, str] = {}
    day, minute = told.day, MINUTE - told.now % MINUTE
    if limits.requests_per_day is not None:
        left = limits.requests_per_day - day.requests
        headers |= _rate("requests", limits.requests_per_day, left, told.seconds_left)
    elif limits.requests_per_minute is not None:
        left = limits.requests_per_minute - day.in_minute
        headers |= _rate("requests", limits.requests_per_minute, left, minute)
    if limits.tokens_per_day is not None:
        left = limits.tokens_per_day - day.used.tokens
        headers |= _rate("tokens", limits.tokens_per_day, left, told.seconds_left)
    return headers


def _rate(unit: str, limit: int, left: int, seconds: float) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{unit}": str(limit),
        f"x-ratelimit-remaining-{unit}": str(max(0, left)),
        f"x-ratelimit-reset-{unit}": duration(seconds),
    }


def duration(seconds: float) -> str:
    """Write a time as OpenAI does: `7h12m3s`."""
    whole = max(1, int(seconds) + 1)
    hours, rest = divmod(whole, 3600)
    minutes, rest = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
