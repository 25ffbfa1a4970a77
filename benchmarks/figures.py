"""Figures: the rows that samples come to, with their spread, their load and their aims."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cases import Aim, Case, Measure
from harness import Sample


@dataclass(frozen=True)
class Row:
    """One measure on one side: medians over the repetitions.

    The ratio to the reference side, and the difference from it, are taken within each repetition: a
    machine that is slow for a minute is slow for both sides.
    """

    scenario: str
    case: str
    measure: str
    unit: str
    side: str
    reference: str
    """The side that it is compared with; empty for that side itself, and where it did not run."""
    value: float
    values: list[float]
    """The value of every repetition."""
    loads: list[float]
    """The machine's load before each."""
    ratio: float | None
    extra: float | None
    aim: str
    met: bool | None
    """None where there is no aim."""


def rows_of(scenario: str, case: Case, samples: Mapping[str, Sequence[Sample]]) -> Iterator[Row]:
    """Make the rows of one case, of the sides that have samples."""
    for measure in case.measures:
        for side, runs in samples.items():
            if runs:
                reference = case.reference_of(side)
                is_compared = reference != side and measure.unit != "x"
                beside = samples.get(reference, []) if is_compared else []
                yield _row(scenario, case, measure, side, reference, runs, beside)


def _row(
    scenario: str,
    case: Case,
    measure: Measure,
    side: str,
    reference: str,
    runs: Sequence[Sample],
    beside: Sequence[Sample],
) -> Row:
    values = [measure.read(sample) for sample in runs]
    figures = _figures(values, [measure.read(sample) for sample in beside])
    aim = next((aim for aim in measure.aims if aim.side == side), None)
    return Row(
        scenario=scenario,
        case=case.name,
        measure=measure.name,
        unit=measure.unit,
        side=side,
        reference=reference if beside else "",
        value=figures["value"],
        values=values,
        loads=[sample["load"] for sample in runs],
        ratio=figures.get("ratio"),
        extra=figures.get("extra"),
        aim="" if aim is None else _shown_aim(aim, measure.unit),
        met=_is_met(aim, figures),
    )


def _figures(values: list[float], beside: list[float]) -> dict[str, float]:
    """Give the medians of a measure: its value, its ratio to `beside` and its difference."""
    figures = {"value": statistics.median(values)}
    pairs = list(zip(values, beside, strict=False))
    if pairs:
        figures["extra"] = statistics.median(value - other for value, other in pairs)
        if all(beside):
            figures["ratio"] = statistics.median(value / other for value, other in pairs)
    return figures


def _is_met(aim: Aim | None, figures: Mapping[str, float]) -> bool | None:
    if aim is None or aim.of not in figures:
        return None
    return figures[aim.of] <= aim.most


def _shown_aim(aim: Aim, unit: str) -> str:
    return {
        "value": f"{aim.most:g} {unit}",
        "ratio": f"{aim.most:g}x",
        "extra": f"+{aim.most:g} {unit}",
    }[aim.of]
