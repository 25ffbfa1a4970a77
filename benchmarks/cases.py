"""Cases: what a scenario is made of. Never runs anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness import BEFORE, Sample, Work
from worker import PEERS

Read = Callable[[Sample], float]


@dataclass(frozen=True)
class Aim:
    """The most that one side may take, and what that is compared with."""

    most: float
    of: Literal["value", "ratio", "extra"]
    """The value itself, its ratio to the reference side's, or its difference from that."""
    side: str = "package"


@dataclass(frozen=True)
class Measure:
    """One number of a run."""

    name: str
    unit: str
    read: Read
    aims: tuple[Aim, ...] = ()


@dataclass(frozen=True)
class Case:
    """One thing to run on several sides, alternately."""

    name: str
    sides: tuple[str, ...]
    work: Work
    measures: tuple[Measure, ...]
    runs: int = 1
    """How often each side runs in one repetition: more where a small difference is looked for."""
    reference: str = "plain"
    """The side that others are compared with; on the same transport where it has that too."""

    def reference_of(self, side: str) -> str:
        """Give the side that a side is compared with, which need not be among those that ran."""
        transport = {"string": "aiohttp"}.get(side.partition("+")[2], side.partition("+")[2])
        same = f"{self.reference}+{transport}"
        return same if same in self.sides else self.reference


def is_ours(side: str) -> bool:
    """Tell whether a side runs the package, rather than a reference or a peer."""
    way = side.removeprefix(BEFORE).partition("+")[0]
    return way in ("package", "memory", "sqlite", "postgres")


def expanded(
    sides: tuple[str, ...], *, has_before: bool, peers: tuple[str, ...]
) -> tuple[str, ...]:
    """Put the package of another checkout ahead of this one's, and leave out absent peers."""
    found: list[str] = []
    for side in sides:
        if has_before and is_ours(side):
            found.append(BEFORE + side)
        if side not in PEERS or side in peers:
            found.append(side)
    return tuple(found)


def figure(name: str, per: float = 1.0) -> Read:
    """Give the reader of one of a task's figures."""
    return lambda sample: sample["report"]["figures"][name] / per
