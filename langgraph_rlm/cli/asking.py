"""Asking: one question of the command, from its contexts to its printed answer."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.coverage_text import coverage_line
from langgraph_rlm.cli.jobs import Job, Result, run_job
from langgraph_rlm.cli.out_files import print_files

if TYPE_CHECKING:
    from langgraph_rlm.cli.display import Display

MARKDOWN = re.compile(r"^(#{1,6} |```|[-*+] |\d+\. |\|)|\*\*\S", re.MULTILINE)
"""What an answer that is written as Markdown has in it."""


def run_shown(job: Job, *, quiet: bool = False) -> Result:
    """Run a job under a display."""
    with _open_display(quiet) as display:
        result = run_job(job, display)
        display.done(result["usage"])
    return result


def _open_display(quiet: bool) -> "Display":
    """Give the display for where stdout and stderr go. A live one needs both to be a terminal."""
    from rich.console import Console

    from langgraph_rlm.cli.display import Quiet
    from langgraph_rlm.cli.line_display import LineDisplay
    from langgraph_rlm.cli.live_display import LiveDisplay

    if quiet:
        return Quiet()
    console = Console(stderr=True, highlight=False)
    if sys.stdout.isatty() and console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console)
    return LineDisplay(Console(stderr=True, width=10_000))


def print_result(result: Result, job: Job, as_json: bool, saved: Sequence[Path] = ()) -> None:
    """Print an answer, the limit that it was cut short by, its files, how to ask more, and how much
    of the contexts models have seen."""
    if as_json:
        click.echo(json.dumps(result))
        return
    print_answer(result["answer"])
    if result["stop_reason"] != "answered":
        best = "it has no answer so far"
        if result["answer"].strip():
            best = "this is its best answer so far"
        click.echo(f"The run reached its limit {result['stop_reason']}: {best}.", err=True)
    follow_up = job.command("--thread", result["thread"], "NEXT QUESTION")
    click.echo(f"To continue: {follow_up}", err=True)
    print_files(result, job, saved)
    if result["coverage"] is not None:
        click.echo(coverage_line(result["coverage"]), err=True)


def print_answer(answer: str) -> None:
    """Print an answer.

    On a terminal it is formatted. In a pipe it is as it is, except for what cannot be encoded.
    """
    if sys.stdout.isatty():
        _print_formatted(answer)
        return
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(answer.encode(encoding, "replace").decode(encoding))


def _print_formatted(answer: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.text import Text

    from langgraph_rlm.cli.display_text import printable

    text = printable(answer)
    if MARKDOWN.search(text):
        Console().print(Markdown(text))
    else:
        Console().print(Text(text, style="bold"))
