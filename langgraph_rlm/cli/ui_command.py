"""The command `ui`: serves the page for all threads of a database. Parses, calls and prints."""

from typing import Any

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_threads import Place
from langgraph_rlm.cli.options import db_option
from langgraph_rlm.cli.run_options import run_options, taken_options


@click.command()
@db_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve; another than loopback needs $LANGGRAPH_RLM_API_KEY, the page's token.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8765,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which browsers may ask, such as that of a proxy; repeat it.",
)
@click.option("--no-open", is_flag=True, help="Open no browser.")
@run_options
def ui(
    db: str | None,
    host: str,
    port: int,
    hosts: tuple[str, ...],
    no_open: bool,
    **given: Any,
) -> None:
    """Serve a page that shows all threads as they run, and answers the calls that wait.

    Threads of `ask` run with the options that they remember. A thread with tools of your own needs
    the graph that has them, --graph; else the page only reads it, and keeps answers for the process
    that runs it. Ctrl-C stops the runs of the page; they can be continued.
    """
    with edge():
        from langgraph_rlm.cli.ui_source import open_source
        from langgraph_rlm.ui.run import Serving, run

        options = taken_options(given)
        place = Place.of(db)
        run(
            Serving(host, port, hosts, not no_open, lambda line: click.echo(line, err=True)),
            lambda: open_source(place, options),
        )
