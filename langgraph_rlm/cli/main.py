"""The command `langgraph-rlm`: parse, call, print. What is heavy is imported when a command runs."""

import asyncio
import json
import shutil
import sys
import tempfile
import uuid
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from langgraph_rlm.cli.jobs import (
    STOPPED,
    Job,
    Options,
    Result,
    Unfinished,
    default_db,
    open_job,
    run,
)
from langgraph_rlm.errors import RLMError
from langgraph_rlm.models.resolve import MODEL_VARIABLE

if TYPE_CHECKING:
    from langgraph_rlm.cli.demo import Haystack
    from langgraph_rlm.storage.context import ContextHandle

Command = TypeVar("Command", bound=Callable[..., Any])
FAILED = 1
"""Exit code of an error; 2 is a wrong command line."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="langgraph-rlm", prog_name="langgraph-rlm")
def main() -> None:
    """Recursive Language Models: ask questions about inputs far larger than a model's window."""


WHOLE, DECIMAL = click.IntRange(min=1), click.FloatRange(min=0, min_open=True)
LIMITS: dict[str, tuple[click.ParamType[Any], str]] = {
    "max-depth": (WHOLE, "Depth of the tree of RLMs; 1 means plain sub-calls.  [default: 1]"),
    "max-iterations": (WHOLE, "Turns of a root model for one question.  [default: 30]"),
    "max-sub-calls": (click.IntRange(min=0), "Sub-calls over the whole tree.  [default: 1000]"),
    "max-concurrency": (WHOLE, "Model calls at once.  [default: 16]"),
    "max-tokens": (WHOLE, "Tokens over the whole tree, in and out.  [default: no limit]"),
    "max-cost": (DECIMAL, "US dollars over the whole tree.  [default: no limit]"),
    "max-seconds": (DECIMAL, "Seconds that the run works.  [default: no limit]"),
    "max-cell-seconds": (DECIMAL, "Seconds that one cell of code may compute.  [default: 30]"),
    "max-heap-bytes": (click.IntRange(min=1 << 20), "Memory of one interpreter.  [default: 1 GiB]"),
    "max-output-chars": (
        click.IntRange(min=100),
        "Characters of a cell's output that the model sees.  [default: 20000]",
    ),
}


def _limits(command: Command) -> Command:
    for name, (kind, text) in reversed(LIMITS.items()):
        command = click.option(f"--{name}", type=kind, metavar="N", help=text)(command)
    return command


@main.command()
@click.argument("question", required=False)
@click.option(
    "--context",
    "-c",
    "contexts",
    multiple=True,
    metavar="PATH",
    help="A file, a folder, or - for stdin; files: repeat it.",
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
@_limits
@click.option(
    "--sandbox",
    type=click.Choice(["monty", "local"]),
    help="What runs the code; local is NOT isolated.  [default: monty]",
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
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object on stdout: answer, stop_reason, usage and thread, or error.",
)
def ask(
    question: str | None,
    contexts: tuple[str, ...],
    model: str | None,
    sub_model: str | None,
    sandbox: str | None,
    db: Path | None,
    thread: str | None,
    resume: str | None,
    as_json: bool,
    **limits: float | None,
) -> None:
    """Ask a question about files, folders or stdin.

    The answer goes to stdout, how it is found to stderr. Ctrl-C stops the run and keeps what is finished: --resume continues it.
    """
    with _edge(as_json):
        _check_question(question, contexts, thread, resume)
        given = Options(
            model,
            sub_model,
            sandbox,
            None,
            {name: limit for name, limit in limits.items() if limit is not None},
        )
        job = open_job(
            resume or thread or uuid.uuid4().hex[:8], db or default_db(), given, question
        )
        job.context = _context(contexts, job.options.store)
        _print_result(_run(job, quiet=as_json), job, as_json)


def _check_question(
    question: str | None, contexts: tuple[str, ...], thread: str | None, resume: str | None
) -> None:
    if resume is not None and (question is not None or contexts or thread is not None):
        raise click.UsageError(
            "--resume continues the run's own question: give no QUESTION, --context or --thread with it."
        )
    if resume is None and question is None:
        raise click.UsageError("Missing argument 'QUESTION': what to ask, or --resume THREAD.")
    if question is not None and not question.strip():
        raise click.UsageError("The QUESTION is empty: say what to ask.")
    if "" in (thread, resume):
        raise click.UsageError(
            f"--{'thread' if thread == '' else 'resume'} needs the name of a thread, not an empty one."
        )
    if "-" in contexts and len(contexts) > 1:
        raise click.UsageError("--context - (stdin) cannot be given together with other contexts.")


def _run(job: Job, *, quiet: bool = False) -> Result:
    from langgraph_rlm.cli.display import open_display

    with open_display(quiet=quiet, live=sys.stdout.isatty()) as display:
        result = run(job, display)
        display.done(result["usage"])
    return result


def _context(paths: tuple[str, ...], store: str | None) -> "ContextHandle | None":
    """Store the contexts before the run: reading stdin may take for ever, and here Ctrl-C simply ends it."""
    from langgraph_rlm.storage.blobs import BlobStore
    from langgraph_rlm.storage.context import ingest

    if not paths:
        return None
    if paths == ("-",):
        return ingest(sys.stdin, BlobStore.open(store))
    found = [Path(path) for path in paths]
    return ingest(found[0] if len(found) == 1 else found, BlobStore.open(store))


def _print_result(result: Result, job: Job, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(result))
        return
    _print_answer(result["answer"])
    if result["stop_reason"] != "answered":
        best = (
            "this is its best answer so far"
            if result["answer"].strip()
            else "it has no answer so far"
        )
        click.echo(f"The run reached its limit {result['stop_reason']}: {best}.", err=True)
    click.echo(f"To go on: {job.command('--thread', result['thread'], 'NEXT QUESTION')}", err=True)


def _print_answer(answer: str) -> None:
    """Formatted for a terminal; as it is, but for what cannot be encoded, into a pipe."""
    if not sys.stdout.isatty():
        encoding = sys.stdout.encoding or "utf-8"
        click.echo(answer.encode(encoding, "replace").decode(encoding))
        return
    from langgraph_rlm.cli.display import print_answer

    print_answer(answer)


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
    """Find a needle in 1,000,000 lines, then answer a question for which sub-models must read them all."""
    from langgraph_rlm.cli.demo import build

    with _edge():
        _check_demo(lines, sub_calls, model, sub_model)
        click.echo(_first_line(model, sub_model))
        with _folder(keep) as folder:
            haystack = build(folder / "lines.txt", lines=lines, sub_calls=sub_calls, seed=seed)
            click.echo(_about(haystack, real=model is not None))
            options = _demo_options(model, sub_model, sub_calls, folder)
            _run_demo(
                haystack, sub_calls, options, db or folder / "threads.db", real=model is not None
            )


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
    help=f"The model behind the id 'rlm', such as gpt-5 or anthropic/NAME.  [default: ${MODEL_VARIABLE}]",
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
    help="SQLite file, or PostgreSQL URL for several servers.  [default: in the user's data folder]",
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
@click.option("--force", is_flag=True, help="Serve other machines without a key.")
def serve(config: Path | None, force: bool, **options: Any) -> None:
    """Serve OpenAI's chat completions over HTTP.

    Any OpenAI client works with its base URL set to http://HOST:PORT/v1. OPENAI_BASE_URL and OPENAI_API_KEY are those of the models
    behind it; $LANGGRAPH_RLM_API_KEY has the keys that clients must give, separated by commas.
    """
    with _edge():
        from langgraph_rlm.server.run import serve as run_server
        from langgraph_rlm.server.settings import settings_of

        run_server(
            settings_of(config, options),
            is_forced=force,
            say=lambda line: click.echo(line, err=True),
        )


def _check_demo(lines: int, sub_calls: int, model: str | None, sub_model: str | None) -> None:
    if model is None and sub_model is not None:
        raise click.UsageError("--sub-model needs --model: without a model the demo is offline.")
    if lines < 4 * sub_calls:
        raise click.UsageError(
            f"{sub_calls} sub-calls need at least {4 * sub_calls} lines: raise --lines or lower --sub-calls."
        )


def _demo_options(
    model: str | None, sub_model: str | None, sub_calls: int, folder: Path
) -> Options:
    """Room for a real model that tries a second time."""
    from langgraph_rlm.cli.demo import OFFLINE

    return Options(
        model or f"{OFFLINE}:{sub_calls}",
        sub_model,
        None,
        str(folder / "blobs"),
        {"max_sub_calls": max(1000, 5 * sub_calls)},
    )


def _run_demo(
    haystack: "Haystack", sub_calls: int, options: Options, db: Path, *, real: bool
) -> None:
    """Ask both questions on one thread, and say how the answers compare with the truth."""
    from langgraph_rlm.cli.demo import questions

    thread, wrong = f"demo-{uuid.uuid4().hex[:8]}", 0
    for number, question in enumerate(questions(haystack, sub_calls), 1):
        click.echo(f"\nQuestion {number}: {question.text}")
        context = _context((str(haystack.path),), options.store) if number == 1 else None
        answer = _run(Job(thread, db, options, question.text, context))["answer"].strip()
        right = question.is_right(answer)
        verdict = (
            "right, as the lines were made"
            if right and not real
            else f"the truth is {question.truth}"
        )
        _print_answer(f"Answer {number}: {answer} ({verdict})")
        wrong += not right
    if wrong and not real:
        raise RLMError(
            "The offline demo gave a wrong answer. This is a bug of langgraph-rlm: please report it."
        )


def _first_line(model: str | None, sub_model: str | None) -> str:
    if model is None:
        return (
            "Offline demo: the model is scripted, no key is needed. "
            "For a real one: langgraph-rlm demo --model openai:gpt-5 (with OPENAI_API_KEY)"
        )
    return f"Demo with {model}" + (f", and {sub_model} for the sub-calls" if sub_model else "")


def _about(haystack: "Haystack", real: bool) -> str:
    about = f"{haystack.lines:,} lines of random words, {haystack.size / 1e6:.0f} MB"
    if not real:
        return about
    size = max(1, haystack.size // 3_000_000)
    return f"{about}: about {size} million tokens, and the second question needs them all read. Mind the price of --sub-model."


@contextmanager
def _folder(keep: bool) -> Generator[Path]:
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


# The edge: every error is one line, and an exit code


@contextmanager
def _edge(as_json: bool = False) -> Generator[None]:
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            yield
    except Unfinished as stop:
        stopped = isinstance(stop.cause, asyncio.CancelledError)
        _leave(
            _explained(stop.cause),
            stop.cause,
            as_json,
            STOPPED if stopped else FAILED,
            stop.command,
        )
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        _leave("", error, as_json, STOPPED)
    except click.ClickException as error:
        if not as_json:
            raise
        _leave(error.format_message(), error, as_json, FAILED)
    except Exception as error:  # noqa: BLE001 - the edge: users get a line, not a traceback
        _leave(_explained(error), error, as_json, FAILED)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    click.echo(f"Warning: {_one_line(str(message))}", err=True)


def _leave(
    message: str, error: BaseException, as_json: bool, code: int, command: str | None = None
) -> NoReturn:
    """Say what happened and how to go on, on stderr or as JSON, and exit."""
    if code == STOPPED:
        message = "Stopped." if command else "Stopped: there is nothing to continue."
    if as_json:
        kind = "Interrupted" if code == STOPPED else type(error).__name__
        click.echo(json.dumps({"error": {"type": kind, "message": message, "resume": command}}))
    else:
        shown, gap = (message, " ") if code == STOPPED else (f"Error: {message}", "\n")
        click.echo(f"{shown}{gap}Continue with: {command}" if command else shown, err=True)
    sys.exit(code)


def _explained(error: BaseException) -> str:
    """What went wrong, on one line; our own messages say it all, others need their type, and clients' why and where."""
    text = _one_line(str(error))
    if isinstance(error, RLMError):
        return text
    url, cause = (
        getattr(getattr(error, "request", None), "url", ""),
        _one_line(str(_first_cause(error))),
    )
    more = ": ".join(part for part in (str(url), cause if cause not in text else "") if part)
    return f"{type(error).__name__}: {text}".removesuffix(": ") + (f" ({more})" if more else "")


def _first_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None and str(error.__cause__):
        error = error.__cause__
    return error


def _one_line(text: str, most: int = 500) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most]}..."
