"""Asking: one question of the command, from its contexts to its printed answer."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.jobs import (
    Job,
    Result,
    run,
)

if TYPE_CHECKING:
    from langgraph_rlm.storage.context import ContextHandle


def run_shown(job: Job, *, quiet: bool = False) -> Result:
    from langgraph_rlm.cli.display import open_display

    with open_display(quiet=quiet, live=sys.stdout.isatty()) as display:
        result = run(job, display)
        display.done(result["usage"])
    return result


def stored_context(paths: tuple[str, ...], blob_store: str | None) -> "ContextHandle | None":
    """Store the contexts before the run: reading stdin may take for ever, and here Ctrl-C simply ends it."""
    from langgraph_rlm.storage.blobs import BlobStore
    from langgraph_rlm.storage.context import ingest

    if not paths:
        return None
    if paths == ("-",):
        return ingest(sys.stdin, BlobStore.open(blob_store))
    found = [Path(path) for path in paths]
    return ingest(found[0] if len(found) == 1 else found, BlobStore.open(blob_store))


def print_result(result: Result, job: Job, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result))
        return
    print_answer_of(result["answer"])
    if result["stop_reason"] != "answered":
        best = (
            "this is its best answer so far"
            if result["answer"].strip()
            else "it has no answer so far"
        )
        click.echo(f"The run reached its limit {result['stop_reason']}: {best}.", err=True)
    click.echo(f"To go on: {job.command('--thread', result['thread'], 'NEXT QUESTION')}", err=True)


def print_answer_of(answer: str) -> None:
    """Formatted for a terminal; as it is, but for what cannot be encoded, into a pipe."""
    if not sys.stdout.isatty():
        encoding = sys.stdout.encoding or "utf-8"
        click.echo(answer.encode(encoding, "replace").decode(encoding))
        return
    from langgraph_rlm.cli.display import print_answer

    print_answer(answer)
