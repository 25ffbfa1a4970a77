"""Monty's out: the folder of the host that a guest has as `out/`, and what it may write there.

The guest has no other files. It makes no links, and its calls are carried out while the host waits
for it: nothing of it runs while the host looks.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import PurePosixPath
from typing import Any

import pydantic_monty as monty

from langgraph_rlm.lazy import per_process
from langgraph_rlm.processes.child import Folder, SharedFolder
from langgraph_rlm.processes.folder import OwnFolder
from langgraph_rlm.repl.base import SandboxCrashed
from langgraph_rlm.repl.local_session import OUT

AT = f"/{OUT}"
"""Where the guest has it. Its working folder is the one around it."""

MAX_MADE = 2_000
"""Most files and folders that a cell may make or write."""

MAKERS = frozenset(
    {
        *("open", "Path.mkdir", "Path.rename"),
        *("Path.write_text", "Path.write_bytes", "Path.append_text", "Path.append_bytes"),
    }
)
"""Calls that may make something."""

LISTERS = frozenset({"Path.iterdir"})


@per_process
def _home() -> Folder:
    """Make the folder around those of all sessions: one with a lock of its own takes 4 ms.

    What a process that was killed leaves is removed by a later one.
    """
    home = OwnFolder() if os.name == "posix" else SharedFolder()
    atexit.register(_end, home, os.getpid())
    return home


def _end(home: Folder, owner: int) -> None:
    if os.getpid() == owner:  # a forked child runs this too
        home.remove()


class MontyOut:
    """The folder of one session, from when it is first asked for until it is closed."""

    def __init__(self, max_bytes: int) -> None:
        """Make nothing yet.

        Args:
            max_bytes: most bytes that it may hold.
        """
        self._max_bytes = max_bytes
        self._path = ""
        self._mount: monty.MountDir | None = None
        self._made = set[int]()

    @property
    def is_there(self) -> bool:
        """Whether it was made."""
        return bool(self._path)

    def folder(self) -> str:
        """Make it, and give the host's path. Raises `SandboxCrashed`."""
        if not self._path:
            try:
                self._path = tempfile.mkdtemp(dir=_home().path)
            except OSError as error:
                raise SandboxCrashed(f"No folder can be made for files: {error}") from error
        return self._path

    def options(self) -> dict[str, Any]:
        """Give what the start of a cell takes, for the guest to have the folder."""
        mount = self.mount()
        return {} if mount is None else {"mount": mount}

    def mount(self) -> monty.MountDir | None:
        """Open the folder for one cell, with the bytes that may still be written."""
        self._release()
        if self._path:
            self._made.clear()
            left = self._max_bytes - _bytes_in(self._path)
            self._mount = monty.MountDir(
                host_path=self._path,
                virtual_path=AT,
                mode="read-write",
                write_bytes_limit=max(left, 0),
            )
        return self._mount

    def answer(self, call: monty.FunctionSnapshot) -> monty.SyncSnapshot:
        """Carry out a call of the operating system: within the folder, or not at all."""
        if self._mount is None:
            return call.resume_not_handled()
        name, path = str(call.function_name), str(call.args[0]) if call.args else ""
        if name in MAKERS and path.startswith(AT):
            self._made.add(hash(path))
            if len(self._made) > MAX_MADE:
                why = f"a cell may write at most {MAX_MADE:,} files and folders in out/"
                return call.resume({"exc_type": "OSError", "message": why})
        if name in LISTERS and (listed := self._listed(path)) is not None:
            return call.resume({"return_value": listed})
        return call.resume_auto()

    def close(self) -> None:
        """Remove it. Safe to call twice."""
        self._release()
        path, self._path = self._path, ""
        if path:
            shutil.rmtree(path)

    def _release(self) -> None:
        if self._mount is not None:
            self._mount.close()
            self._mount = None

    def _listed(self, path: str) -> list[Any] | None:
        """List a folder by name, as a file system on another machine would not; None if it is none.

        Nothing in it is a link: a path that the guest gives, without `..`, stays within.
        """
        parts = path.split("/")
        if parts[:2] != ["", OUT] or ".." in parts:
            return None
        there = os.path.join(self._path, *parts[2:])
        if not os.path.isdir(there):
            return None
        return [PurePosixPath(path, name) for name in sorted(os.listdir(there))]


def _bytes_in(folder: str) -> int:
    """Count the bytes of all files in a folder."""
    total = 0
    for where, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(where, name)).st_size for name in names)
    return total
