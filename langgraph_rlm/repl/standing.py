"""Standing: how much of its log an interpreter has gone through, and what follows from that.

Plain data: a snapshot keeps it beside the interpreter's heap. Runs nothing.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace

from pydantic import TypeAdapter

from langgraph_rlm.lazy import per_process
from langgraph_rlm.log.entries import ROLLED_BACK, AnyLog, Log, LogEntry
from langgraph_rlm.log.grown import Mark, begins_with, mark_of
from langgraph_rlm.log.places import cell_at, cell_of
from langgraph_rlm.repl.host import OpenCell
from langgraph_rlm.storage.out_files import OutFile


@dataclass
class Standing:
    """Where one interpreter stands."""

    applied: Log = field(default_factory=dict[str, LogEntry])
    """The entries that it has gone through."""
    turn: int = 0
    questions: int = 0
    """How many questions it has come to."""
    open: OpenCell | None = None
    """The cell in which it waits for a call."""
    names: set[str] = field(default_factory=set[str])
    """What cells have assigned to."""
    restore: frozenset[str] = frozenset()
    """Names of the host to bind anew before the next cell."""
    hidden: frozenset[str] = frozenset()
    """Names of the host that were hidden without an assignment."""
    watches_answer: bool = False
    """Whether a cell has spoken of `answer`."""
    withdraw: bool = False
    """Whether the answer of the last turn was refused."""
    out: dict[str, OutFile] = field(default_factory=dict[str, OutFile])
    """Of a snapshot: what stood in `out/` when it was taken."""

    def as_json(self) -> str:
        """Write all but the entries, which are in the log."""
        return json.dumps(asdict(replace(self, applied={})), default=sorted)


class LastLog:
    """The log that an interpreter has gone through last, and what came of it."""

    def __init__(self, standing: Standing) -> None:
        """Take where the interpreter stands; kept up to date by its owner."""
        self._standing = standing
        self._mark: Mark | None = None
        self._new: Log = {}

    def note(self, log: AnyLog, new: Log) -> None:
        """Note the log that it is about to go through, and where new entries will stand."""
        self._mark, self._new = mark_of(log), new

    def stands_in(self, log: AnyLog) -> bool:
        """Tell whether a log has everything that the interpreter has gone through.

        It does not after a fork, an edit, or another question in the middle of a cell. It mostly
        has grown from the last one: then only what came of that is looked at.
        """
        open_cell = self._standing.open
        if open_cell is not None and open_cell.place in log:
            return False
        in_doubt = self._new if begins_with(log, self._mark) else self._standing.applied
        return all(_is_same(log.get(place), entry) for place, entry in in_doubt.items())


def _is_same(then: LogEntry | None, now: LogEntry) -> bool:
    return then is now or then == now


def standing_of(text: str, applied: Log) -> Standing:
    """Read what `Standing.as_json` wrote.

    Args:
        text: the JSON.
        applied: the entries that the interpreter had gone through.

    Raises:
        ValueError: it is of another version.
    """
    standing = _adapter().validate_json(text)
    standing.applied = applied
    return standing


@per_process
def _adapter() -> TypeAdapter[Standing]:
    """Give the reader of standings, which takes a moment to make."""
    return TypeAdapter(Standing)


def cells_left(log: Mapping[str, LogEntry], applied: Container[str]) -> int:
    """Count the cells that a log has something of, and that are still to be run again."""
    begun = {cell_of(place) for place, entry in log.items() if entry["kind"] in ("call", "cell")}
    ends = {place: cell_at(log, place) for place in begun if "." in place and place not in applied}
    return sum(1 for end in ends.values() if end is None or end["outcome"] not in ROLLED_BACK)
