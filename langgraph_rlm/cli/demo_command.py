"""Demo command: asks the two questions of the demo on one thread, and compares the answers with the truth."""

import shutil
import tempfile
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.asking import print_answer_of, run_shown, stored_context
from langgraph_rlm.cli.jobs import (
    Job,
    Options,
    Unfinished,
)
from langgraph_rlm.errors import RLMError

if TYPE_CHECKING:
    from langgraph_rlm.cli.demo import Haystack


def check_demo(lines: int, sub_calls: int, model: str | None, sub_model: str | None) -> None:
    if model is None and sub_model is not None:
        raise click.UsageError("--sub-model needs --model: without a model the demo is offline.")
    if lines < 4 * sub_calls:
        raise click.UsageError(
            f"{sub_calls} sub-calls need at least {4 * sub_calls} lines: raise --lines or lower --sub-calls."
        )


def demo_options(model: str | None, sub_model: str | None, sub_calls: int, folder: Path) -> Options:
    """Room for a real model that tries a second time."""
    from langgraph_rlm.cli.demo import OFFLINE

    return Options(
        model or f"{OFFLINE}:{sub_calls}",
        sub_model,
        None,
        str(folder / "blobs"),
        {"max_sub_calls": max(1000, 5 * sub_calls)},
    )


def run_demo(
    haystack: "Haystack", sub_calls: int, options: Options, db: Path, *, real: bool
) -> None:
    """Ask both questions on one thread, and say how the answers compare with the truth."""
    from langgraph_rlm.cli.demo import questions

    thread, wrong = f"demo-{uuid.uuid4().hex[:8]}", 0
    for number, question in enumerate(questions(haystack, sub_calls), 1):
        click.echo(f"\nQuestion {number}: {question.text}")
        context = stored_context((str(haystack.path),), options.blob_store) if number == 1 else None
        answer = run_shown(Job(thread, db, options, question.text, context))["answer"].strip()
        right = question.is_right(answer)
        verdict = (
            "right, as the lines were made"
            if right and not real
            else f"the truth is {question.truth}"
        )
        print_answer_of(f"Answer {number}: {answer} ({verdict})")
        wrong += not right
    if wrong and not real:
        raise RLMError(
            "The offline demo gave a wrong answer. This is a bug of langgraph-rlm: please report it."
        )


def first_line(model: str | None, sub_model: str | None) -> str:
    if model is None:
        return (
            "Offline demo: the model is scripted, no key is needed. "
            "For a real one: langgraph-rlm demo --model openai:gpt-5 (with OPENAI_API_KEY)"
        )
    return f"Demo with {model}" + (f", and {sub_model} for the sub-calls" if sub_model else "")


def about_haystack(haystack: "Haystack", real: bool) -> str:
    about = f"{haystack.lines:,} lines of random words, {haystack.size / 1e6:.0f} MB"
    if not real:
        return about
    size = max(1, haystack.size // 3_000_000)
    return f"{about}: about {size} million tokens, and the second question needs them all read. Mind the price of --sub-model."


@contextmanager
def demo_folder(keep: bool) -> Generator[Path]:
    """A folder for the demo. It stays when asked for, and when the run can be continued."""
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
