"""Debug: the option of every command that shows the traceback of an error."""

import os
from typing import Any

import click

VARIABLE = "LANGGRAPH_RLM_DEBUG"
_KEY = "langgraph_rlm.debug"


def _remember(context: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().meta[_KEY] = True


class Debug(click.Option):
    """`--debug`, before or after the name of a command."""

    def __init__(self) -> None:
        super().__init__(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_remember,
            help=f"Show the traceback of an error too; so does ${VARIABLE}=1.",
        )


class Commands(click.Group):
    """A group whose commands take `--debug`, and that says what a wrong name may have meant."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.params.append(Debug())

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with the option."""
        super().add_command(cmd, name)
        if not any(isinstance(param, Debug) for param in cmd.params):
            cmd.params.append(Debug())


def is_debugging() -> bool:
    """Whether the traceback of an error is wanted."""
    context = click.get_current_context(silent=True)
    is_asked = context is not None and context.find_root().meta.get(_KEY, False)
    return is_asked or os.environ.get(VARIABLE, "") not in ("", "0")
