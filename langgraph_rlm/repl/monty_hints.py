"""Monty's errors as a model sees them, each with a hint that fits it."""

import builtins
import re

import pydantic_monty as monty

from langgraph_rlm.repl import stand_ins
from langgraph_rlm.repl.base import CellError
from langgraph_rlm.repl.monty_cells import USEFUL_MODULES, name_way
from langgraph_rlm.repl.monty_syntax import DECORATED, LACKS
from langgraph_rlm.repl.ways_around import NO_FILES, way_around

HINTS = {
    "name 'context": "There is no such input, or it is too large to be loaded: "
    "then context_info(), grep and peek read it.",
    "name 'history": "It is too large to be loaded: work from what you kept in variables.",
    "cannot suspend in this synchronous context": "Call it in a comprehension or a for loop, "
    "or use the batched form: map(), sorted(key=...) and the like cannot wait for it.",
    "callable replacement is not yet supported": "Build the text in a loop: for m in "
    "re.finditer(...), append text[last:m.start()] and your replacement, last = m.end().",
    "object is not an iterator": "A generator expression is a list here: next(iter(x), default) "
    "gives its first item.",
    "cannot create 'property' instances": DECORATED.instead,
    "exceptions can only be called with": "This interpreter makes exceptions of one text alone, "
    "and ends the cell otherwise: write ValueError(str(x)).",
    "has no len()": "len() does not ask objects of your own: give the class a method, size().",
    "not supported between instances": "< and > do not ask objects of your own: "
    "compare their values, and give sorted() a key=.",
    "Permission denied": NO_FILES,
    "is not supported in this environment": "Leave it out: sleeping takes no time.",
    "bytes exceeds the maximum of": "Hand over smaller pieces.",
}
"""What is added to a traceback for the model, by a part of the error's message."""

NAMES = {
    "globals": "SHOW_VARS() shows what there is.",
    "vars": "SHOW_VARS() shows what there is.",
    "dir": "SHOW_VARS() shows what there is.",
    "callable": "Call it in try and except TypeError.",
    "issubclass": "Compare with `is`.",
    "super": "Classes have no bases here.",
    "input": "Nobody types: ask llm_query, or answer with FINAL.",
    "exit": "The cell ends at its last line; FINAL ends the run.",
    "quit": "The cell ends at its last line; FINAL ends the run.",
    "bytearray": "Use a list, or bytes.",
}
"""The way around a built-in name that Monty lacks."""

KINDS = tuple(map(stand_ins.file_of, stand_ins.MODULES))
"""What Monty calls stand-ins, each an object of a class of its own."""

UNDEFINED = re.compile(r"^name '(\w+)' is not defined")
NO_MODULE = re.compile(r"^No module named '([\w.]+)'")
NO_NAME = re.compile(
    r"^(?:cannot import name '(?P<name>\w+)' from|module '\w+' has no attribute '(?P<of>\w+)'|"
    rf"'(?:{'|'.join(KINDS)})' object has no attribute '(?P<of_stand_in>\w+)')"
)


def hint(message: str) -> str | None:
    """Give the hint for an error; None where there is none."""
    if found := NO_MODULE.search(message):
        if found[1] in stand_ins.MODULES:
            return "Import it in the cell itself, not in text that runs as code."
        modules = ", ".join(USEFUL_MODULES)
        return f"{way_around(found[1])} The modules that there are: {modules}."
    if found := NO_NAME.search(message):
        return name_way(found["name"] or found["of"] or found["of_stand_in"])
    if (found := UNDEFINED.search(message)) and hasattr(builtins, found[1]):
        return NAMES.get(found[1], "This interpreter does not have it.")
    for sign, text in HINTS.items():
        if sign in message:
            return text
    for lack in LACKS:
        if lack.sign in message and "support" in message:
            return lack.instead
    return None


def bare_error(kind: str, message: str) -> CellError:
    """Make an error that has no frames to show."""
    return CellError(kind, message, f"{kind}: {message}")


def cell_error(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> CellError:
    """Make an error of what Monty raised."""
    kind, _, message = error.display("type-msg").partition(": ")
    lines = [error.display("traceback"), hint(message)]
    return CellError(kind, message, "\n".join(filter(None, lines)))


def never_ran(error: monty.MontySyntaxError | monty.MontyRuntimeError) -> bool:
    """Tell whether Monty refused a cell as it read it: then its one frame is of no function."""
    frames = error.traceback()
    return len(frames) == 1 and frames[0].function_name is None
