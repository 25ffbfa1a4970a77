"""Guest: source that runs beside the model's cells, and the `history` that they read."""

from collections.abc import Mapping
from typing import Any

from langgraph_rlm.log.entries import LogEntry
from langgraph_rlm.log.places import cells_of, turn_at
from langgraph_rlm.log.reply import reply_of, text_of_reply
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import encodable

WITHDRAW = "if isinstance(answer, dict):\n    answer['ready'] = False"
"""Run before the turn that follows a refused answer: its content stays, to be repaired."""

SHOW_FOUND = """\
    _shown = {}
    for _name in _found:
        _value = _found[_name]
        _type = type(_value).__name__
        _sized = _type in ('str', 'bytes', 'list', 'tuple', 'dict', 'set')
        _shown[_name] = _type + ' of length ' + str(len(_value)) if _sized else _type
    return _shown"""


def show_vars_source(names: set[str]) -> str:
    """Write the source of SHOW_VARS for the names that cells have bound.

    It names each of them, so that an interpreter without `globals()` can run it.
    """
    lines = ["def SHOW_VARS():", "    _found = {}"]
    for name in sorted(names):
        lines += [
            "    try:",
            f"        _found[{name!r}] = {name}",
            "    except NameError:",
            "        pass",
        ]
    return "\n".join([*lines, SHOW_FOUND])


def history(log: Mapping[str, LogEntry], turn: int, blobs: BlobStore) -> list[dict[str, Any]]:
    """Give what code sees of the turns before `turn`.

    Returns:
        For each turn its number, the model's reply, and what its cells printed or raised.
    """
    return [_shown(log, number, blobs) for number in range(turn)]


def _shown(log: Mapping[str, LogEntry], turn: int, blobs: BlobStore) -> dict[str, Any]:
    entry = turn_at(log, turn)
    cells = cells_of(log, turn, len(reply_of(entry, blobs).steps))
    output = [
        blobs.get_text(text)
        for cell in cells
        if cell is not None
        for text in (cell["stdout"], cell["error"])
        if text is not None
    ]
    reply = encodable(text_of_reply(entry, blobs))
    return {"turn": turn, "reply": reply, "output": encodable("".join(output))}
