"""Edge: every error of the command is one line and an exit code, or one JSON object. Knows no command."""

import asyncio
import json
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import click

from langgraph_rlm.cli.jobs import (
    STOPPED,
    Unfinished,
)
from langgraph_rlm.errors import RLMError

if TYPE_CHECKING:
    pass


FAILED = 1
"""Exit code of an error; 2 is a wrong command line."""


@contextmanager
def edge(as_json: bool = False) -> Generator[None]:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except Unfinished as stop:
        stopped = isinstance(stop.cause, asyncio.CancelledError)
        _leave(
            _explained(stop.cause),
            stop.cause,
            as_json,
            STOPPED if stopped else FAILED,
            stop.command,
        )
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        _leave("", error, as_json, STOPPED)
    except click.ClickException as error:
        if not as_json:
            raise
        _leave(error.format_message(), error, as_json, FAILED)
    except Exception as error:  # noqa: BLE001 - the edge: users get a line, not a traceback
        _leave(_explained(error), error, as_json, FAILED)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {_one_line(str(message))}", err=True)


def _leave(
    message: str, error: BaseException, as_json: bool, code: int, command: str | None = None
) -> NoReturn:
    """Say what happened and how to go on, on stderr or as JSON, and exit."""
    if code == STOPPED:
        message = "Stopped." if command else "Stopped: there is nothing to continue."
    if as_json:
        kind = "Interrupted" if code == STOPPED else type(error).__name__
        click.echo(json.dumps({"error": {"type": kind, "message": message, "resume": command}}))
    else:
        shown, gap = (message, " ") if code == STOPPED else (f"Error: {message}", "\n")
        click.echo(f"{shown}{gap}Continue with: {command}" if command else shown, err=True)
    sys.exit(code)


def _explained(error: BaseException) -> str:
    """What went wrong, on one line; our own messages say it all, others need their type, and clients' why and where."""
    text = _one_line(str(error))
    if isinstance(error, RLMError):
        return text
    url, cause = (
        getattr(getattr(error, "request", None), "url", ""),
        _one_line(str(_first_cause(error))),
    )
    more = ": ".join(part for part in (str(url), cause if cause not in text else "") if part)
    return f"{type(error).__name__}: {text}".removesuffix(": ") + (f" ({more})" if more else "")


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and str(error.__cause__):
        error = error.__cause__
    return error


def _one_line(text: str, most: int = 500) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
