"""Input files: contexts as files that code may open, map into memory and parse in pieces.

The host puts a context there when code first asks for its path: what nobody opens costs nothing. A
context has the same path in every session, so code that is run again finds it.
"""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from langgraph_rlm.errors import SandboxError
from langgraph_rlm.repl.base import Inputs, Sharing
from langgraph_rlm.storage.backends import CHUNK
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import ContextHandle, facts_of, manifest

SINCE = 4
"""The first rules of turns whose code knows of paths."""

ENDING = "_path"
"""What stands behind the name of a context in the name of its path."""

ONE_FILE = ("text", "image", "audio")
"""Kinds of contexts that may have come from one file."""

SUFFIXES = {"text": ".txt", "files": "", "image": "", "audio": ""}
"""Of the files of contexts that came from no file. All other kinds are JSON Lines."""

MOST_OF_A_SUFFIX = 12
"""Characters."""


class InputFiles:
    """The files of one session."""

    def __init__(self, session: Sharing, blobs: BlobStore) -> None:
        self._session = session
        self._blobs = blobs
        self._paths: dict[str, str] = {}

    def path(self, place: str, handle: ContextHandle) -> str:
        """Give the path by which code opens a context, which is there from now on.

        It is a file as it was given: the text, or the original that the text was made from, such as
        a PDF. Of several files it is a folder.

        Args:
            place: the context's own name, such as `context_0`.
            handle: of the context.

        Raises:
            BlobError: a blob is missing or altered.
            SandboxError: the file cannot be written.
        """
        if place not in self._paths:
            inputs = self._session.inputs()
            name = place + _suffix(handle, self._own_name(handle))
            try:
                self._put(Path(inputs.folder, name), handle, inputs)
            except OSError as error:
                raise SandboxError(
                    f"{place} cannot be put where code may open it: {error}. Is the disk full?"
                ) from error
            self._paths[place] = f"{inputs.known_as}/{name}"
        return self._paths[place]

    def _own_name(self, handle: ContextHandle) -> str:
        """Give the name of the file that a context came from; empty for none."""
        return handle.source or next(iter(facts_of(handle, self._blobs)), "")

    def _put(self, target: Path, handle: ContextHandle, inputs: Inputs) -> None:
        facts = facts_of(handle, self._blobs)
        if handle.kind != "files":
            original = _original(facts, next(iter(facts), ""))
            self._blobs.put_at(target, original or handle.digest, may_link=inputs.is_locked)
            return
        target.mkdir()
        with self._blobs.path(handle.digest).open("rb") as text:
            for number, (name, start, size) in enumerate(manifest(handle, self._blobs)):
                file = _free(target, name, number)
                if original := _original(facts, name):
                    self._blobs.put_at(file, original, may_link=inputs.is_locked)
                else:
                    text.seek(start)
                    _copy(text, file, size)


def _original(facts: Mapping[str, Mapping[str, object]], name: str) -> str:
    """Give the digest of a file's own bytes, where its text is not these; else nothing."""
    return str(facts.get(name, {}).get("original") or "")


def _suffix(handle: ContextHandle, name: str) -> str:
    """Give the suffix of the file that a context came from, by which readers guess what it is."""
    suffix = PurePosixPath(name).suffix
    is_plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= MOST_OF_A_SUFFIX
    if handle.kind in ONE_FILE and is_plain:
        return suffix
    return SUFFIXES.get(handle.kind, ".jsonl")


def _free(folder: Path, name: str, number: int) -> Path:
    """Give where a file of a folder goes: by its name or, where that cannot be had, by its number.

    Names come from archives and mail, so nothing is believed of them: one could lead out of the
    folder, be too long, or be that of a folder too.
    """
    parts = name.split("/")
    if not {"", ".", ".."}.intersection(parts) and "\0" not in name:
        target = folder.joinpath(*parts)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.lstat(target)
        except FileNotFoundError:
            return target
        except OSError:  # too long, or below a file: its number will do
            pass
    number_name = f"file_{number}"
    while os.path.lexists(folder / number_name):
        number_name = f"_{number_name}"
    return folder / number_name


def _copy(text: BinaryIO, file: Path, size: int) -> None:
    with file.open("xb") as out:
        while size > 0:
            size -= out.write(text.read(min(size, CHUNK)))
