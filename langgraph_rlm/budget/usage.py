"""Usage: what a run has spent, in total and by depth and model.

Plain values, so that any checkpointer takes them.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, NotRequired

from typing_extensions import TypedDict


class Spending(TypedDict):
    """What the calls of one model at one depth have spent."""

    model_calls: int
    input_tokens: int
    output_tokens: int
    cost: float
    """USD of the calls whose price is known."""
    unpriced_calls: int
    """Calls whose price is not known: `cost` does not count them."""
    input_token_details: NotRequired[dict[str, int]]
    """Parts of the input tokens, by LangChain's names (`cache_read`, ...).

    Left out where no provider says.
    """
    output_token_details: NotRequired[dict[str, int]]
    """Parts of the output tokens, such as `reasoning`. Left out where no provider says."""
    estimated_calls: NotRequired[int]
    """Calls whose provider did not say all that they used: tokens and cost count an estimate from
    the texts for what is missing. Left out where there are none."""


DETAILS: tuple[Literal["input_token_details", "output_token_details"], ...] = (
    "input_token_details",
    "output_token_details",
)
"""The keys of a `Spending` that may be left out."""


class Usage(Spending):
    """What a run has spent, its children included."""

    turns: int
    """Calls of root models, at any depth."""
    sub_calls: int
    """Answered `llm_query` and `rlm_query` calls, at any depth."""
    failed_sub_calls: NotRequired[int]
    """Those that code got an error for. Left out where there are none."""
    seconds: float
    """Wall-clock seconds that the run worked; its pauses do not count.

    Each second is counted once, however many calls were in flight.
    """
    breakdown: dict[str, Spending]
    """The spending by depth and model, under `"0/gpt-5"`."""


class Share(TypedDict):
    """What one answer adds to a `Usage`: all but the totals, which follow from the breakdown."""

    turns: int
    sub_calls: int
    failed_sub_calls: NotRequired[int]
    seconds: float
    breakdown: dict[str, Spending]


def share(usage: Usage) -> Share:
    """Leave the totals out of a usage; `whole` gives them back."""
    part = Share(
        turns=usage["turns"],
        sub_calls=usage["sub_calls"],
        seconds=usage["seconds"],
        breakdown=usage["breakdown"],
    )
    if failed := usage.get("failed_sub_calls"):
        part["failed_sub_calls"] = failed
    return part


def whole(part: Share) -> Usage:
    """Add the totals to a share: the inverse of `share`."""
    return spent(
        turns=part["turns"],
        sub_calls=part["sub_calls"],
        failed_sub_calls=part.get("failed_sub_calls", 0),
        seconds=part["seconds"],
        by=part["breakdown"],
    )


def added_up(parts: Iterable[Share]) -> Usage:
    """Add up what many answers have spent. It takes as long for each, however many there are."""
    turns, sub_calls, failed, seconds = 0, 0, 0, 0.0
    breakdown: dict[str, Spending] = {}
    for part in parts:
        turns += part["turns"]
        sub_calls += part["sub_calls"]
        failed += part.get("failed_sub_calls", 0)
        seconds += part["seconds"]
        for key, spending in part["breakdown"].items():
            known = breakdown.get(key)
            breakdown[key] = spending if known is None else _sum(known, spending)
    return spent(
        turns=turns, sub_calls=sub_calls, failed_sub_calls=failed, seconds=seconds, by=breakdown
    )


def spent(
    *,
    turns: int = 0,
    sub_calls: int = 0,
    failed_sub_calls: int = 0,
    seconds: float = 0.0,
    by: dict[str, Spending] | None = None,
) -> Usage:
    """Make a `Usage`, zero where nothing is said.

    Args:
        turns: calls of root models.
        sub_calls: answered sub-calls.
        failed_sub_calls: sub-calls that gave an error.
        seconds: wall-clock seconds worked.
        by: the spending by depth and model; the totals are its sum.
    """
    breakdown = by or {}
    total = Spending(model_calls=0, input_tokens=0, output_tokens=0, cost=0.0, unpriced_calls=0)
    for spending in breakdown.values():
        total = _sum(total, spending)
    usage = Usage(**total, turns=turns, sub_calls=sub_calls, seconds=seconds, breakdown=breakdown)
    if failed_sub_calls:
        usage["failed_sub_calls"] = failed_sub_calls
    return usage


def add_usage(total: Usage | None, more: Usage) -> Usage:
    """Reducer: nodes return increments."""
    if not total:
        return more
    breakdown = dict(total["breakdown"])
    for key, spending in more["breakdown"].items():
        if key in breakdown:
            spending = _sum(breakdown[key], spending)
        breakdown[key] = spending
    usage = Usage(
        **_sum(total, more),
        turns=total["turns"] + more["turns"],
        sub_calls=total["sub_calls"] + more["sub_calls"],
        seconds=total["seconds"] + more["seconds"],
        breakdown=breakdown,
    )
    if failed := total.get("failed_sub_calls", 0) + more.get("failed_sub_calls", 0):
        usage["failed_sub_calls"] = failed
    return usage


def sub_calls_made(usage: Usage) -> int:
    """How many sub-calls were made, whatever came of them: what `max_sub_calls` counts."""
    return usage["sub_calls"] + usage.get("failed_sub_calls", 0)


def _sum(one: Spending, other: Spending) -> Spending:
    summed = Spending(
        model_calls=one["model_calls"] + other["model_calls"],
        input_tokens=one["input_tokens"] + other["input_tokens"],
        output_tokens=one["output_tokens"] + other["output_tokens"],
        cost=one["cost"] + other["cost"],
        unpriced_calls=one["unpriced_calls"] + other["unpriced_calls"],
    )
    for key in DETAILS:
        if key in one or key in other:
            summed[key] = _added(one.get(key, {}), other.get(key, {}))
    if estimated := one.get("estimated_calls", 0) + other.get("estimated_calls", 0):
        summed["estimated_calls"] = estimated
    return summed


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
