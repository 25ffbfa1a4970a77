"""Trace index: the records of a trace by what they belong to, and the place that a user names.

A place in a child RLM is written after the place that the child answers: `0.1/0/3:2.0`.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

from langgraph_rlm.budget.usage import Usage, add_usage, spent, whole
from langgraph_rlm.cli.suggestions import did_you_mean
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.hosting.pauses import WITHIN

if TYPE_CHECKING:
    from langgraph_rlm.trace.reading import Trace
    from langgraph_rlm.trace.records import (
        CallRecord,
        CellRecord,
        QuestionRecord,
        ReplyRecord,
        RLMRecord,
        Shown,
        TurnRecord,
    )

SHOWN_PLACES = 12
"""Most places that an error names."""


class TraceIndex:
    """One trace."""

    def __init__(self, trace: "Trace") -> None:
        self.trace = trace
        self.head = trace.head
        self.rlms: dict[str, RLMRecord] = {}
        self.turns = defaultdict[str, "list[TurnRecord]"](list)
        """By RLM, in order."""
        self.questions = defaultdict[str, "list[QuestionRecord]"](list)
        self.calls = defaultdict[tuple[str, str], "list[CallRecord]"](list)
        """By RLM and the cell or turn that made them."""
        self.replies = defaultdict[tuple[str, str], "list[ReplyRecord]"](list)
        """By RLM and the place of their call."""
        self.at: dict[tuple[str, str], Any] = {}
        """Any record of a log, by RLM and place."""
        self.coverage: list[Any] = []
        for record in trace.records:
            self._add(record)

    def _add(self, record: Any) -> None:
        kind = record["type"]
        if kind == "rlm":
            self.rlms[record["rlm"]] = record
        elif kind == "coverage":
            self.coverage.append(record)
        elif kind == "turn":
            self.turns[record["rlm"]].append(record)
        elif kind == "question":
            self.questions[record["rlm"]].append(record)
        elif kind == "call":
            asker = record.get("cell") or str(record["turn"])
            self.calls[record["rlm"], asker].append(record)
        elif kind == "reply":
            self.replies[record["rlm"], record["call"]].append(record)
        if "place" in record and kind != "pause":
            self.at[record["rlm"], record["place"]] = record

    @property
    def root(self) -> str:
        """The id of the root RLM."""
        return self.head["root"]

    def cell(self, rlm: str, place: str) -> "CellRecord":
        """Give the record of a cell."""
        return self.at[rlm, place]

    def text(self, shown: "Shown | None") -> str:
        """Give a text in full; what is left of it where the store does not have it any more."""
        if shown is None or isinstance(shown, str):
            return shown or ""
        if shown.get("missing"):
            return f"{shown['start']}... ({shown['chars']:,} characters, no longer in the store)"
        return self.trace.text(shown["ref"])

    def find(self, path: str) -> tuple[str, str]:
        """Find the RLM and the place that a path names; the place is empty for an RLM itself.

        Raises:
            ConfigurationError: there is nothing; the message has the places that there are.
        """
        rlm = self.root
        *children, place = path.split(WITHIN)
        for child in children:
            reply = self.at.get((rlm, child))
            inner: str | None = None if reply is None else reply.get("child")
            if inner is None or inner not in self.rlms:
                raise self._nothing(rlm, child, path, "child RLM")
            rlm = inner
        if place and (rlm, place) not in self.at:
            raise self._nothing(rlm, place, path, "entry")
        return rlm, place

    def _nothing(self, rlm: str, place: str, path: str, kind: str) -> ConfigurationError:
        known = [each for id, each in self.at if id == rlm]
        if kind == "child RLM":
            known = [each for each in known if self.at[rlm, each].get("child")]
        shown = ", ".join(known[:SHOWN_PLACES]) or "nothing"
        more = ", ..." if len(known) > SHOWN_PLACES else ""
        return ConfigurationError(
            f"There is no {kind} at {place!r} of {path!r} in thread {self.head['thread']!r}. "
            f"There are {shown}{more}.{did_you_mean(place, known)}"
        )

    def spent_by_question(self) -> Sequence[Usage]:
        """Give what each question of the root has spent, its children included.

        Threads of earlier versions say so of the newest question alone.
        """
        shares: dict[int, list[Usage]] = defaultdict(list)
        question_of = {turn["number"]: turn["question"] for turn in self.turns[self.root]}
        for record in self.trace.records:
            share = record.get("usage") if record["type"] in ("turn", "reply", "summary") else None
            if share is None or record.get("rlm") != self.root:
                continue
            turn: Any = record.get("number") if record["type"] == "turn" else self._turn_of(record)
            shares[question_of.get(turn, 0)].append(whole(share))  # type: ignore[arg-type]
        count = len(self.questions[self.root])
        found = [reduce(add_usage, shares[number], spent()) for number in range(count)]
        newest = self.head.get("usage")
        if newest is not None and found:
            found[-1] = newest
        return found

    def _turn_of(self, record: Any) -> int:
        if record["type"] == "summary":
            return record["turn"] - 1
        return self.at[record["rlm"], record["call"]]["turn"]
