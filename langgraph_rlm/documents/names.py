"""Names: of files in archives and mails, made fit to be shown and to be keys. Nothing is ever
written under them."""

import re
from pathlib import PurePosixPath

MAX_NAME = 300
"""Characters of a name; a longer one loses its middle."""

_UNSHOWN = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\ud800-\udfff]")
"""Control characters, what turns the direction of text, and halves of characters."""


def plain(name: str) -> str:
    """Make a relative path of any name: no drive, no root, no way up, nothing that cannot be seen.

    Returns:
        At least one character, at most `MAX_NAME`.
    """
    name = _UNSHOWN.sub("\ufffd", name.replace("\\", "/"))
    name = re.sub("^[A-Za-z]:", "", name)
    parts = [part.strip() for part in name.split("/")]
    kept = "/".join(part for part in parts if part not in ("", ".", "..")) or "unnamed"
    if len(kept) > MAX_NAME:
        kept = f"{kept[: MAX_NAME // 2 - 3]}...{kept[-MAX_NAME // 2 :]}"
    return kept


def is_hidden(name: str) -> bool:
    """Whether a path is one that people do not see: `.git/config`, `__MACOSX/a`."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


class Distinct:
    """Gives every file a name of its own, where an archive has the same name twice."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def name(self, name: str) -> str:
        """Give the name, with a number before its extension if it was given before."""
        times = self._times[name] = self._times.get(name, 0) + 1
        if times == 1:
            return name
        path = PurePosixPath(name)
        return self.name(str(path.with_name(f"{path.stem} ({times}){path.suffix}")))
