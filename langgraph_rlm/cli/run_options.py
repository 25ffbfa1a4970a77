"""Run options: what the commands that run or plan a question take, as `Options`."""

from pathlib import Path
from typing import Any

import click

from langgraph_rlm.cli.graphs import absolute
from langgraph_rlm.cli.kept_options import Options
from langgraph_rlm.cli.model_options import model_options, taken_model_options
from langgraph_rlm.cli.options import LIMITS, WHOLE, Command, graph_option, limit_options
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.repl import NAMES

context_option = click.option(
    "--context",
    "-c",
    "contexts",
    multiple=True,
    metavar="[NAME=]PATH",
    help="As PATHS, or under a name of its own, such as old=a.pdf; repeat it.",
)


def run_options(command: Command) -> Command:
    """Decorate a command with the options that say which graph answers, and within which limits."""
    for option in (
        click.option(
            "--sandbox",
            type=click.Choice(NAMES),
            help="What runs the code; local is NOT isolated.  "
            "[default: auto, which is python or monty]",
        ),
        click.option(
            "--window-tokens",
            type=WHOLE,
            metavar="N",
            help="Tokens that the model takes.  [default: what is known of it, else 128000]",
        ),
        click.option(
            "--skills",
            multiple=True,
            type=click.Path(exists=True, file_okay=False),
            metavar="FOLDER",
            help="A skill (a folder with SKILL.md), or a folder of skills; repeat it.",
        ),
        limit_options,
        graph_option,
        model_options,
        click.option(
            "--sub-model",
            metavar="PROVIDER:MODEL",
            help="Answers the sub-calls.  [default: the model]",
        ),
        click.option(
            "--model",
            "-m",
            metavar="PROVIDER:MODEL",
            help=f"Writes the code.  [default: ${MODEL_VARIABLE}]",
        ),
    ):
        command = option(command)
    return command


def taken_options(given: dict[str, Any]) -> Options:
    """Take the values of `run_options` out of a command's arguments.

    Raises:
        click.UsageError: a graph of the user's own, and an option that is the graph's.
    """
    limits: dict[str, float | None] = {
        name: given.pop(name) for name in (limit.replace("-", "_") for limit in LIMITS)
    }
    others = {name: given.pop(name) for name in ("model", "sub_model", "window_tokens", "sandbox")}
    others["skills"] = tuple(str(Path(each).absolute()) for each in given.pop("skills")) or None
    graph: str | None = given.pop("graph")
    more = taken_model_options(given)
    set_limits = {name: limit for name, limit in limits.items() if limit is not None}
    if graph is None:
        others["skills"] = others["skills"] or ()
        return Options(**others, **more, limits=set_limits)
    wrong = [name for name, value in {**others, **set_limits}.items() if value is not None]
    wrong += [name for name, value in more.items() if value]
    if wrong:
        option = f"--{wrong[0].replace('_', '-')}"
        raise click.UsageError(f"--graph has models and limits of its own: give no {option}.")
    return Options(graph=absolute(graph))
