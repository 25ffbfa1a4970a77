"""The command `langgraph-rlm`: parses, calls and prints.

What takes long to import is imported when a command runs.
"""

import os
import uuid
from pathlib import Path
from typing import Any

import click

from langgraph_rlm.cli.asking import print_result, run_shown
from langgraph_rlm.cli.contexts import read_arguments, stored_contexts
from langgraph_rlm.cli.demo_command import (
    about_haystack,
    check_demo,
    demo_folder,
    demo_options,
    first_line,
    run_demo,
)
from langgraph_rlm.cli.doctor_command import doctor
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.jobs import Options, default_db, open_job
from langgraph_rlm.cli.options import DECIMAL, WHOLE, limit_options
from langgraph_rlm.cli.out_files import made_folder, save_result
from langgraph_rlm.cli.threads_commands import forget, prune, threads
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.repl import NAMES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="langgraph-rlm", prog_name="langgraph-rlm")
def main() -> None:
    """Recursive Language Models: ask questions about inputs far larger than a model's window."""


@main.command()
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


@main.command()
@click.option(
    "--lines",
    type=click.IntRange(min=1_000, max=2_000_000),
    default=1_000_000,
    show_default=True,
    help="Lines of random words.",
)
@click.option(
    "--sub-calls",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Sub-calls of the second question.",
)
@click.option(
    "--model",
    "-m",
    metavar="PROVIDER:MODEL",
    help="A real model.  [default: a scripted one, which needs no key]",
)
@click.option(
    "--sub-model", metavar="PROVIDER:MODEL", help="Answers the sub-calls.  [default: the model]"
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of all that is random.")
@click.option(
    "--keep",
    is_flag=True,
    help="Keep the folder with the lines, the threads and the stored values.",
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file of the threads.  [default: in the demo's folder]",
)
def demo(
    lines: int,
    sub_calls: int,
    model: str | None,
    sub_model: str | None,
    seed: int,
    keep: bool,
    db: Path | None,
) -> None:
    """Find a needle in 1,000,000 lines, then have sub-models read all of them for a question."""
    from langgraph_rlm.cli.demo import build

    is_real = model is not None
    with edge():
        check_demo(lines, sub_calls, model, sub_model)
        click.echo(first_line(model, sub_model))
        with demo_folder(keep) as folder:
            haystack = build(folder / "lines.txt", lines=lines, sub_calls=sub_calls, seed=seed)
            click.echo(about_haystack(haystack, is_real=is_real))
            options = demo_options(model, sub_model, sub_calls, folder)
            database = db or folder / "threads.db"
            run_demo(haystack, sub_calls, options, database, is_real=is_real)


@main.command()
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve; another than loopback needs $LANGGRAPH_RLM_API_KEY.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="0 takes a free one.",
)
@click.option(
    "--model",
    "-m",
    metavar="ID",
    help="The model behind the id 'rlm', such as gpt-5, qwen3:8b or anthropic/NAME.  "
    f"[default: ${MODEL_VARIABLE}]",
)
@click.option("--sub-model", metavar="ID", help="Answers the sub-calls of ids that name one model.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML file with further model ids.",
)
@click.option(
    "--db",
    metavar="FILE|URL",
    help="SQLite file, or PostgreSQL URL for several servers.  "
    "[default: in the user's data folder]",
)
@click.option(
    "--window-tokens",
    type=WHOLE,
    metavar="N",
    help="Tokens that root models take.  [default: what is known of each, else 128000]",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may ask from a browser, such as http://localhost:3000; repeat it.",
)
@click.option(
    "--max-concurrent",
    type=WHOLE,
    default=128,
    show_default=True,
    help="Requests worked on at once; others wait in line.",
)
@click.option(
    "--max-body-mb", type=DECIMAL, default=100, show_default=True, help="Largest request."
)
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="What is written to stderr of what happens.",
)
@click.option("--force", is_flag=True, help="Serve other machines without a key.")
def serve(config: Path | None, force: bool, **options: Any) -> None:
    """Serve OpenAI's chat completions over HTTP.

    Any OpenAI client works with its base URL set to http://HOST:PORT/v1. OPENAI_BASE_URL and
    OPENAI_API_KEY are those of the models behind it; $LANGGRAPH_RLM_API_KEY has the keys that
    clients must give, separated by commas.
    """
    with edge():
        from langgraph_rlm.server.run import serve as run_server
        from langgraph_rlm.server.settings import settings_of

        run_server(
            settings_of(config, options),
            is_forced=force,
            say=lambda line: click.echo(line, err=True),
        )


main.add_command(doctor)
main.add_command(threads)
main.add_command(forget)
main.add_command(prune)
