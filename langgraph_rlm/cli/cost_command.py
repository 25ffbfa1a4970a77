"""The command `langgraph-rlm cost`: says what a question would take, before it is asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from langgraph_rlm.cli.asking import open_display
from langgraph_rlm.cli.contexts import read_arguments, stored_contexts
from langgraph_rlm.cli.display_text import counted, money, seconds
from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_options import Options, environment
from langgraph_rlm.cli.options import WHOLE, json_option
from langgraph_rlm.cli.run_options import context_option, run_options, taken_options
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.hosting.visible import printable

if TYPE_CHECKING:
    from langgraph_rlm.cli.dry_run import Estimate

MOST_TURNS = 10
"""Turns of the root model that a dry run pays for, unless --max-iterations says so."""
MOST_CALLS = 20
"""Most calls of the plan that are listed."""


@click.command()
@click.argument("question")
@click.argument("paths", nargs=-1)
@context_option
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The root's reply, or its code alone: no model is asked, and nothing is paid.",
)
@click.option(
    "--reply-tokens",
    type=WHOLE,
    default=300,
    show_default=True,
    help="Tokens that each reply to a sub-call is thought to have.",
)
@click.option(
    "--latency",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    help="Seconds that each model call is thought to take.",
)
@run_options
@json_option
def cost(
    question: str,
    paths: tuple[str, ...],
    contexts: tuple[str, ...],
    plan: Path | None,
    reply_tokens: int,
    latency: float,
    as_json: bool,
    **options: Any,
) -> None:
    """Say how many calls, tokens, dollars and seconds a QUESTION about PATHS would take.

    A dry run: the root model is asked for real, and paid (with --plan it is not); sub-calls are
    answered by stubs, and tools are not run. A child RLM counts as one call, though it would make
    more. Nothing is kept. What a thread did cost: see spent.
    """
    with edge(as_json):
        from langgraph_rlm.cli.dry_run import Assumed, dry_run, read_plan

        given = _options(taken_options(options), has_plan=plan is not None)
        named = read_arguments(paths, contexts)
        reply = None if plan is None else read_plan(plan)
        with open_display(as_json, None) as display:
            estimate = dry_run(
                question,
                given,
                lambda folder: stored_contexts(named, folder),
                display,
                Assumed(reply_tokens, latency),
                reply,
            )
        if as_json:
            click.echo(json.dumps(estimate.as_json()))
        else:
            _print(estimate)


def _options(given: Options, *, has_plan: bool) -> Options:
    options = given.over(environment())
    if options.graph is not None:
        return options
    if options.model is None and not has_plan:
        raise ConfigurationError(
            "No model: give --model PROVIDER:MODEL, which is asked for its plan, or --plan FILE."
        )
    return replace(options, limits={"max_iterations": MOST_TURNS, **options.limits})


def _print(estimate: "Estimate") -> None:
    usage = estimate.usage
    assumed = estimate.assumed
    click.echo(_paid(estimate))
    click.echo("The question would take:")
    calls = counted(estimate.sub_calls, "sub-call")
    if estimate.children:
        calls += f", of which {counted(estimate.children, 'child RLM')}, counted as one call each"
    _row("calls", calls)
    for call in estimate.calls[:MOST_CALLS]:
        _row("", f"{call.place}  {printable(call.function)}  {call.items:,}")
    if len(estimate.calls) > MOST_CALLS:
        _row("", f"... {counted(len(estimate.calls) - MOST_CALLS, 'more call')} in code")
    _row(
        "tokens in",
        f"{usage['input_tokens']:,}, counted from the prompts, a token for 4 characters",
    )
    _row(
        "tokens out",
        f"{usage['output_tokens']:,}, assuming {assumed.reply_tokens:,} a reply (--reply-tokens)",
    )
    _row("cost", _cost(estimate))
    _row(
        "time",
        f"about {seconds(estimate.seconds, whole=True)}, assuming {assumed.latency:g} s a call "
        "(--latency)",
    )
    if estimate.stop_reason != "answered":
        click.echo(
            f"The plan was not at its end when it reached {estimate.stop_reason}: a real run may "
            "take more.",
            err=True,
        )


def _paid(estimate: "Estimate") -> str:
    root = estimate.root
    if estimate.is_planned:
        return "Dry run of the given plan: nothing was paid."
    amount = money(root["cost"]) if root["cost"] else "an unknown price"
    return (
        f"Dry run. Its {counted(root['model_calls'], 'call')} of the root model were real: "
        f"{root['input_tokens']:,} tokens in, {root['output_tokens']:,} out, {amount}."
    )


def _cost(estimate: "Estimate") -> str:
    usage = estimate.usage
    unknown = counted(usage["unpriced_calls"], "call")
    if not usage["cost"]:
        return "not known: the models have no known price"
    told = f"{money(usage['cost'])}, by the price tables"
    return f"{told}, and {unknown} of unknown price" if usage["unpriced_calls"] else told


def _row(name: str, value: str) -> None:
    click.echo(f"  {name:11} {value}")
