"""Values: what crosses between the local worker and its parent, and how errors are described.

The worker loads this file by its path: it imports the standard library alone.
"""

import builtins
import linecache
import mmap
import os
import re
import traceback
import types
from collections.abc import Mapping
from typing import Any, cast

DEEPEST_VALUE = 100
"""Levels of lists and dicts that cross; what is deeper crosses as text."""
LARGEST_INT_BITS = 10_000
"""A larger int crosses as hexadecimal text, because JSON readers refuse longer decimals."""
ADDRESS = re.compile(r" at 0x[0-9a-f]+")
CELL_FILE = "<python-input-"
PRINTED_TOO_MUCH = "this cell printed more than {} characters: print less, or slices"


def source_of(called: types.FrameType | None) -> str:
    """Give the text of a call that a cell made; empty if other code made it."""
    frame = called and called.f_back
    if frame is None or not frame.f_code.co_filename.startswith(CELL_FILE):
        return ""
    line, last, column, end = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    lines = linecache.getlines(frame.f_code.co_filename)[(line or 1) - 1 : last]
    if not lines or column is None or end is None:
        return ""
    found = [text.encode("utf-8", "replace") for text in lines]
    found[-1] = found[-1][:end]
    found[0] = found[0][column:]
    return b"".join(found).decode("utf-8", "replace")


def value_of(answer: Mapping[str, Any]) -> Any:
    """Give the value of the host's answer, or raise its exception."""
    if "raise" in answer:
        raise getattr(builtins, answer["raise"])(answer["message"])
    return text_in(answer["text_in"]) if "text_in" in answer else answer["value"]


def text_in(path: str) -> str:
    """Read a text of the host's: from the file as it lies in memory, so that there is one copy.

    Raises:
        MemoryError: there is no room for it.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        data = mmap.mmap(number, 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise MemoryError(f"no room for a text of the host's: {error}") from None
    finally:
        os.close(number)
    with data:
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:  # half characters, which no code gets
            return str(data, "utf-8", "surrogatepass").encode("utf-8", "replace").decode()


def plain(value: Any, depth: int = 0) -> Any:
    """Make JSON of a guest's value: tuples and (sorted) sets become lists, other objects text."""
    if value is None or isinstance(value, (bool, float, str)):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= LARGEST_INT_BITS else hex(value)
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        as_python = value.tolist()
        return text_of(value) if type(as_python) is type(value) else plain(as_python, depth)
    if depth >= DEEPEST_VALUE:
        return text_of(value)
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in cast(list[Any], value)]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item, depth + 1) for item in cast(set[Any], value)), key=str)
    if isinstance(value, dict):
        items = cast(dict[Any, Any], value).items()
        pairs = ((key if isinstance(key, str) else text_of(key), item) for key, item in items)
        return {key: plain(item, depth + 1) for key, item in pairs}
    return text_of(value)


def text_of(value: Any) -> str:
    """Give `str(value)` without addresses, which differ from run to run; never raises."""
    try:
        return ADDRESS.sub("", str(value))
    except Exception:  # noqa: BLE001 - model code may define any `__str__`
        return f"<{type(value).__name__}>"


def described(error: BaseException, hint: str = "") -> dict[str, str]:
    """Describe an exception for the model: the cell's own frames, nothing of this file or host.

    Args:
        error: what ended the cell.
        hint: a sentence that says more than the exception does.
    """
    kind, message = type(error).__name__, text_of(error)
    try:
        report = traceback.TracebackException.from_exception(error, compact=True)
        keep_cell_frames(report)
        text = "".join(report.format()).rstrip("\n")
    except Exception:  # noqa: BLE001 - out of memory, or an exception that cannot be printed
        text = f"{kind}: {message}"
    if hint:
        message, text = f"{message} ({hint})", f"{text} ({hint})"
    return {"type": kind, "message": message, "traceback": text}


def keep_cell_frames(report: traceback.TracebackException) -> None:
    """Drop the frames of other files, in the causes too."""
    frames = [frame for frame in report.stack if frame.filename.startswith(CELL_FILE)]
    report.stack = traceback.StackSummary.from_list(frames)
    grouped = getattr(report, "exceptions", None) or ()
    for inner in filter(None, (report.__cause__, report.__context__, *grouped)):
        keep_cell_frames(inner)
