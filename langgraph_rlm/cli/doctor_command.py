"""The command `langgraph-rlm doctor`: prints what `doctor.py` finds."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.cli.edge import edge
from langgraph_rlm.cli.kept_options import default_db
from langgraph_rlm.models.resolve import MODEL_VARIABLE

if TYPE_CHECKING:
    from langgraph_rlm.cli.doctor import Finding, Mark

PART_WIDTH = 30
SIGNS: "Mapping[Mark, str]" = {"ok": "ok  ", "none": "-   ", "fault": "FAIL"}
COLOURS: "Mapping[Mark, str | None]" = {"ok": "green", "none": None, "fault": "red"}


@click.command()
@click.option(
    "--model",
    "-m",
    metavar="PROVIDER:MODEL",
    help=f"The model whose window and price are shown.  [default: ${MODEL_VARIABLE}]",
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file of the threads.  [default: in the user's data folder]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
def doctor(model: str | None, db: Path | None, as_json: bool) -> None:
    """Tell what this machine has: sandboxes, versions, keys, model, database, blob store.

    Each sandbox runs a cell, and one that isolates has to refuse a cell that tries to get out. No
    model is asked, and no key is shown. Ends with 1 if a part is there and does not work.
    """
    with edge(as_json):
        from langgraph_rlm.cli.doctor import examine

        findings = examine(db or default_db(), model)
        faults = _print_json(findings) if as_json else _print_lines(findings)
    sys.exit(1 if faults else 0)


def _print_json(findings: "Iterable[Finding]") -> int:
    found = list(findings)
    click.echo(json.dumps({"findings": [asdict(finding) for finding in found]}))
    return sum(finding.mark == "fault" for finding in found)


def _print_lines(findings: "Iterable[Finding]") -> int:
    """Print each finding as it comes, and give how many faults there are."""
    faults = 0
    for finding in findings:
        sign = click.style(SIGNS[finding.mark], fg=COLOURS[finding.mark])
        click.echo(f"{sign} {finding.part:{PART_WIDTH}} {finding.said}")
        faults += finding.mark == "fault"
    return faults
