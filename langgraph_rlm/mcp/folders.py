"""Folders: which files a client may ask about: in the command's folders, and in its own roots.

Reads no file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.allowed import Allowed


@dataclass(frozen=True)
class Folders:
    """What may be read here."""

    allowed: Allowed = field(default_factory=lambda: Allowed([]))
    """Nothing outside of these is ever read."""
    are_of_client: bool = False
    """Whether a client's roots take the place of `allowed`, instead of narrowing it. Only where
    the client has started this process, and could have named them itself."""

    @staticmethod
    def of_client(working: Path) -> "Folders":
        """Give the folders of a command that was told none: the client's roots, and the working
        directory for a client without roots. None of them may be as wide as a home folder."""
        narrow = [] if _is_wide(working) else [working]
        return Folders(Allowed(narrow), are_of_client=True)

    def for_roots(self, roots: Sequence[Path] | None) -> Allowed:
        """Give what a client may have read.

        Args:
            roots: its own; None of a client that has no such thing.
        """
        if roots is None:
            return self.allowed
        if self.are_of_client:
            return Allowed([root for root in roots if root.is_dir() and not _is_wide(root)])
        return self.allowed.within(roots)


def paths_of(result: Any) -> list[Path]:
    """Read the folders of an MCP `ListRootsResult`. Roots that are not files are left out."""
    uris = [urlsplit(str(root.uri)) for root in result.roots]
    found = [unquote(uri.path) for uri in uris if uri.scheme == "file" and uri.netloc in HOSTS]
    return [Path(url2pathname(path)) for path in found if path and "\0" not in path]


HOSTS = ("", "localhost")
"""The hosts of a `file:` URI that is this machine's."""


def checked(given: Sequence[str], allowed: Allowed) -> list[Path]:
    """Give the real paths of what was asked for.

    Raises:
        ContextError: one of them is outside of what may be read, or not there.
    """
    if given and not allowed.folders:
        raise ContextError(
            "No folder may be read here: the server was started without FOLDERS, or the client's "
            "roots have none of them. Start it with the folders (langgraph-rlm mcp FOLDER), or "
            "give the text itself as `text`."
        )
    return [allowed.path(path) for path in given]


def _is_wide(folder: Path) -> bool:
    """Whether a folder is a home folder, or has one in it, as `/` does."""
    return Path.home().resolve().is_relative_to(folder.resolve())
