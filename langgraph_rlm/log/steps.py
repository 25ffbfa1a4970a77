"""Steps: which cells of a turn still run, and whether its answer in prose may stand. Runs nothing.

A cell does not run behind one that did not end well. A final answer in prose counts only when its
model has seen all that its cells printed, which it has not in the same turn.
"""

from collections.abc import Iterator, Sequence

from langgraph_rlm.log.entries import CellEntry
from langgraph_rlm.log.places import AnyLog, cell_at, cell_place, cells_of
from langgraph_rlm.log.reply import Reply
from langgraph_rlm.storage.blobs import BlobStore


def open_steps(log: AnyLog, number: int, reply: Reply, blobs: BlobStore) -> Iterator[int]:
    """Give the steps of a turn that have no end in the log and would still run.

    Args:
        log: of the RLM. It may grow while the steps are taken one by one.
        number: of the turn.
        reply: that of the turn.
        blobs: has the long outputs.
    """
    for index in range(len(reply.steps)):
        if cell_at(log, cell_place(number, index)) is not None:
            continue
        before = cells_of(log, number, index)
        if not all_are_well(before):
            return
        if index < len(reply.cells) or not any_shows(before, blobs):
            yield index


def has_answer_in_prose(log: AnyLog, number: int, reply: Reply, blobs: BlobStore) -> bool:
    """Whether the final value that a turn gives in prose is its answer, its cells having ended."""
    if reply.final is None or reply.final.kind != "value":
        return False
    cells = cells_of(log, number, len(reply.cells))
    return all_are_well(cells) and not any_shows(cells, blobs)


def all_are_well(cells: Sequence[CellEntry | None]) -> bool:
    """Whether cells have all ended, and ended well."""
    return all(cell is not None and cell["outcome"] == "ok" for cell in cells)


def any_shows(cells: Sequence[CellEntry | None], blobs: BlobStore) -> bool:
    """Whether any of the cells that ended has an output that a model would want to see."""
    ended = [cell for cell in cells if cell is not None]
    return any(
        cell["value"] is not None or blobs.get_text(cell["stdout"]).strip() for cell in ended
    )
