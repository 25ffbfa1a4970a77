"""Finals: the answer that a cell gave, by FINAL, FINAL_VAR or `answer`. Runs nothing itself."""

from collections.abc import Callable

from langgraph_rlm.log.text import answer_text
from langgraph_rlm.repl.base import CellError, Finished
from langgraph_rlm.repl.host import OpenCell
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.json_types import is_dict

Variable = Callable[[str], Finished]
"""Asks the interpreter for the value of a name."""


def resolved(
    cell: OpenCell, variable: Variable, blobs: BlobStore
) -> tuple[Text | None, CellError | None]:
    """Give the value of FINAL, or of the variable that FINAL_VAR names; else an error."""
    name = cell.final_name
    if name is None:
        return blobs.put_text(answer_text(cell.final, cell.rules)), None
    found = variable(name)
    if found.error is None:
        return blobs.put_text(answer_text(found.value, cell.rules)), None
    if _is_too_large(found, cell):
        return None, found.error
    message = (
        f"FINAL_VAR: there is no variable {name!r}. "
        "Bind it first, or give the value itself to FINAL."
    )
    return None, CellError("NameError", message, f"NameError: {message}")


def answer_variable(
    cell: OpenCell, variable: Variable, blobs: BlobStore
) -> tuple[Text | None, CellError | None]:
    """Give `answer["content"]` once `answer["ready"]` is true; or why it cannot be had."""
    found = variable("answer")
    if _is_too_large(found, cell):
        return None, found.error
    if not is_dict(found.value) or not found.value.get("ready"):
        return None, None
    return blobs.put_text(answer_text(found.value.get("content", ""), cell.rules)), None


def _is_too_large(found: Finished, cell: OpenCell) -> bool:
    """Tell whether there is a variable that the sandbox cannot hand over."""
    return found.error is not None and found.error.type != "NameError" and cell.rules > 1
