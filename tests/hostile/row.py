"""A row: one hostile program, and what must stop it."""

from dataclasses import dataclass
from typing import Literal

Stop = Literal[
    "Landlock",
    "filter",
    "filter kills",
    "limit",
    "no capability",
    "nothing there",
    "count",
    "deadline",
    "check",
    "own process",
    "cell",
]

REFUSALS: dict[Stop, frozenset[str]] = {
    "Landlock": frozenset({"EACCES", "EXDEV"}),
    "filter": frozenset({"EPERM", "ENOSYS", "ENOTTY", "ENOTSUP"}),
    "limit": frozenset(
        {
            "EMFILE",
            "EFBIG",
            "ENOMEM",
            "EAGAIN",
            "MemoryError",
            "RuntimeError",
            "RecursionError",
            "BlockingIOError",
            "ValueError",
        }
    ),
    "no capability": frozenset({"EPERM", "EACCES"}),
}
"""How a program may end that was stopped so: an error number or the name of an exception."""
ENDS_PROCESS = frozenset[Stop]({"filter kills", "count", "deadline", "check", "own process"})
"""Stops that end the session: the process is gone, and the host says so."""


@dataclass(frozen=True)
class Row:
    """One program. It sets `result` if it comes to its end."""

    kind: str
    name: str
    program: str
    stop: Stop
    """What stops it: Landlock; the filter of system calls, by an error or by ending the process; a
    limit of the process; that it has no capabilities; that there is nothing to find or to reach
    (then `result` is empty); the host, which counts files and threads, keeps the deadline or checks
    messages; the death of its own process alone; or the cell's own bounds."""
    alone: bool = False
    """Whether it needs a session of its own."""

    @property
    def id(self) -> str:
        """The name in pytest's list."""
        return f"{self.kind}: {self.name}"


def rows(kind: str, stop: Stop, programs: dict[str, str]) -> list[Row]:
    """Make rows of one kind that one thing stops."""
    return [Row(kind, name, program, stop) for name, program in programs.items()]
