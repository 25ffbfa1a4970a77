"""Allowed: the folders whose files may be read for whoever asks. Reads no file."""

import os
from collections.abc import Sequence
from pathlib import Path

from langgraph_rlm.errors import ContextError, shown


class Allowed:
    """Folders that were named by whoever started the process, or by its user.

    A folder that is read as a context leaves out what its links lead to outside of it
    (`storage/files.py`), so that an allowed folder never gives away another one.
    """

    def __init__(self, folders: Sequence[str | os.PathLike[str]]) -> None:
        """Take the folders; none allows nothing.

        Raises:
            ContextError: one of them is not a folder.
        """
        self.folders = [self._folder(Path(folder)) for folder in folders]

    def path(self, given: str) -> Path:
        """Give the real path of a file or folder that was asked for.

        Args:
            given: absolute, or relative to one of the folders: the first that has it.

        Raises:
            ContextError: it is outside of all folders, or not there. The same words for both, so
                that nobody learns what there is outside.
        """
        if "\0" not in given:
            for folder in self.folders:
                path = Path(os.path.realpath(folder / given))
                if path.is_relative_to(folder) and path.exists():
                    return path
        among = ", ".join(map(str, self.folders)) or "there are none"
        raise ContextError(
            f"There is no file {shown(given)} in the folders that may be read ({among})."
        )

    def within(self, folders: Sequence[str | os.PathLike[str]]) -> "Allowed":
        """Give what is both allowed and in one of some folders, such as the roots of a client."""
        real = [Path(os.path.realpath(folder)) for folder in folders]
        named = [path for path in real if path.is_dir() and _is_in(path, self.folders)]
        around = [path for path in self.folders if path not in named and _is_in(path, real)]
        return Allowed([*named, *around])

    @staticmethod
    def _folder(folder: Path) -> Path:
        path = Path(os.path.realpath(folder))
        if not path.is_dir():
            raise ContextError(f"{folder} is not a folder: name one whose files may be read.")
        return path


def _is_in(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)
