"""Files: what code gave back through `out/`, by the log. Reads no bytes."""

from collections.abc import Iterator, Mapping

from langgraph_rlm.log.entries import ROLLED_BACK, CellEntry, LogEntry
from langgraph_rlm.log.positions import position_of
from langgraph_rlm.storage.out_files import OutFile

FileChanges = Mapping[str, OutFile | None]
"""Files by name; None for one that is gone."""


def after_changes(files: Mapping[str, OutFile], changes: FileChanges) -> dict[str, OutFile]:
    """Give what stands in `out/` after a cell has changed it."""
    found = {**files, **changes}
    return {name: file for name, file in found.items() if file is not None}


def files_in(log: Mapping[str, LogEntry]) -> dict[str, OutFile]:
    """Give what stands in `out/` at the end of a log."""
    files: dict[str, OutFile] = {}
    for _, cell in sorted(_writing_cells(log), key=lambda each: position_of(each[0])):
        files = after_changes(files, cell.get("files", {}))
    return files


def bytes_kept(log: Mapping[str, LogEntry], first_turn: int) -> int:
    """Count the bytes that were kept of files, each version for itself, from a turn on."""
    found = [cell for place, cell in _writing_cells(log) if position_of(place)[0] >= first_turn]
    changes = [file for cell in found for file in cell.get("files", {}).values()]
    return sum(file["size"] for file in changes if file is not None)


def _writing_cells(log: Mapping[str, LogEntry]) -> Iterator[tuple[str, CellEntry]]:
    for place, entry in log.items():
        if entry["kind"] == "cell" and "files" in entry and entry["outcome"] not in ROLLED_BACK:
            yield place, entry
