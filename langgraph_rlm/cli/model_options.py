"""Model options: what the commands take for each of the two models, beside their names.

They are kept with a thread, so none of them may say where a request goes, or with which key: who
can write to a database must not choose who is sent a context.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from langgraph_rlm.cli.options import Command

KNOWN = frozenset(
    {
        "effort",
        "frequency_penalty",
        "include_thoughts",
        "max_retries",
        "max_tokens",
        "presence_penalty",
        "reasoning",
        "reasoning_effort",
        "seed",
        "service_tier",
        "temperature",
        "thinking",
        "thinking_budget",
        "thinking_level",
        "timeout",
        "top_k",
        "top_p",
        "verbosity",
    }
)
"""Options that say how a model answers."""


class ModelOption(click.ParamType[tuple[str, Any]]):
    """`KEY=VALUE`; a value that is JSON is that, else text."""

    name = "option"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if not isinstance(value, str):  # click converts defaults twice
            return value
        key, equals, text = value.partition("=")
        if not equals or key not in KNOWN:
            known = ", ".join(sorted(KNOWN))
            self.fail(f"{value!r} is no option of a model. Write KEY=VALUE, of: {known}.")
        try:
            return key, json.loads(text)
        except ValueError:
            return key, text


def model_options(command: Command) -> Command:
    """Decorate a command with the options and fallbacks of both models."""
    for name, whose in (("sub-", "the sub-calls' model"), ("", "the model that writes the code")):
        command = click.option(
            f"--{name}fallback",
            multiple=True,
            metavar="PROVIDER:MODEL",
            help=f"Asked where {whose} fails; repeat it.",
        )(command)
        command = click.option(
            f"--{name}model-option",
            multiple=True,
            type=ModelOption(),
            metavar="KEY=VALUE",
            help=f"For {whose}, such as reasoning_effort=low; repeat it.",
        )(command)
    return command


def taken_model_options(given: dict[str, Any]) -> dict[str, Any]:
    """Take the values of `model_options` out of a command's arguments, by the names of `Options`'
    fields."""
    options = {"model": given.pop("model_option"), "sub_model": given.pop("sub_model_option")}
    fallbacks = {"model": given.pop("fallback"), "sub_model": given.pop("sub_fallback")}
    return {
        "model_options": {part: dict(pairs) for part, pairs in options.items() if pairs},
        "fallbacks": {part: list(models) for part, models in fallbacks.items() if models},
    }


def known_options(kept: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give what of kept options is one: a database may have anything."""
    return {
        part: {name: value for name, value in options.items() if name in KNOWN}
        for part, options in kept.items()
    }


def merged(
    older: Mapping[str, Mapping[str, Any]], newer: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Give the options of both, the newer ones over the older."""
    parts: Sequence[str] = [*dict.fromkeys([*older, *newer])]
    return {part: {**older.get(part, {}), **newer.get(part, {})} for part in parts}
