"""The command `langgraph-rlm`: the group of its commands, each of which has a file of its own.

What takes long to import is imported when a command runs.
"""

import io
import sys

import click

from langgraph_rlm.cli.acp_command import acp
from langgraph_rlm.cli.ask_command import ask, resume
from langgraph_rlm.cli.cost_command import cost
from langgraph_rlm.cli.debug import Commands
from langgraph_rlm.cli.demo_command import demo
from langgraph_rlm.cli.doctor_command import doctor
from langgraph_rlm.cli.fork_command import fork
from langgraph_rlm.cli.mcp_command import mcp
from langgraph_rlm.cli.serve_command import serve
from langgraph_rlm.cli.show_command import show, spent
from langgraph_rlm.cli.threads_commands import forget, prune, threads
from langgraph_rlm.cli.trace_command import trace
from langgraph_rlm.cli.ui_command import ui


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="langgraph-rlm", prog_name="langgraph-rlm")
def main() -> None:
    """Recursive Language Models: ask questions about inputs far larger than a model's window."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a screen without UTF-8 shows a ? and goes on


COMMANDS = (
    *(ask, resume, fork, cost),
    *(threads, show, spent, trace, ui, forget, prune),
    *(demo, doctor, serve, mcp, acp),
)
for command in COMMANDS:
    main.add_command(command)
