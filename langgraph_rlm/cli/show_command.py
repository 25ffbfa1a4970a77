"""The commands `langgraph-rlm show` and `spent`: print what a thread did, and what it took."""

import json
import sys
from collections.abc import Iterable
from functools import reduce
from typing import TYPE_CHECKING, Any

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_threads import Place, missing, unknown_thread
from langgraph_rlm.cli.loop import run_until_ctrl_c
from langgraph_rlm.cli.options import db_option, json_option
from langgraph_rlm.cli.traces import Wanted, read_traces

if TYPE_CHECKING:
    from rich.console import RenderableType

    from langgraph_rlm.cli.trace_index import TraceIndex

WIDTH_IN_A_PIPE = 120


@click.command()
@click.argument("thread")
@db_option
@click.option(
    "--checkpoint", metavar="ID", help="Show the branch that ends there.  [default: the newest]"
)
@click.option(
    "--place",
    metavar="PLACE",
    help="Show one entry in full: a turn (2), a cell (2.0), a call (2.0/3), an answer (2.0/3/17), "
    "a child RLM (2.0/3/17:) or an entry of its log (2.0/3/17:0.0).",
)
@click.option("--turns", is_flag=True, help="One line a turn.")
@json_option
def show(
    thread: str,
    db: str | None,
    checkpoint: str | None,
    place: str | None,
    turns: bool,
    as_json: bool,
) -> None:
    """Show how THREAD came to its answer: its turns, their code and output, and the calls.

    On a terminal a long one is shown by your pager. `trace` gives a page instead.
    """
    with edge(as_json):
        index = _index(thread, db, checkpoint)
        if as_json:
            click.echo(json.dumps({"records": _records(index, place)}))
            return
        from langgraph_rlm.cli.show_text import place_shown, thread_shown

        if place is not None:
            _print(place_shown(index, place))
        else:
            _print(thread_shown(index, turns_alone=turns))


@click.command()
@click.argument("thread")
@db_option
@json_option
def spent(thread: str, db: str | None, as_json: bool) -> None:
    """Say what THREAD has cost: by question, and by depth and model.

    What a question would cost before it is asked: see cost.
    """
    with edge(as_json):
        from langgraph_rlm.budget.usage import add_usage
        from langgraph_rlm.budget.usage import spent as nothing
        from langgraph_rlm.cli.show_text import spending_shown

        index = _index(thread, db, None)
        by_question = index.spent_by_question()
        total = reduce(add_usage, by_question, nothing())
        if as_json:
            out = {"thread": thread, "usage": total, "questions": list(by_question)}
            click.echo(json.dumps(out))
            return
        _print([spending_shown(by_question, total)])


def _index(thread: str, db: str | None, checkpoint: str | None) -> "TraceIndex":
    from langgraph_rlm.cli.trace_index import TraceIndex

    at = Place.of(db)

    def done(work: Any) -> Any:
        return run_until_ctrl_c(work, lambda: None)

    if done(missing(at, [thread])):
        raise unknown_thread(thread, at)
    return TraceIndex(done(read_traces(at, [Wanted(thread, checkpoint)]))[0])


def _records(index: "TraceIndex", place: str | None) -> list[Any]:
    """Give all records, or those of one place and below it."""
    if place is None:
        return list(index.trace.records)
    rlm, own = index.find(place)
    below = tuple(f"{own}{sign}" for sign in (".", "/"))
    found: list[Any] = []
    for record in index.trace.records:
        at = record.get("place") or ""
        if record.get("rlm") == rlm and (not own or at == own or at.startswith(below)):
            found.append(record)
    return found


def _print(parts: "Iterable[RenderableType]") -> None:
    """Print on stdout; by the pager where it is longer than the screen."""
    from rich.console import Console

    console = Console()
    if not sys.stdout.isatty():
        console = Console(width=WIDTH_IN_A_PIPE)
        console.print(*parts, sep="\n")
        return
    with console.capture() as captured:
        console.print(*parts, sep="\n")
    text = captured.get()
    if text.count("\n") < console.height or console.is_dumb_terminal:
        click.echo(text, nl=False, color=True)
    else:
        click.echo_via_pager(text, color=not console.no_color)
