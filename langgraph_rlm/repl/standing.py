"""Standing: how much of its log an interpreter has gone through, and what follows from that.

Plain data: a snapshot keeps it beside the interpreter's heap. Runs nothing.
"""

import json
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field, replace

from pydantic import TypeAdapter

from langgraph_rlm.lazy import per_process
from langgraph_rlm.log.entries import ROLLED_BACK, Log, LogEntry
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

    def stands_in(self, log: Mapping[str, LogEntry]) -> bool:
        """Tell whether `log` has everything that the interpreter has gone through.

        It does not after a fork, an edit, or another question in the middle of a cell.
        """
        if self.open is not None and self.open.place in log:
            return False
        for place, entry in self.applied.items():
            then = log.get(place)
            if then is not entry and then != entry:
                return False
        return True

    def as_json(self) -> str:
        """Write all but the entries, which are in the log."""
        return json.dumps(asdict(replace(self, applied={})), default=sorted)


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
