"""Options: command-line options that stand for limits, and types that several commands use."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

WHOLE = click.IntRange(min=1)
DECIMAL = click.FloatRange(min=0, min_open=True)

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
"""Seconds of the units of a duration."""


class Duration(click.ParamType[timedelta]):
    """A time such as `12h`, `30d` or `4w`."""

    name = "duration"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "DURATION"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        found = re.fullmatch(r"(\d{1,6})([smhdw])", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no time: write a number and s, m, h, d or w, as in 30d.")
        return timedelta(seconds=int(found[1]) * UNITS[found[2]])


DURATION = Duration()

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


db_option = click.option(
    "--db",
    metavar="FILE|URL",
    help="SQLite file, or PostgreSQL URL.  [default: the command's file in the user's data folder]",
)
db_file_option = click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file of the threads.  [default: in the user's data folder]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
graph_option = click.option(
    "--graph",
    metavar="FILE.py:NAME",
    help="A graph of your own, or package.module:NAME, with its models, tools and limits; it is "
    "your code, and runs as such.",
)
out_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save the files that the code gives back here; when resuming, those of a finished run "
    "too. Nothing is written over.",
)


def approval_options(command: Command) -> Command:
    """Decorate a command with the options that answer calls that wait."""
    for option in (
        click.option("--no-ask", is_flag=True, help="Ask nobody: end with 3 where a call waits."),
        click.option(
            "--approve",
            multiple=True,
            metavar="TOOL",
            help="Approve the calls of this tool without asking; repeat it. Nothing else is ever "
            "approved by itself.",
        ),
    ):
        command = option(command)
    return command


def limit_options(command: Command) -> Command:
    """Decorate a command with the options of `LIMITS`."""
    for name, (kind, text) in reversed(LIMITS.items()):
        command = click.option(f"--{name}", type=kind, metavar="N", help=text)(command)
    return command
