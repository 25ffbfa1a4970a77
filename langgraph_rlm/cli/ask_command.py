"""The command `langgraph-rlm ask`: parses its arguments, and runs the job that they describe."""

import os
import uuid
from pathlib import Path

import click

from langgraph_rlm.cli.asking import print_result, run_shown
from langgraph_rlm.cli.contexts import read_arguments, stored_contexts
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.jobs import Options, default_db, open_job
from langgraph_rlm.cli.options import WHOLE, limit_options
from langgraph_rlm.cli.out_files import made_folder, save_result
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.repl import NAMES


@click.command()
@click.argument("question", required=False)
@click.argument("paths", nargs=-1)
@click.option(
    "--context",
    "-c",
    "contexts",
    multiple=True,
    metavar="[NAME=]PATH",
    help="As PATHS, or under a name of its own, such as old=a.pdf; repeat it.",
)
@click.option(
    "--model",
    "-m",
    metavar="PROVIDER:MODEL",
    help=f"Writes the code.  [default: ${MODEL_VARIABLE}]",
)
@click.option(
    "--sub-model", metavar="PROVIDER:MODEL", help="Answers the sub-calls.  [default: the model]"
)
@limit_options
@click.option(
    "--window-tokens",
    type=WHOLE,
    metavar="N",
    help="Tokens that the model takes.  [default: what is known of it, else 128000]",
)
@click.option(
    "--sandbox",
    type=click.Choice(NAMES),
    help="What runs the code; local is NOT isolated.  [default: auto, which is python or monty]",
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file of the threads.  [default: in the user's data folder]",
)
@click.option(
    "--thread",
    metavar="NAME",
    help="Name of the thread; a further question on it sees its variables.  [default: a new one]",
)
@click.option(
    "--resume",
    metavar="THREAD",
    help="Continue an interrupted run, with the options it was started with.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Save the files that the code gives back here; with --resume, those of a finished run "
    "too. Nothing is written over.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object on stdout: answer, stop_reason, usage, thread and files, or error.",
)
def ask(
    question: str | None,
    paths: tuple[str, ...],
    contexts: tuple[str, ...],
    model: str | None,
    sub_model: str | None,
    window_tokens: int | None,
    sandbox: str | None,
    db: Path | None,
    thread: str | None,
    resume: str | None,
    out: Path | None,
    as_json: bool,
    **limits: float | None,
) -> None:
    """Ask a QUESTION about PATHS: files, folders, patterns such as 'logs/*.txt', or - for stdin.

    The answer goes to stdout, how it is found to stderr. Ctrl-C stops the run and keeps what is
    finished: --resume continues it.
    """
    with edge(as_json):
        _check_question(question, (*paths, *contexts), thread, resume)
        named = read_arguments(paths, contexts)
        given = Options(
            model=model,
            sub_model=sub_model,
            window_tokens=window_tokens,
            sandbox=sandbox,
            limits={name: limit for name, limit in limits.items() if limit is not None},
        )
        name = resume or thread or uuid.uuid4().hex[:8]
        job = open_job(name, db or default_db(), given, question)
        job.out = made_folder(out)
        job.context = stored_contexts(named, job.options.blob_store)
        result = run_shown(job, quiet=as_json)
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
