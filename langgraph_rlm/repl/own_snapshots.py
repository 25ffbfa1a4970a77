"""Own snapshots: when an interpreter writes itself down, and what a rebuild of it takes.

After long computing its log names the snapshot. One that is dropped for want of room leaves one
that only this process knows of.
"""

import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from langgraph_rlm.log.entries import CallEntry, CellEntry, Log, LogEntry
from langgraph_rlm.log.positions import position_of
from langgraph_rlm.repl.base import Measured, SandboxCrashed, Session
from langgraph_rlm.repl.snapshots import Snapshots
from langgraph_rlm.repl.standing import Standing

LOG = logging.getLogger("langgraph_rlm.repl")

BYTES_A_SECOND = 50 << 20
"""How fast an interpreter is written down and loaded again, about."""

LEAST_SECONDS = 0.005
"""What that takes for the smallest one."""


class Parked(NamedTuple):
    """A snapshot that no log names."""

    place: str
    """Of the last entry that the interpreter had gone through."""
    digest: str


class OwnSnapshots:
    """The snapshots of one interpreter, and how long its code has run since the last one."""

    def __init__(
        self, session: Session, snapshots: Snapshots, standing: Standing, show: Callable[[], None]
    ) -> None:
        """Take an interpreter.

        Args:
            session: its session.
            snapshots: stores what it writes down.
            standing: where it stands; kept up to date by its owner.
            show: notes in it what stands in `out/`.
        """
        self._session = session
        self._snapshots = snapshots
        self._standing = standing
        self._show = show
        self._log: Mapping[str, LogEntry] = {}
        self._new: Log = {}
        self.unsaved_seconds = 0.0
        """How long code has run since the last snapshot."""
        self.replayed_seconds = 0.0
        """How long cells took that were run again."""

    def own_bytes(self) -> int | None:
        """Give the memory of the session's own; None where its sandbox does not tell."""
        return self._session.own_bytes() if isinstance(self._session, Measured) else None

    def begin(self, log: Mapping[str, LogEntry], new: Log) -> None:
        """Note the log that it is about to go through, and where new entries will stand."""
        self._log, self._new = log, new

    def ran(self, seconds: float, *, is_replay: bool) -> None:
        """Count what code has run."""
        self._snapshots.seconds += seconds
        self.unsaved_seconds += seconds
        if is_replay:
            self.replayed_seconds += seconds

    def keep(self, place: str, entry: CallEntry | CellEntry) -> None:
        """Write it down behind a new entry, if code ran for long before it."""
        if not self._snapshots.is_due:
            return
        digest = self._written(place)
        if digest is not None:
            entry["snapshot"] = digest
            self.unsaved_seconds = 0.0

    def park(self) -> Parked | None:
        """Write it down where it stands, before it is closed; None where that is not worth it, or
        cannot be done."""
        size = self.own_bytes()
        if not self._snapshots.format or size is None:
            return None
        if self.unsaved_seconds < LEAST_SECONDS + size / BYTES_A_SECOND:
            return None
        place = self._place()
        if place is None:
            return None
        try:
            digest = self._written(place)
        except SandboxCrashed as error:
            LOG.info("No snapshot of %s: the worker is gone: %s", place, error)
            return None
        return None if digest is None else Parked(place, digest)

    def _place(self) -> str | None:
        """Give the place of the last entry that it has gone through."""
        if self._standing.open is not None:
            return self._standing.open.waiting
        entries = self._standing.applied.items()
        cells = [place for place, entry in entries if entry["kind"] == "cell"]
        return max(cells, key=position_of, default=None)

    def _written(self, place: str) -> str | None:
        self._show()
        known = {**self._log, **self._new}
        return self._snapshots.keep(self._session, known, place, self._standing)
