"""Edge: turns every error of the command into an exit code, and one line or one JSON object.

Knows no command.
"""

import asyncio
import json
import sys
import traceback
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import click

from langgraph_rlm.cli.debug import is_debugging
from langgraph_rlm.cli.display_text import counted
from langgraph_rlm.cli.jobs import Unfinished, Waits
from langgraph_rlm.cli.loop import STOPPED
from langgraph_rlm.errors import RLMError
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.hosting.pauses import Pause

FAILED = 1
"""Exit code of an error; 2 is a wrong command line."""
WAITING = 3
"""Exit code of a run that waits for a person."""
MOST_NAMES = 5
"""Most waiting calls that are named on the last line."""
LINE_CHARS = 500
"""Most characters of an error's own text."""


@contextmanager
def edge(as_json: bool = False) -> Generator[None]:
    """Leave the process with a message and an exit code for whatever is raised inside.

    Args:
        as_json: print the error as one JSON object on stdout, instead of a line on stderr.
    """
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except Waits as waits:
        _leave_waiting(as_json, waits)
    except Unfinished as stop:
        if isinstance(stop.cause, asyncio.CancelledError):
            _leave_stopped(as_json, stop.command)
        _leave_failed(stop.cause, _explained(stop.cause), as_json, stop.command)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _leave_stopped(as_json)
    except click.ClickException as error:
        if not as_json:
            raise
        _leave_failed(error, error.format_message(), as_json)
    except Exception as error:  # noqa: BLE001 - the edge: users get a line, not a traceback
        _leave_failed(error, _explained(error), as_json)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {_one_line(str(message))}", err=True)


def _leave_stopped(as_json: bool, command: str | None = None) -> NoReturn:
    """Say that Ctrl-C stopped the command, and what continues it."""
    message = "Stopped." if command else "Stopped: there is nothing to continue."
    if as_json:
        _print_json("Interrupted", message, command)
    elif command:
        click.echo(f"{message} Continue with: {command}", err=True)
    else:
        click.echo(message, err=True)
    sys.exit(STOPPED)


def _leave_waiting(as_json: bool, waits: Waits) -> NoReturn:
    """Say which calls wait for a person, and what answers them."""
    if as_json:
        _print_waiting(waits)
        sys.exit(WAITING)
    names = [_name(pause) for pause in waits.pauses[:MOST_NAMES]]
    if len(waits.pauses) > MOST_NAMES:
        names.append("...")
    verb = "waits" if len(waits.pauses) == 1 else "wait"
    told = f"{counted(len(waits.pauses), 'call')} {verb} for an answer: {', '.join(names)}."
    click.echo(told, err=True)
    click.echo(f"To answer: {waits.command} (or on the page of langgraph-rlm ui)", err=True)
    sys.exit(WAITING)


def _name(pause: "Pause") -> str:
    tools = ", ".join(action.tool for action in pause.actions) or "a question"
    return printable(f"{tools} ({pause.place})" if pause.place else tools)


def _print_waiting(waits: Waits) -> None:
    out: dict[str, Any] = {
        "answer": None,
        "stop_reason": "paused",
        "usage": waits.usage,
        "thread": waits.job.thread,
        "files": [],
        "pauses": [pause.as_json() for pause in waits.pauses],
        "resume": waits.command,
    }
    click.echo(json.dumps(out, default=str))


def _leave_failed(
    error: BaseException, message: str, as_json: bool, command: str | None = None
) -> NoReturn:
    """Say what went wrong, and what continues it."""
    if is_debugging():
        told = "".join(traceback.format_exception(error))
        click.echo(printable(told), err=True)
    if as_json:
        _print_json(type(error).__name__, message, command)
    else:
        click.echo(f"Error: {printable(message)}", err=True)
        if command:
            click.echo(f"Continue with: {command}", err=True)
    sys.exit(FAILED)


def _print_json(kind: str, message: str, command: str | None) -> None:
    click.echo(json.dumps({"error": {"type": kind, "message": message, "resume": command}}))


def _explained(error: BaseException) -> str:
    """Say what went wrong, on one line.

    Our own messages say it all. Other errors need their type, and a client's its URL and cause too.
    """
    text = _one_line(str(error))
    if isinstance(error, RLMError):
        return text
    explained = f"{type(error).__name__}: {text}".removesuffix(": ")
    url = str(getattr(getattr(error, "request", None), "url", ""))
    cause = _one_line(str(_first_cause(error)))
    if cause in text:
        cause = ""
    more = ": ".join(part for part in (url, cause) if part)
    return f"{explained} ({more})" if more else explained


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and str(error.__cause__):
        error = error.__cause__
    return error


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= LINE_CHARS:
        return line
    return f"{line[:LINE_CHARS]}..."
