"""Out files: what a run of the command gave back: where it is saved, and what is said of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from langgraph_rlm.errors import ContextError

if TYPE_CHECKING:
    from langgraph_rlm.cli.jobs import Job, Result

MOST_NAMES = 10
"""Most files that are named where none is saved."""


def made_folder(out: Path | None) -> Path | None:
    """Make the folder of `--out`, before anything is paid.

    Raises:
        ContextError: it cannot be made.
    """
    if out is None:
        return None
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"--out {str(out)!r} cannot be made: {error}. Give another folder."
        raise ContextError(message) from error
    return out


def save_result(result: "Result", job: "Job") -> list[Path]:
    """Save the files of a run where the job says, and add to each where it is.

    Raises:
        BlobError: the store does not have one.
        ContextError: one cannot be written.
    """
    if job.out is None or not result["files"]:
        return []
    from langgraph_rlm.storage.out_files import save_files

    paths = save_files(result["files"], job.out, blob_store=job.options.blob_store)
    saved = zip(result["files"], paths, strict=True)
    result["files"] = [{**file, "path": str(path)} for file, path in saved]
    return paths


def print_files(result: "Result", job: "Job", saved: Sequence[Path]) -> None:
    """Say where files are saved, or how to save them."""
    from langgraph_rlm.cli.display_text import counted
    from langgraph_rlm.hosting.visible import printable

    for path in saved:
        click.echo(f"Saved: {printable(str(path))}", err=True)
    files = result["files"]
    if saved or not files:
        return
    names = ", ".join(printable(file["name"]) for file in files[:MOST_NAMES])
    more = ", ..." if len(files) > MOST_NAMES else ""
    save = job.command("resume", result["thread"], "--out", "DIR")
    told = f"{counted(len(files), 'file')} to save: {names}{more}. To save them: {save}"
    click.echo(told, err=True)
