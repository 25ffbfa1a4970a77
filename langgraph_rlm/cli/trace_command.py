"""Trace command: `trace`, a thread as a page or as lines of JSON."""

import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_threads import Place
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.options import db_option
from langgraph_rlm.cli.traces import Wanted, read_traces

if TYPE_CHECKING:
    from langgraph_rlm.trace.reading import Trace

OWN, RLMS = "langgraph-rlm", "rlms"
"""Forms of the lines of JSON: this package's, and the official package's."""

STDOUT = "-"


@click.command()
@click.argument("thread")
@db_option
@click.option(
    "--checkpoint", metavar="ID", help="Show the branch that ends there.  [default: the newest]"
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page there, and do not open it.",
)
@click.option(
    "--jsonl",
    is_flag=False,
    flag_value=STDOUT,
    metavar="[FILE]",
    help="Write lines of JSON, to stdout without a FILE; gzipped if it ends in .gz.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice([OWN, RLMS]),
    help="What the lines are: see docs/trace.md, or what the visualizer of rlms opens.",
)
@click.option("--no-contexts", is_flag=True, help="Leave the texts of contexts out.")
@click.option(
    "--compare",
    metavar="THREAD[@ID]",
    help="Show another thread, or another branch of this one, beside it.",
)
def trace(
    thread: str,
    db: str | None,
    checkpoint: str | None,
    html: Path | None,
    jsonl: str | None,
    form: str | None,
    no_contexts: bool,
    compare: str | None,
) -> None:
    """Show how THREAD came to its answer: a page in the browser, or lines of JSON.

    The page is one file that needs no network. It holds prompts, replies and contexts.
    """
    with edge():
        if form is not None and jsonl is None:
            jsonl = STDOUT
        if jsonl is not None and (html is not None or compare is not None):
            raise click.UsageError("--jsonl is one thread's lines: give no --html or --compare.")
        wanted = [Wanted(thread, checkpoint)]
        if compare is not None:
            wanted.append(_other(compare))
        traces: list[Trace] = run_until_ctrl_c(read_traces(Place.of(db), wanted), lambda: None)
        if jsonl is not None:
            _write_lines(_lines(traces[0], form, no_contexts), jsonl)
            return
        _write_page(traces, html, no_contexts)


def _other(compare: str) -> Wanted:
    """Read `THREAD` or `THREAD@CHECKPOINT`. The name of a thread may have an @ of its own."""
    name, _, checkpoint = compare.rpartition("@")
    is_id = len(checkpoint) == 36 and checkpoint.count("-") == 4
    return Wanted(name, checkpoint) if name and is_id else Wanted(compare)


def _lines(trace: "Trace", form: str | None, no_contexts: bool) -> Iterable[str]:
    from langgraph_rlm.trace.jsonl import jsonl_lines
    from langgraph_rlm.trace.rlms import rlms_lines

    if form == RLMS:
        return rlms_lines(trace)
    return jsonl_lines(trace, contexts=not no_contexts)


def _write_lines(lines: Iterable[str], target: str) -> None:
    from langgraph_rlm.trace.save import write_lines

    if target == STDOUT:
        for line in lines:
            click.echo(line)
        return
    try:
        write_lines(lines, Path(target))
    except OSError as error:
        raise click.ClickException(f"{target} cannot be written: {error}.") from error


def _write_page(traces: "Sequence[Trace]", html: Path | None, no_contexts: bool) -> None:
    from langgraph_rlm.trace.save import html_of

    page = html_of(traces, contexts=not no_contexts)
    try:
        path = html or _private_file()
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"The page cannot be written: {error}.") from error
    click.echo(path)
    if html is None:
        _open(path)


def _private_file() -> Path:
    """Make a file that only this user can read."""
    number, name = tempfile.mkstemp(prefix="langgraph-rlm-", suffix=".html")
    os.close(number)
    return Path(name)


def _open(path: Path) -> None:
    """Open a page in the browser, where there is one that can show it: browsers of a terminal run
    no script."""
    import webbrowser

    has_screen = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    if not has_screen or not webbrowser.open(path.as_uri()):
        click.echo("There is no browser here: open the file in one.", err=True)
