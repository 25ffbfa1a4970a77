"""A row: one hostile program for Monty, and what stops it."""

from dataclasses import dataclass
from typing import Literal

Stop = Literal[
    "refused",
    "not there",
    "no system",
    "memory",
    "time",
    "output",
    "depth",
    "value",
    "count",
    "raises",
    "itself",
]

NAMES = {"NameError", "AttributeError", "ImportError", "ModuleNotFoundError", "TypeError"}

ERRORS: dict[Stop, set[str]] = {
    "refused": {"ModuleNotFoundError", "NotImplementedError"},
    "not there": {*NAMES, "NotImplementedError", "SyntaxError", "KeyError", "UnicodeEncodeError"},
    "no system": {"PermissionError", "OSError", "FileNotFoundError", "RuntimeError"},
    "memory": {"MemoryError"},
    "time": {"MemoryError"},
    "output": {"MemoryError"},
    "depth": {"RecursionError"},
    "value": {
        *("ValueError", "OverflowError", "IndexError", "decimal.Overflow", "_csv.Error"),
        *("re.PatternError", "json.JSONDecodeError"),
    },
}
"""How the cell of a program may end that was stopped so. `raises` takes any error."""

ENDS_WORKER = frozenset[Stop]({"memory", "time", "output", "count"})
"""Stops that may end the worker too."""

Table = dict[str, dict[Stop, dict[str, str]]]
"""Programs by kind, by what stops them, and by name."""


@dataclass(frozen=True)
class Row:
    """One program."""

    kind: str
    name: str
    program: str
    stop: Stop
    """What stops it. `refused`: nothing of it runs, since the interpreter lacks what it names.
    `not there`: what it walks along or calls is not in the interpreter. `no system`: the operating
    system is not there. `memory`, `output`, `depth`: the limits of the interpreter. `time`: the
    host, when the cell's time is up. `count`: the host, which counts calls. `value`: the
    interpreter does not take such values. `raises`: nothing: it ends its own cell. `itself`:
    nothing: it runs, and reaches nothing but what is its own."""

    @property
    def id(self) -> str:
        """The name in pytest's list."""
        return f"{self.kind}: {self.name}"
