"""Threads commands: `threads`, `forget` and `prune`. Print what `kept_threads.py` does."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from langgraph_rlm.cli.display_text import counted
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_threads import (
    Place,
    forget_threads,
    list_threads,
    missing,
    prune_threads,
    unknown_thread,
)
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.options import DURATION, Command, db_option, json_option
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.history.freeing import Freed
    from langgraph_rlm.history.threads import Thread

STATES = {"done": "green", "paused": "yellow", "stopped": "red", "running": "cyan"}
"""Colours of the states of a thread."""


def deleting(command: Command) -> Command:
    """Decorate a command with the options of what deletes."""
    for option in (
        json_option,
        click.option("--yes", "-y", is_flag=True, help="Do not ask."),
        click.option(
            "--grace",
            type=DURATION,
            default="1h",
            show_default=True,
            help="Keep blobs that were put less long ago: a run may be about to need them.",
        ),
        click.option(
            "--all-databases",
            is_flag=True,
            help="The given databases are all that use the blob store, whatever its list says.",
        ),
        click.option(
            "--with-db",
            multiple=True,
            metavar="FILE|URL",
            help="Another database that uses the same blob store; repeat it.",
        ),
        db_option,
    ):
        command = option(command)
    return command


@click.command()
@db_option
@json_option
def threads(db: str | None, as_json: bool) -> None:
    """List the threads of a database: when, state, size and question of each."""
    with edge(as_json):
        found = _done(list_threads(Place.of(db)))
        if as_json:
            rows = [{**asdict(each), "updated": each.updated.isoformat()} for each in found]
            click.echo(json.dumps({"threads": rows}))
        else:
            _print_threads(found)


@click.command()
@click.argument("thread", nargs=-1, required=True)
@deleting
def forget(thread: tuple[str, ...], as_json: bool, yes: bool, **place: Any) -> None:
    """Delete threads, with the checkpoints of their children and what only they stored.

    What other threads need as well stays, also threads of other databases. A thread that runs is
    not deleted.
    """
    with edge(as_json):
        at = Place.of(**place)
        unknown = _done(missing(at, thread))
        if unknown:
            raise unknown_thread(unknown[0], at)
        _ask(yes, f"Delete {counted(len(thread), 'thread')} for ever?")
        _report(_done(forget_threads(at, thread)), as_json, is_trial=False)


@click.command()
@click.option(
    "--older-than",
    type=DURATION,
    required=True,
    help="Age of the threads' last checkpoints, such as 12h, 30d or 4w.",
)
@click.option(
    "--include-paused", is_flag=True, help="Delete threads that wait for a person as well."
)
@click.option("--dry-run", is_flag=True, help="Delete nothing, and say what would be deleted.")
@deleting
def prune(
    older_than: timedelta,
    include_paused: bool,
    dry_run: bool,
    as_json: bool,
    yes: bool,
    **place: Any,
) -> None:
    """Delete old threads, and all that was stored and is needed by no thread.

    Threads that run or wait for a person stay.
    """
    with edge(as_json):
        at = Place.of(**place)

        def pruned(is_trial: bool) -> "Freed":
            return _done(
                prune_threads(at, older_than, include_paused=include_paused, dry_run=is_trial)
            )

        if not dry_run and not yes:
            planned = pruned(True)
            _ask(yes, f"Delete {_what(planned)} for ever?")
        _report(pruned(dry_run), as_json, is_trial=dry_run)


def _done(work: Any) -> Any:
    return run_until_ctrl_c(work, lambda: None)


def _ask(is_sure: bool, question: str) -> None:
    if is_sure:
        return
    try:
        is_sure = click.confirm(question, err=True)
    except click.Abort:
        raise click.ClickException(
            "Nothing was deleted: where nobody can answer, give --yes."
        ) from None
    if not is_sure:
        raise click.ClickException("Nothing was deleted.")


def _report(freed: "Freed", as_json: bool, *, is_trial: bool) -> None:
    if as_json:
        click.echo(json.dumps({**asdict(freed), "dry_run": is_trial}))
        return
    verb = "Would delete" if is_trial else "Deleted"
    click.echo(f"{verb} {_what(freed)}.")
    if freed.aside_blobs:
        click.echo(
            f"Set aside {counted(freed.aside_blobs, 'stored value')} "
            f"({size(freed.aside_bytes)}): a prune two hours from now deletes them."
        )
    if freed.kept_blobs:
        click.echo(
            f"Kept {counted(freed.kept_blobs, 'stored value')} ({size(freed.kept_bytes)}) that no "
            "known thread needs:"
        )
        for reason in freed.kept_because:
            click.echo(f"  {printable(reason)}")
    for thread, reason in freed.skipped.items():
        click.echo(f"Kept thread {printable(thread)}: {reason}.")


def _what(freed: "Freed") -> str:
    return (
        f"{counted(len(freed.threads), 'thread')} with "
        f"{counted(freed.checkpoints, 'checkpoint')} ({size(freed.database_bytes)}), and "
        f"{counted(freed.blobs, 'stored value')} ({size(freed.bytes)})"
    )


def size(number: float) -> str:
    """Give bytes as people read them: `1.2 MB`."""
    for unit in ("bytes", "KB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def _print_threads(found: "Sequence[Thread]") -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not found:
        click.echo("There are no threads.")
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("thread", no_wrap=True, overflow="ellipsis")
    table.add_column("last checkpoint", no_wrap=True)
    table.add_column("state")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("question", no_wrap=True, overflow="ellipsis", ratio=1)
    for each in found:
        table.add_row(
            Text(printable(each.id)),
            each.updated.astimezone().strftime("%Y-%m-%d %H:%M"),
            Text(each.state, style=STATES[each.state]),
            size(each.bytes),
            Text(" ".join(printable(each.question).split())),
        )
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    console.print(table)
