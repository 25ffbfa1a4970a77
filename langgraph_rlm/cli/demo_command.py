"""Demo command: asks the two questions of the demo on one thread, and checks both answers."""

import shutil
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.asking import print_answer, run_shown
from langgraph_rlm.cli.contexts import Named, stored_contexts
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.jobs import Job, Unfinished
from langgraph_rlm.cli.kept_options import Options
from langgraph_rlm.errors import RLMError

if TYPE_CHECKING:
    from langgraph_rlm.cli.demo import Haystack


def _check_demo(lines: int, sub_calls: int, model: str | None, sub_model: str | None) -> None:
    """Refuse options that do not fit together."""
    if model is None and sub_model is not None:
        raise click.UsageError("--sub-model needs --model: without a model the demo is offline.")
    if lines < 4 * sub_calls:
        raise click.UsageError(
            f"{sub_calls} sub-calls need at least {4 * sub_calls} lines: "
            "raise --lines or lower --sub-calls."
        )


def _demo_options(
    model: str | None, sub_model: str | None, sub_calls: int, folder: Path
) -> Options:
    """Give the options of both questions, with room for a real model that tries a second time."""
    from langgraph_rlm.cli.demo import OFFLINE

    return Options(
        model=model or f"{OFFLINE}:{sub_calls}",
        sub_model=sub_model,
        blob_store=str(folder / "blobs"),
        limits={"max_sub_calls": max(1000, 5 * sub_calls)},
    )


def _run_demo(
    haystack: "Haystack", sub_calls: int, options: Options, db: Path, *, is_real: bool
) -> None:
    """Ask both questions on one thread, and say how the answers compare with the truth.

    Raises:
        RLMError: the offline models gave a wrong answer.
    """
    from langgraph_rlm.cli.demo import questions

    thread = f"demo-{uuid.uuid4().hex[:8]}"
    wrong = 0
    for number, question in enumerate(questions(haystack, sub_calls), 1):
        click.echo(f"\nQuestion {number}: {question.text}")
        context = None
        if number == 1:  # the second question finds it in the REPL
            context = stored_contexts(Named([str(haystack.path)]), options.blob_store)
        job = Job(thread, db, options, question.text, context)
        answer = run_shown(job)["answer"].strip()
        is_right = question.is_right(answer)
        verdict = f"the truth is {question.truth}"
        if is_right and not is_real:
            verdict = "right, as the lines were made"
        print_answer(f"Answer {number}: {answer} ({verdict})")
        wrong += not is_right
    if wrong and not is_real:
        raise RLMError(
            "The offline demo gave a wrong answer. "
            "This is a bug of langgraph-rlm: please report it."
        )


def _first_line(model: str | None, sub_model: str | None) -> str:
    """Say which models the demo uses."""
    if model is None:
        return (
            "Offline demo: the model is scripted, no key is needed. "
            "For a real one: langgraph-rlm demo --model openai:gpt-5 (with OPENAI_API_KEY)"
        )
    if sub_model:
        return f"Demo with {model}, and {sub_model} for the sub-calls"
    return f"Demo with {model}"


def _about_haystack(haystack: "Haystack", *, is_real: bool) -> str:
    """Say how large the lines are, and what a real model has to read."""
    about = f"{haystack.lines:,} lines of random words, {haystack.size / 1e6:.0f} MB"
    if not is_real:
        return about
    millions = max(1, haystack.size // 3_000_000)
    return (
        f"{about}: about {millions} million tokens, and the second question needs them all read. "
        "Mind the price of --sub-model."
    )


@contextmanager
def _demo_folder(keep: bool) -> Generator[Path]:
    """Give a folder for the demo. It stays if asked to, or if a question can be continued."""
    folder = Path(tempfile.mkdtemp(prefix="langgraph-rlm-demo-"))
    try:
        yield folder
    except Unfinished as stop:
        keep = stop.command is not None
        raise
    finally:
        if keep:
            click.echo(f"Kept: {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


@click.command()
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
        _check_demo(lines, sub_calls, model, sub_model)
        click.echo(_first_line(model, sub_model))
        with _demo_folder(keep) as folder:
            haystack = build(folder / "lines.txt", lines=lines, sub_calls=sub_calls, seed=seed)
            click.echo(_about_haystack(haystack, is_real=is_real))
            options = _demo_options(model, sub_model, sub_calls, folder)
            database = db or folder / "threads.db"
            _run_demo(haystack, sub_calls, options, database, is_real=is_real)
