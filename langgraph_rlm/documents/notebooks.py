"""Notebooks: the cells of a Jupyter notebook as text, with what they printed. Runs in the worker.

Source: nbformat 3 and 4.
"""

import json
from collections.abc import Iterator
from typing import Any

from langgraph_rlm.documents.outcome import Facts, Unreadable

SHOWN = ("text/plain", "text/markdown", "text/html")
"""The first of these that an output has is its text; pictures are left out."""


def read_notebook(data: bytes, name: str) -> tuple[str, Facts]:
    """Give the text of a notebook.

    Raises:
        Unreadable: it is not one.
    """
    try:
        book: Any = json.loads(data)
        cells = book.get("cells") or [c for s in book.get("worksheets", []) for c in s["cells"]]
        texts = [
            f"[cell {number} of {name}, {cell['cell_type']}]\n{''.join(_texts(cell))}"
            for number, cell in enumerate(cells, 1)
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"broken: not a notebook ({type(error).__name__}: {error})") from error
    return "\n".join(texts), {"cells": len(texts)}


def _texts(cell: Any) -> Iterator[str]:
    yield _line(_joined(cell.get("source", cell.get("input", ""))))
    for output in cell.get("outputs", ()):
        if text := _output(output):
            yield f"[output]\n{_line(text)}"


def _output(output: Any) -> str:
    if output["output_type"] in ("error", "pyerr"):
        return f"{output.get('ename')}: {output.get('evalue')}"
    if "text" in output:
        return _joined(output["text"])
    data = output.get("data", {})
    return next((_joined(data[kind]) for kind in SHOWN if kind in data), "")


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def _line(text: str) -> str:
    """End a text with one newline; an empty one stays so."""
    return f"{text.rstrip()}\n" if text.strip() else ""
