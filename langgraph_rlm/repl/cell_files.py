"""Cell files: what an interpreter's cells write into `out/`, where there is such a folder.

There is one where the sandbox has it, the RLM is a root, and the turn is of rules that know it.
"""

from collections.abc import Mapping

from langgraph_rlm.log.entries import CellEntry
from langgraph_rlm.log.files import bytes_kept, files_in
from langgraph_rlm.repl.advance import Advance
from langgraph_rlm.repl.base import Session, Writing
from langgraph_rlm.repl.host import Host, OpenCell
from langgraph_rlm.repl.out_folder import OutFolder
from langgraph_rlm.repl.standing import Standing
from langgraph_rlm.storage.context import Facts
from langgraph_rlm.storage.references import OUT

SINCE = 4
"""The first rules of turns in whose cells there is `out/`. Code of older turns does not see it."""


class CellFiles:
    """The files of one interpreter's cells."""

    def __init__(self, session: Session, host: Host, standing: Standing) -> None:
        self._standing = standing
        self._limit = host.limits.max_out_bytes
        self._folder: OutFolder | None = None
        self._is_begun = False
        if host.gives_files and isinstance(session, Writing):
            self._folder = OutFolder(session, host.blobs)
        self.first_turn = 0
        """Of the question that the interpreter has come to."""

    def fill(self) -> None:
        """Put what stood in `out/` back, after a snapshot. Raises `BlobError`."""
        if self._folder is not None and self._standing.out:
            self._folder.fill(self._standing.out, files_in(self._standing.applied))

    def begin(self, cell: OpenCell) -> None:
        """Have `out/` there for a cell."""
        if self._folder is not None and cell.rules >= SINCE:
            self._folder.begin()
            self._is_begun = True

    def noted(self, cell: OpenCell, entry: CellEntry) -> CellEntry:
        """Give the entry of a cell that has ended, with what it has written."""
        if self._folder is None or cell.rules < SINCE:
            return entry
        if not self._is_begun:  # the cell was begun by the session of a snapshot
            self.begin(cell)
        return self._folder.noted(entry, self._room)

    def keep(self, entry: CellEntry) -> None:
        """Take up the entry of a new cell."""
        if self._folder is not None:
            self._folder.accept(entry)

    def settle(self, place: str, then: CellEntry, now: CellEntry, done: Advance) -> None:
        """Have the files of a cell that was run again as its log has them; note which differ."""
        if self._folder is None:
            return
        if differing := self._folder.settle(place, then, now):
            done.differing[place] = differing

    def show(self) -> None:
        """Note what stands in `out/`, for a snapshot."""
        if self._folder is not None and self._is_begun:
            self._standing.out = self._folder.stands(self._room)

    def made(self) -> Mapping[str, Facts]:
        """Tell of the files that earlier cells have written into `out/`, and of what tools gave
        for models to see, by their names."""
        log = self._standing.applied
        found: dict[str, Facts] = {
            f"{OUT}{name}": {"original": file["digest"], "bytes": file["size"]}
            for name, file in files_in(log).items()
        }
        for entry in log.values():
            if entry["kind"] == "reply":
                found |= entry.get("media", {})
        return found

    def _room(self) -> int:
        """Count the bytes that the code of this question may still give back."""
        return self._limit - bytes_kept(self._standing.applied, self.first_turn)
