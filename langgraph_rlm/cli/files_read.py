"""Files read: a line on stderr that says how far the reading of many files is."""

import sys
import time

from langgraph_rlm.hosting.visible import printable
from langgraph_rlm.storage.joined import FileDone

QUIET_SECONDS = 1.0
"""Reading that takes less than this says nothing."""
TERMINAL_SECONDS, LOG_SECONDS = 0.2, 5.0
"""Seconds between two lines: on a terminal one takes the place of the last, a log keeps them."""


class FilesRead:
    """Called after each file; use it as a context manager, which clears the line."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._next = time.monotonic() + QUIET_SECONDS
        self._is_shown = False

    def __enter__(self) -> "FilesRead":
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown and self._is_terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, file: FileDone) -> None:
        """Say how far it is, unless that was said a moment ago."""
        now = time.monotonic()
        if now < self._next:
            return
        line = f"Read {file.done:,} of {file.total:,} files ({printable(file.name)[-60:]})"
        if self._is_terminal:
            self._next = now + TERMINAL_SECONDS
            sys.stderr.write(f"\r\x1b[K{line}")
        else:
            self._next = now + LOG_SECONDS
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
        self._is_shown = True
