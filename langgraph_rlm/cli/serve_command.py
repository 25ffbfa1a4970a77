"""The command `langgraph-rlm serve`: parses its arguments, and starts the server."""

from pathlib import Path
from typing import Any

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.options import DECIMAL, WHOLE
from langgraph_rlm.models.resolve import MODEL_VARIABLE
from langgraph_rlm.processes.cores import cores


class Workers(click.ParamType[int]):
    """A number of processes."""

    name = "workers"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if value == "auto":
            return cores()
        return WHOLE.convert(value, param, ctx)


WORKERS = Workers()


@click.command()
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
    help="TOML file with further model ids, and with limits of keys.",
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
    "--skills",
    multiple=True,
    type=click.Path(exists=True, file_okay=False),
    metavar="FOLDER",
    help="A skill (a folder with SKILL.md), or a folder of skills, for every model; repeat it.",
)
@click.option(
    "--cors-origin",
    "cors_origins",
    multiple=True,
    metavar="ORIGIN",
    help="Origin whose pages may ask from a browser, such as http://localhost:3000; repeat it.",
)
@click.option(
    "--workers",
    type=WORKERS,
    default=1,
    show_default=True,
    help="Processes of runs, or 'auto' for one a core.",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    default=0,
    show_default=True,
    help="How long requests are taken after SIGTERM, while /ready says 503.",
)
@click.option(
    "--stop-seconds",
    type=click.FloatRange(min=0),
    default=30,
    show_default=True,
    help="How long those under way may then continue.",
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
    """Serve OpenAI's chat completions, responses and completions over HTTP.

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
