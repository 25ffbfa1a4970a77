"""The command `acp`: an agent for editors and harnesses, on stdin and stdout. Parses and calls."""

from typing import Any

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_options import environment
from langgraph_rlm.cli.kept_threads import Place
from langgraph_rlm.cli.options import db_option
from langgraph_rlm.cli.run_options import run_options, taken_options
from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.models.resolve import MODEL_VARIABLE


@click.command()
@db_option
@click.option(
    "--allow",
    multiple=True,
    metavar="FOLDER",
    type=click.Path(exists=True, file_okay=False),
    help="A folder that sessions may be in; repeat it.  [default: any that the client names]",
)
@click.option(
    "--context-folder",
    is_flag=True,
    help="The whole folder of a session comes with each prompt. Clients can change it.",
)
@run_options
def acp(db: str | None, allow: tuple[str, ...], context_folder: bool, **given: Any) -> None:
    """Be an agent of the Agent Client Protocol, on stdin and stdout.

    Editors and evaluation harnesses start this command, and ask, follow, approve and cancel over
    it. Logs go to stderr. It ends when the client closes stdin.
    """
    with edge():
        from langgraph_rlm.acp.serving import run
        from langgraph_rlm.cli.ui_source import open_source

        options = taken_options(given)
        if options.graph is None and options.over(environment()).model is None:
            raise ConfigurationError(
                "No model: give --model PROVIDER:MODEL, such as openai:gpt-5, or set "
                f"{MODEL_VARIABLE}."
            )
        place = Place.of(db)
        files = "folder" if context_folder else "named"
        run(lambda: open_source(place, options), allowed=allow, files=files)
