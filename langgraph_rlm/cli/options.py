"""Options: command-line options that stand for limits, and types that several commands use."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

WHOLE = click.IntRange(min=1)
DECIMAL = click.FloatRange(min=0, min_open=True)

LIMITS: "dict[str, tuple[click.ParamType[Any], str]]" = {
    "max-depth": (WHOLE, "Depth of the tree of RLMs; 1 means plain sub-calls.  [default: 1]"),
    "max-iterations": (WHOLE, "Turns of a root model for one question.  [default: 30]"),
    "max-sub-calls": (click.IntRange(min=0), "Sub-calls over the whole tree.  [default: 1000]"),
    "max-concurrency": (WHOLE, "Model calls at once.  [default: 16]"),
    "max-tokens": (WHOLE, "Tokens over the whole tree, in and out.  [default: no limit]"),
    "max-cost": (DECIMAL, "US dollars over the whole tree.  [default: no limit]"),
    "max-seconds": (DECIMAL, "Seconds that the run works.  [default: no limit]"),
    "max-cell-seconds": (DECIMAL, "Seconds that one cell of code may compute.  [default: 30]"),
    "max-heap-bytes": (click.IntRange(min=1 << 20), "Memory of one interpreter.  [default: 1 GiB]"),
    "max-output-chars": (
        click.IntRange(min=100),
        "Characters of a cell's output that the model sees.  [default: 20000]",
    ),
    "max-out-bytes": (
        click.IntRange(min=0),
        "Bytes of files that one question gives back.  [default: 256 MiB]",
    ),
}
"""Type and help text of each limit's option; the options are shown in this order."""


def limit_options(command: Command) -> Command:
    """Decorate a command with the options of `LIMITS`."""
    for name, (kind, text) in reversed(LIMITS.items()):
        command = click.option(f"--{name}", type=kind, metavar="N", help=text)(command)
    return command
