"""The command `langgraph-rlm fork`: puts something else in the place of a turn, a question or an
answer, and runs the thread on from there."""

import json
from typing import Any

import click

from langgraph_rlm.cli.ask_command import approvals_of, job_options, opened_job, run_job
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.jobs import Job


@click.command()
@click.argument("thread")
@click.argument("place")
@click.option("--value", metavar="TEXT", help="What is to stand there; JSON for a tool's result.")
@click.option(
    "--file",
    type=click.File(encoding="utf-8"),
    help="A file with what is to stand there; - for stdin.",
)
@click.option("--edit", is_flag=True, help="Open what stands there in $EDITOR.  [default]")
@click.option("--run/--no-run", "is_run", default=True, help="Run the new branch.  [default: run]")
@job_options
def fork(
    thread: str,
    place: str,
    value: str | None,
    file: Any,
    edit: bool,
    is_run: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Put something else at a PLACE of THREAD, and run the thread on from there.

    PLACE is a turn (2: the whole reply, code included), an answer (2.0/3/17) or a question (run.0),
    as show has them; 2.0/3/17:0 is a turn of a child RLM that still works. What came before is kept
    and not paid again. The old branch stays in the thread.
    """
    with edge(as_json):
        _check(value, file, edit)
        job = opened_job(thread, None, options)
        from langgraph_rlm.cli.forking import forked, standing, value_of

        stands = standing(job, place)
        text = _text(value, file, stands.text, stands.suffix)
        branch = forked(job, place, value_of(text, is_json=stands.is_json))
        _tell(job, place, branch.checkpoint, branch.old, quiet=as_json)
        if is_run:
            run_job(job, as_json, approvals_of(options))
        elif as_json:
            out = {"thread": thread, "checkpoint": branch.checkpoint, "old": branch.old}
            click.echo(json.dumps(out))


def _check(value: str | None, file: Any, edit: bool) -> None:
    given = [value is not None, file is not None, edit]
    if sum(given) > 1:
        raise click.UsageError("Give one of --value, --file and --edit.")


def _text(value: str | None, file: Any, before: str, suffix: str) -> str:
    """Give what is to stand there, from the option, the file or the editor."""
    if value is not None:
        return value
    if file is not None:
        return file.read()
    edited = click.edit(before, extension=suffix)
    if edited is None or edited.rstrip("\n") == before.rstrip("\n"):
        raise click.ClickException("Nothing was changed, and so nothing forked.")
    return edited if before.endswith("\n") else edited.removesuffix("\n")


def _tell(job: Job, place: str, checkpoint: str, old: str, *, quiet: bool) -> None:
    if quiet:
        return
    click.echo(f"Forked {job.thread} at {place}: the new branch begins at {checkpoint}.", err=True)
    show = job.command("show", job.thread, "--checkpoint", old)
    click.echo(f"The old branch: {show}", err=True)
