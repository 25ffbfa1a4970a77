"""Answers: what the worker does with one file. The only module that it loads by name."""

import os
from pathlib import Path
from typing import Any, BinaryIO

from langgraph_rlm.documents.kinds import KINDS, Kind
from langgraph_rlm.documents.outcome import Parts, Unreadable

OUT = "out"
"""The file in the worker's folder that has what it read."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Read one file.

    Args:
        request: `path`, `kind` (its name), `name` (the file's own), `max_files`, `max_bytes`.

    Returns:
        `Outcome.as_dict`, or `{"unreadable": reason}`.
    """
    path = Path(request["path"])
    with open(OUT, "wb") as out:
        parts = Parts(out, request["max_files"], request["max_bytes"])
        try:
            with path.open("rb") as file:
                _read(KINDS[request["kind"]], file, request["name"], parts)
        except Unreadable as error:
            return {"unreadable": str(error)}
        except MemoryError:
            return {"unreadable": "it needs more memory than a file may have"}
    return parts.outcome().as_dict()


def _read(kind: Kind, file: BinaryIO, name: str, parts: Parts) -> None:
    """Load what reads such files, which takes longer than most files do, and let it."""
    match kind.reader:
        case "archive":
            from langgraph_rlm.documents.archives import read_archive

            read_archive(kind, file, os.fstat(file.fileno()).st_size, name, parts)
        case "mailbox":
            from langgraph_rlm.documents.mails import read_mailbox

            read_mailbox(file, parts)
        case "mail":
            from langgraph_rlm.documents.mails import read_mail

            read_mail(file.read(), parts)
        case "notebook":
            from langgraph_rlm.documents.notebooks import read_notebook

            parts.text("", *read_notebook(file.read(), name))
        case _:
            from langgraph_rlm.documents.library import read_document

            text, facts = read_document(kind, file.read(), name)
            parts.text("", text or f"[{kind.name} file {name}: no text in it]\n", facts)
