"""The commands `langgraph-rlm ask` and `resume`: parse their arguments, and run the job that they
describe."""

import json
import os
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from langgraph_rlm.cli.asking import Approvals, print_result, run_shown
from langgraph_rlm.cli.contexts import read_arguments, stored_contexts
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.jobs import Job, open_job
from langgraph_rlm.cli.kept_options import default_db
from langgraph_rlm.cli.options import (
    Command,
    approval_options,
    db_file_option,
    json_option,
    out_option,
)
from langgraph_rlm.cli.out_files import made_folder, save_result
from langgraph_rlm.cli.run_options import context_option, run_options, taken_options


def job_options(command: Command) -> Command:
    """Decorate a command with the options of everything that runs a job."""
    for option in (json_option, out_option, approval_options, db_file_option, run_options):
        command = option(command)
    return command


@click.command()
@click.argument("question", required=False)
@click.argument("paths", nargs=-1)
@context_option
@click.option(
    "--thread",
    metavar="NAME",
    help="Name of the thread; a further question on it sees its variables.  [default: a new one]",
)
@click.option("--resume", metavar="THREAD", help="The same as the command resume.")
@job_options
def ask(
    question: str | None,
    paths: tuple[str, ...],
    contexts: tuple[str, ...],
    thread: str | None,
    resume: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Ask a QUESTION about PATHS: files, folders, patterns such as 'logs/*.txt', or - for stdin.

    The answer goes to stdout, how it is found to stderr. Ctrl-C stops the run and keeps what is
    finished: resume continues it. Ends with 3 if a call waits for a person whom nobody can ask.
    """
    with edge(as_json):
        _check_question(question, (*paths, *contexts), thread, resume)
        named = read_arguments(paths, contexts)
        job = opened_job(resume or thread or uuid.uuid4().hex[:8], question, options)
        job.context = stored_contexts(named, job.options.blob_store)
        run_job(
            job, as_json, Approvals(frozenset(options["approve"]), may_ask=not options["no_ask"])
        )


@click.command()
@click.argument("thread")
@click.option(
    "--answer",
    "answers",
    multiple=True,
    metavar="ID=JSON",
    help='Answer the call that waits under this id, such as \'ID={"type": "approve"}\'; an '
    "external tool takes its result. --json lists the ids. Repeat it.",
)
@job_options
def resume(thread: str, answers: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Continue the run of a THREAD that was stopped, or that waits for a person.

    It has the options that it was started with, and those given here go over them. On a terminal it
    asks about each call that waits.
    """
    with edge(as_json):
        if not thread:
            raise click.UsageError("THREAD is the name of a thread, not an empty one.")
        given = dict(_answer(each) for each in answers)
        job = opened_job(thread, None, options)
        run_job(job, as_json, replace(approvals_of(options), answers=given))


def _answer(given: str) -> tuple[str, Any]:
    """Read `ID=JSON`."""
    id, equals, text = given.partition("=")
    try:
        value = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--answer {given!r}: {text!r} is no JSON: {error}") from None
    if not equals or not id:
        raise click.UsageError(f"--answer {given!r} has no id: write ID=JSON.")
    return id, value


def opened_job(thread: str, question: str | None, options: dict[str, Any]) -> Job:
    """Make the job that the values of `job_options` describe, which are taken out of `options`."""
    given = taken_options(options)
    db: Path | None = options["db"]
    job = open_job(thread, db or default_db(), given, question)
    job.out = made_folder(options["out"])
    return job


def approvals_of(options: dict[str, Any]) -> Approvals:
    """Read how calls that wait are answered."""
    return Approvals(frozenset(options["approve"]), may_ask=not options["no_ask"])


def run_job(job: Job, as_json: bool, approvals: Approvals) -> None:
    """Run a job, and print how it ended."""
    result = run_shown(job, quiet=as_json, approvals=approvals)
    print_result(result, job, as_json, save_result(result, job))


def _check_question(
    question: str | None, contexts: tuple[str, ...], thread: str | None, resume: str | None
) -> None:
    if resume is not None and (question is not None or contexts or thread is not None):
        raise click.UsageError(
            "--resume continues the run's own question: "
            "give no QUESTION, PATHS, --context or --thread with it."
        )
    if resume is None and question is None:
        raise click.UsageError("Missing argument 'QUESTION': what to ask, or --resume THREAD.")
    if question is not None and not question.strip():
        raise click.UsageError("The QUESTION is empty: say what to ask.")
    for option, value in (("--thread", thread), ("--resume", resume)):
        if value == "":
            raise click.UsageError(f"{option} needs the name of a thread, not an empty one.")
    if question is not None and os.path.exists(question):
        raise click.UsageError(
            f"The QUESTION {question!r} is the name of a file: give the question first, then files."
        )
