"""The command `mcp`: serves questions as tools of the Model Context Protocol. Parses and calls."""

import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_options import Options, environment
from langgraph_rlm.cli.kept_threads import Place
from langgraph_rlm.cli.options import db_option
from langgraph_rlm.cli.run_options import run_options, taken_options
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.resolve import MODEL_VARIABLE


@click.command()
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--http",
    metavar="HOST:PORT",
    help="Serve streamable HTTP there, instead of stdio; another than loopback needs "
    "$LANGGRAPH_RLM_API_KEY, the keys that clients give. Port 0 takes a free one.",
)
@click.option(
    "--allow-host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Another name by which HTTP clients may ask, such as that of a proxy; repeat it.",
)
@click.option(
    "--agent-may-approve",
    is_flag=True,
    help="Let the tool resume take answers to calls that wait: the agent then approves its own.",
)
@db_option
@run_options
def mcp(
    folders: tuple[Path, ...],
    http: str | None,
    hosts: tuple[str, ...],
    agent_may_approve: bool,
    db: str | None,
    **given: Any,
) -> None:
    """Serve questions about FOLDERS as tools of the Model Context Protocol, on stdin and stdout.

    Nothing outside of FOLDERS is read, and where a client has roots, nothing outside of these.
    Without FOLDERS its roots are read, else the working directory, unless that is a home folder or
    has one in it; over HTTP nothing is.
    """
    with edge():
        address = None if http is None else _address(http)
        if hosts and address is None:
            raise click.UsageError("--allow-host is for --http.")
        options = taken_options(given)
        _check_model(options)
        from langgraph_rlm.mcp import check_sdk

        check_sdk()
        from langgraph_rlm.cli.ui_source import open_source
        from langgraph_rlm.hosting.sources import Source
        from langgraph_rlm.mcp.folders import Folders
        from langgraph_rlm.mcp.run import Address, run_http, run_stdio
        from langgraph_rlm.mcp.server import Serving
        from langgraph_rlm.storage.allowed import Allowed

        readable = Folders(Allowed(folders))
        if not folders and address is None:
            readable = Folders.of_client(Path.cwd())
        serving = Serving(readable, agent_may_approve=agent_may_approve)
        place = Place.of(db)

        def opened() -> AbstractAsyncContextManager[Source]:
            return open_source(place, options)

        if address is None:
            if sys.stdin.isatty():
                _say("Serving MCP on stdin and stdout, for a client that starts this command.")
            run_stdio(opened, serving)
            return
        host, port = address
        run_http(opened, serving, Address(host, port, hosts, _say))


def _say(line: str) -> None:
    click.echo(line, err=True)


def _address(given: str) -> tuple[str, int]:
    """Read `HOST:PORT`, `[::1]:PORT` or `PORT`."""
    host, _, port = given.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise click.UsageError(f"--http {given!r}: write HOST:PORT, such as 127.0.0.1:8770.")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def _check_model(options: Options) -> None:
    """Look whether there is something that answers, before a client waits for it.

    Raises:
        ConfigurationError: there is no model, and no graph.
    """
    if options.graph is None and options.over(environment()).model is None:
        raise ConfigurationError(
            f"No model: give --model PROVIDER:MODEL, such as openai:gpt-5, or set {MODEL_VARIABLE}."
        )
