"""Grown logs: a log that knows what it has grown from, and what of it there is to count.

A log only ever gets longer. The versions of one log share a `Lineage`: their entries, in the order
in which they came. So whoever has gone through one version of a log can tell, without looking at
it again, that another one begins with it, and what is new. A log that was changed in other ways,
such as by a fork or an edit, has a lineage of its own.

To all others a grown log is a dict. It is copied, pickled and stored as a plain one.
"""

import copy
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Self

from langgraph_rlm.log.entries import (
    AnyLog,
    CompactionEntry,
    Log,
    LogEntry,
    QuestionEntry,
    TurnEntry,
)

Item = tuple[str, LogEntry]

_LOCK = threading.Lock()
"""Versions of one log may grow in several threads: forks of a thread share its lineage."""


class Lineage:
    """What the versions of one log share. The longest of them has all of it."""

    __slots__ = ("compactions", "items", "questions", "turns")

    def __init__(self, items: list[Item]) -> None:
        self.items = items
        """Places and entries, first to last."""
        self.turns: list[TurnEntry] = []
        self.questions: list[QuestionEntry] = []
        self.compactions: list[CompactionEntry] = []

    def takes(self, start: int, items: Sequence[Item]) -> bool:
        """Add items to a version of some length; False where another version has grown otherwise.

        Equal entries count as the same, so that a log that is read again stays what it was.
        """
        with _LOCK:
            there = self.items[start : start + len(items)]
            if any(then != now for then, now in zip(there, items, strict=False)):
                return False
            self.items += items[len(there) :]
            return True


class GrownLog(dict[str, LogEntry]):
    """One version of a log. Made by `merge_log` alone, and not changed afterwards."""

    __slots__ = ("compaction_count", "length", "lineage", "question_count", "turn_count")

    def __init__(self, entries: AnyLog, lineage: Lineage) -> None:
        super().__init__(entries)
        self.lineage = lineage
        self.length = 0
        """How many entries it was made with."""
        self.turn_count = self.question_count = self.compaction_count = 0

    def grown(self, new: Log) -> Self:
        """Give a version with more entries, at places that this one does not have."""
        items = [*new.items()]
        lineage = self.lineage
        if not lineage.takes(self.length, items):
            lineage = Lineage([*islice(lineage.items, self.length), *items])
            lineage.turns = self.lineage.turns[: self.turn_count]
            lineage.questions = self.lineage.questions[: self.question_count]
            lineage.compactions = self.lineage.compactions[: self.compaction_count]
        version = type(self)(self, lineage)
        version.update(new)
        version._count(self)
        return version

    def _count(self, before: "GrownLog") -> None:
        """Find out what is new of the kinds that are counted."""
        lineage = self.lineage
        self.length = len(self)
        with _LOCK:
            self.turn_count = self._counted(before.turn_count, "", lineage.turns)
            self.question_count = self._counted(before.question_count, "run.", lineage.questions)
            self.compaction_count = self._counted(
                before.compaction_count, "compaction.", lineage.compactions
            )

    def _counted(self, count: int, prefix: str, known: list[Any]) -> int:
        while (entry := self.get(f"{prefix}{count}")) is not None:
            if count == len(known):
                known.append(entry)
            count += 1
        return count

    def __copy__(self) -> Self:
        version = type(self)(self, self.lineage)
        version.length = self.length
        version.turn_count = self.turn_count
        version.question_count = self.question_count
        version.compaction_count = self.compaction_count
        return version

    def __deepcopy__(self, memo: dict[int, Any]) -> Log:
        return copy.deepcopy(dict(self), memo)

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def merge_log(log: AnyLog | None, writes: Sequence[Log]) -> Log:
    """Reduce writes into the log: later ones win. Associative over any batching, as `DeltaChannel`
    asks.

    Returns:
        A `GrownLog`, of the lineage of `log` unless an entry was replaced by another one.
    """
    base = known_log(log)
    if base is None:
        base = GrownLog({}, Lineage([])).grown(dict(log or {}))
    new, replaced = Log(), Log()
    for place, entry in (item for write in writes for item in write.items()):
        then = base.get(place)
        if then is None:
            new[place] = entry
        elif then is not entry and (place in replaced or then != entry):
            replaced[place] = entry
    if replaced:
        base = GrownLog({}, Lineage([])).grown({**base, **replaced})
    return base.grown(new) if new else base


def known_log(log: AnyLog | None) -> GrownLog | None:
    """Give a log whose growth is known; None for any other one, and for one that somebody has
    changed."""
    if isinstance(log, GrownLog) and len(log) == log.length:
        return log
    return None


class Mark(NamedTuple):
    """How far a log had grown at some time. It keeps no copy of it."""

    lineage: Lineage
    length: int


def mark_of(log: AnyLog) -> Mark | None:
    """Give the mark of a log; None where its growth is not known."""
    known = known_log(log)
    return None if known is None else Mark(known.lineage, known.length)


def begins_with(log: AnyLog, mark: Mark | None) -> bool:
    """Tell whether a log is known to have grown from the one that was marked. It costs the same at
    any length."""
    known = known_log(log)
    if known is None or mark is None:
        return False
    return known.lineage is mark.lineage and known.length >= mark.length


def new_since(log: AnyLog, mark: Mark) -> Iterator[Item]:
    """Give what a log has that the marked one, with which it begins, did not have; in the order
    in which it came."""
    return iter(mark.lineage.items[mark.length : len(log)])
