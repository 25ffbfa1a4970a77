"""Advance: how far an interpreter came through its log, or which cell it lost. Runs nothing."""

from dataclasses import dataclass, field

from langgraph_rlm.log.entries import CellOutcome, Log, LogEntry
from langgraph_rlm.storage.blobs import Text


class CellLost(Exception):
    """A cell was cut off: its session is gone and nothing that it bound is kept."""

    def __init__(self, place: str, outcome: CellOutcome, *, logged: bool) -> None:
        super().__init__(place)
        self.place = place
        self.outcome: CellOutcome = outcome
        self.logged = logged
        """Whether the log has the end of this cell."""


@dataclass
class Advance:
    """How far the loop came: what is new, and the call that it waits for or the answer it found."""

    entries: Log = field(default_factory=dict[str, LogEntry])
    suspended: str | None = None
    """The place of the call whose answers are not all in the log."""
    final: Text | None = None
    differing: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Names of files that a cell, run again, wrote otherwise than its log says, by its place."""
