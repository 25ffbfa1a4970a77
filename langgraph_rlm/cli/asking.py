"""Asking: one question of the command, from its contexts to its printed answer."""

import json
import sys
from asyncio import CancelledError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langgraph_rlm.budget.usage import spent
from langgraph_rlm.cli.coverage_text import coverage_line
from langgraph_rlm.cli.jobs import Job, Result, Unfinished, Waits
from langgraph_rlm.cli.out_files import print_files
from langgraph_rlm.errors import ResumeError

if TYPE_CHECKING:
    from langgraph_rlm.budget.limits import Limits
    from langgraph_rlm.cli.answering import Asker
    from langgraph_rlm.cli.display import Display
    from langgraph_rlm.hosting.pauses import Pause


@dataclass(frozen=True)
class Approvals:
    """How a command answers the calls that wait."""

    approve: frozenset[str] = frozenset()
    """Tools whose calls are approved without asking."""
    answers: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Answers that were given with the command, by the ids of their pauses."""
    may_ask: bool = True
    """Whether a person may be asked, if there is a terminal."""


def run_shown(job: Job, *, quiet: bool = False, approvals: Approvals | None = None) -> Result:
    """Run a job under a display, and ask on the terminal about the calls that wait.

    Raises:
        Waits: calls wait, and nobody could be asked, or left them for later.
    """
    from langgraph_rlm.cli.working import Waiting, Work

    given = approvals or Approvals()
    answering = _Answering(given, can_ask=given.may_ask and not quiet and _has_person())
    with Work(job) as work:
        display = open_display(quiet, work.limits)
        answers: Mapping[str, Any] = given.answers
        while True:
            try:
                with display:
                    outcome = work.run(display, answers)
                    if not isinstance(outcome, Waiting):
                        display.done(outcome["usage"])
                        return outcome
            except ResumeError as error:
                answering.refused(error)
                outcome = Waiting(work.pauses(), spent())
            try:
                answers = answering.answers(outcome.pauses)
            except KeyboardInterrupt as stop:
                raise Unfinished(CancelledError(), job.command("resume", job.thread)) from stop
            if outcome.pauses and not answers:
                raise Waits(job, outcome.pauses, outcome.usage)


class _Answering:
    """What answers the calls that wait: the command's own options, then the person."""

    def __init__(self, given: Approvals, *, can_ask: bool) -> None:
        self._given = given
        self._asker = _new_asker() if can_ask else None

    def answers(self, pauses: "Sequence[Pause]") -> dict[str, Any]:
        """Give answers by the ids of their pauses; none where all are left for later."""
        from langgraph_rlm.cli.answering import approved_by_name

        given = approved_by_name(pauses, self._given.approve)
        if self._asker is not None:
            given |= self._asker.answers([pause for pause in pauses if pause.id not in given])
        return given

    def refused(self, error: ResumeError) -> None:
        """Show why answers were not taken; without a person that ends the command."""
        if self._asker is None:
            raise error
        self._asker.say(str(error))


def _new_asker() -> "Asker":
    from rich.console import Console

    from langgraph_rlm.cli.answering import Asker

    return Asker(Console(stderr=True, highlight=False))


def _has_person() -> bool:
    """Whether somebody can read a question and answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def open_display(quiet: bool, limits: "Limits | None") -> "Display":
    """Give the display for where stdout and stderr go. A live one needs both to be a terminal."""
    from rich.console import Console

    from langgraph_rlm.cli.display import Quiet
    from langgraph_rlm.cli.line_display import LineDisplay
    from langgraph_rlm.cli.live_display import LiveDisplay

    if quiet:
        return Quiet()
    console = Console(stderr=True, highlight=False)
    is_terminal = sys.stdout.isatty() and sys.stderr.isatty()  # FORCE_COLOR is about colours alone
    if is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, limits)
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
    follow_up = job.command("ask", "--thread", result["thread"], "NEXT QUESTION")
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

    from langgraph_rlm.cli.display_text import MARKDOWN
    from langgraph_rlm.hosting.visible import printable

    text = printable(answer)
    if MARKDOWN.search(text):
        Console().print(Markdown(text))
    else:
        Console().print(Text(text, style="bold"))
