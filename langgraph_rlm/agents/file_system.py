"""File system: files of a deep agent as contexts, read through its backend.

What may be read is what the backend gives below the folders that the maker named: the rules of
deepagents' own tools are not asked. Blocks.
"""

import posixpath
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from langgraph_rlm.agents.notes import name_of
from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.context import HandleDict
from langgraph_rlm.storage.ingest import ingest

MOST_FILES = 1_000
"""Files that one question may be about."""


class FileSystem:
    """The files of a deepagents backend, as far as they may be read."""

    def __init__(self, backend: Any, folders: Sequence[str]) -> None:
        """Take a backend.

        Args:
            backend: one of deepagents' (`BackendProtocol`).
            folders: of the backend's paths; `"/"` for all.
        """
        self._backend = backend
        self._folders = [_folder(folder) for folder in folders]

    def contexts(self, paths: Sequence[str], blobs: BlobStore) -> list[HandleDict]:
        """Store files and folders of the backend, each file as a context.

        Raises:
            ContextError: there is no such file, or it may not be read.
        """
        files = [file for path in paths for file in self._files(path)]
        if len(files) > MOST_FILES:
            raise ContextError(
                f"{shown([*paths])} are {len(files):,} files; at most {MOST_FILES:,} at a time."
            )
        found: list[HandleDict] = []
        for given in self._read(files):
            if given.error is not None or not given.content:
                raise ContextError(f"{given.path} cannot be read: {given.error or 'it is empty'}.")
            handle = ingest(given.content, blobs)
            name = name_of(posixpath.basename(given.path), handle.digest)
            found.append({**handle.as_dict(), "name": name, "source": given.path})
        return found

    def _files(self, path: str) -> list[str]:
        """Give the files of a path: itself, or those below it."""
        real = posixpath.normpath(path)
        if not any(real == folder or real.startswith(_below(folder)) for folder in self._folders):
            raise ContextError(
                f"{shown(path)} may not be read: it is in none of {', '.join(self._folders)}."
            )
        if not path.endswith("/") and self._is_file(real):
            return [real]
        found = self._found(real)
        files = [str(each["path"]) for each in found if not each.get("is_dir")]
        inside = [file for file in files if posixpath.normpath(file).startswith(_below(real))]
        if not inside:
            raise ContextError(f"There is no file {shown(path)}.")
        return sorted(inside)

    def _is_file(self, path: str) -> bool:
        [given] = self._read([path])
        return given.error is None

    def _read(self, paths: Sequence[str]) -> list[Any]:
        with _explained(paths):
            return self._backend.download_files([*paths])

    def _found(self, folder: str) -> list[dict[str, Any]]:
        with _explained([folder]):
            return self._backend.glob("**/*", folder).matches or []


@contextmanager
def _explained(paths: Sequence[str]) -> Generator[None]:
    """Tell the model what a backend says of a path, such as one that a link leads outside."""
    try:
        yield
    except ContextError:
        raise
    except (ValueError, OSError) as error:
        raise ContextError(f"{shown([*paths])} cannot be read: {error}.") from error


def _folder(folder: str) -> str:
    return posixpath.normpath(folder)


def _below(folder: str) -> str:
    return folder if folder.endswith("/") else f"{folder}/"
