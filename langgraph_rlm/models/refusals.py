"""Refusals: errors of a provider that pass by themselves, and how long it says that they last.

A provider that is asked too often answers 429 (Anthropic also 529), and most say when to come back.
Never waits.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from langgraph_rlm.storage.json_types import is_dict, is_list

LONGEST_WAIT = 120.0
"""Seconds; OpenAI's and Anthropic's own clients wait no longer either. A provider that says more
has run out of what it gives for an hour or a day."""

TOO_MANY, UNAVAILABLE, OVERLOADED = 429, 503, 529
PASSING = frozenset({408, 409})
"""Statuses below 500 that pass: a request that took too long, a lock."""

NO_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
"""Codes of OpenAI's 429 that waiting does not help."""

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
UNITS = (3600.0, 60.0, 1.0, 0.001)
"""Seconds of the groups of `DURATION`."""


@dataclass(frozen=True)
class Refusal:
    """A request was not answered, and may be when it is sent again."""

    status: int | None
    """None where there was no reply at all."""
    is_for_all: bool
    """Whether other requests would be refused too: the provider has too many."""
    wait: float | None
    """Seconds that it says; None where it does not say."""

    @property
    def is_too_long(self) -> bool:
        """Whether waiting for it would be waiting for nothing."""
        return self.wait is not None and self.wait > LONGEST_WAIT


def refusal_of(error: BaseException) -> Refusal | None:
    """Tell whether an error passes by itself; None for one that does not."""
    for each in _causes(error):
        status = status_of(each)
        if status is not None:
            return _refusal(each, status)
        if any(kind.__name__ == "APIConnectionError" for kind in type(each).__mro__):
            return Refusal(None, is_for_all=False, wait=None)
    return None


def status_of(error: BaseException) -> int | None:
    """Give the HTTP status of a provider's error; None for one that has none."""
    for value in (
        getattr(error, "status_code", None),
        getattr(error, "code", None),
        getattr(getattr(error, "response", None), "status_code", None),
    ):
        if isinstance(value, int) and 100 <= value < 600:
            return value
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and those that it was raised from: Google's status is in the latter."""
    found: BaseException | None = error
    for _ in range(3):
        if found is None:
            return
        yield found
        found = found.__cause__


def _refusal(error: BaseException, status: int) -> Refusal | None:
    headers = _headers(error)
    wait = _wait(headers, error)
    said = headers.get("x-should-retry")
    if said == "false" or getattr(error, "code", None) in NO_CREDIT:
        return None
    if status in (TOO_MANY, OVERLOADED) or (status == UNAVAILABLE and wait is not None):
        return Refusal(status, is_for_all=True, wait=wait)
    if status in PASSING or status >= 500 or said == "true":
        return Refusal(status, is_for_all=False, wait=wait)
    return None


def _headers(error: BaseException) -> Mapping[str, str]:
    """Give the headers of a provider's reply, their names in lower case."""
    found: Any = getattr(getattr(error, "response", None), "headers", None)
    try:
        return {str(name).lower(): str(value) for name, value in found.items()}
    except (AttributeError, TypeError):  # clients give what they like
        return {}


# How long


def _wait(headers: Mapping[str, str], error: BaseException) -> float | None:
    """Give the seconds that a provider says, wherever it says them."""
    found = (
        _number(headers.get("retry-after-ms"), 0.001),
        _number(headers.get("retry-after"), 1.0),
        _until(headers.get("retry-after")),
        _reset(headers),
        _retry_delay(error),
    )
    return next((wait for wait in found if wait is not None), None)


def _number(text: str | None, unit: float) -> float | None:
    """Read a number of units. What is no time is as if nothing were said."""
    try:
        seconds = float(text or "") * unit
    except ValueError:
        return None
    return seconds if seconds >= 0 and math.isfinite(seconds) else None


def _until(text: str | None) -> float | None:
    """Read an HTTP date."""
    try:
        moment = parsedate_to_datetime(text or "").timestamp()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return max(0.0, moment - time.time())


def _reset(headers: Mapping[str, str]) -> float | None:
    """Read when OpenAI's budgets of requests and tokens, as far as they are used up, are whole
    again: `x-ratelimit-reset-tokens: 1m12.5s`."""
    waits = [
        _duration(headers.get(f"x-ratelimit-reset-{what}", ""))
        for what in ("requests", "tokens")
        if headers.get(f"x-ratelimit-remaining-{what}") == "0"
    ]
    return max((wait for wait in waits if wait is not None), default=None)


def _duration(text: str) -> float | None:
    found = DURATION.fullmatch(text[:40].strip())
    if found is None or not any(found.groups()):
        return None
    parts = zip(found.groups(), UNITS, strict=True)
    return sum(float(number) * unit for number, unit in parts if number)


def _retry_delay(error: BaseException) -> float | None:
    """Read Google's `RetryInfo`, which is in the body: `"retryDelay": "38s"`."""
    body: Any = getattr(error, "details", None)
    inner = body.get("error") if is_dict(body) else None
    details = inner.get("details") if is_dict(inner) else None
    if not is_list(details):
        return None
    delays = (_duration(str(each.get("retryDelay", ""))) for each in details if is_dict(each))
    return next((delay for delay in delays if delay is not None), None)
