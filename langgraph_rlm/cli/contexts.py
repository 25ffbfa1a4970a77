"""Contexts of the command: what its arguments name, stored before the run begins."""

import glob
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    pass

STDIN = "-"
UNNAMED = "files"
"""The name of what has none, beside contexts that have one."""
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
NAMED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)


@dataclass
class Named:
    """What the arguments name: files by the name of their context, and those without one."""

    unnamed: list[str] = field(default_factory=list[str])
    named: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def read_arguments(paths: Sequence[str], contexts: Sequence[str]) -> Named:
    """Read what the command was given.

    Args:
        paths: plain arguments: files, folders, patterns, `-` for stdin.
        contexts: values of `--context`: the same, or `NAME=PATH`.

    Raises:
        click.UsageError: a URL, a pattern that nothing matches, or stdin beside other files.
    """
    found = Named()
    for path in paths:
        found.unnamed += _expanded(path)
    for context in contexts:
        name, path = _name_and_path(context)
        if name is None:
            found.unnamed += _expanded(path)
        else:
            found.named[name] = [*found.named.get(name, []), *_expanded(path)]
    groups = [found.unnamed, *found.named.values()]
    if sum(group.count(STDIN) for group in groups) > 1:
        raise click.UsageError("stdin (-) can be given once.")
    if any(STDIN in group and len(group) > 1 for group in groups):
        raise click.UsageError(
            "stdin (-) cannot be one of several files: give it a name of its own, --context NAME=-"
        )
    return found


def stored_contexts(given: Named, blob_store: str | None) -> Any:
    """Store the contexts of a question, and give them as its input.

    This is done before the run: reading stdin may take for ever, and here Ctrl-C simply ends it.

    Returns:
        None for no context, the handle of the only one, or handles by name.
    """
    from langgraph_rlm.cli.files_read import FilesRead
    from langgraph_rlm.storage.blobs import BlobStore
    from langgraph_rlm.storage.ingest import ingest

    if not given.named and not given.unnamed:
        return None
    blobs = BlobStore.open(blob_store)
    with FilesRead() as on_file:
        if not given.named:
            return ingest(_value(given.unnamed), blobs, on_file=on_file)
        named = dict(given.named)
        if given.unnamed:
            named = {UNNAMED: given.unnamed + named.pop(UNNAMED, []), **named}
        return {
            name: ingest(_value(paths), blobs, on_file=on_file) for name, paths in named.items()
        }


def _value(paths: Sequence[str]) -> Any:
    """Give the input that paths stand for."""
    if list(paths) == [STDIN]:
        return sys.stdin
    found = [Path(path) for path in paths]
    return found[0] if len(found) == 1 else found


def _name_and_path(context: str) -> tuple[str | None, str]:
    """Split `NAME=PATH`; a file that has such a name itself is a path."""
    match = NAMED.fullmatch(context)
    if match is None or os.path.exists(context):
        return None, context
    return match[1], match[2]


def _expanded(path: str) -> list[str]:
    """Give the files of a pattern that the shell has left to us; else the path alone."""
    if URL.match(path):
        raise click.UsageError(
            f"{path} is a URL, and this command fetches nothing: download it first "
            "(curl -O URL), and give the file."
        )
    if os.path.exists(path) or not glob.has_magic(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise click.UsageError(f"No file matches {path!r} (seen from {os.getcwd()}).")
    return found
