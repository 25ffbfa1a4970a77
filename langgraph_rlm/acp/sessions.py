"""Sessions: what a client's conversations are here. Each is a thread, which has the session's id.

A session of another process is found by the mark that its checkpoints have. Runs nothing.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from langgraph_rlm.acp.sdk import RequestError, schema
from langgraph_rlm.acp.shown import Shower
from langgraph_rlm.errors import ContextError, shown
from langgraph_rlm.history.homes import time_of
from langgraph_rlm.hosting.sources import Saver
from langgraph_rlm.pregel.databases import rows_of
from langgraph_rlm.pregel.kept_answers import newest_of
from langgraph_rlm.storage.allowed import Allowed
from langgraph_rlm.storage.json_types import is_dict
from langgraph_rlm.trace.follow import Follower

Files = Literal["named", "folder"]
"""Which files a prompt gets: those that it names, or the whole of the session's folder."""

MARK = "langgraph_rlm_acp"
"""Key of a session's `as_mark` in the metadata of its thread's checkpoints."""
TITLE_CHARS = 80
PAGE = 50
"""Sessions of one answer to `session/list`."""


@dataclass
class Session:
    """One conversation of a client of this process."""

    id: str
    cwd: Path
    """Its folder, as a real path."""
    directories: list[str]
    """Further folders, as the client named them."""
    allowed: Allowed
    """The files that prompts may name."""
    files: Files
    title: str = ""
    always: set[str] = field(default_factory=set[str])
    """Tools whose calls the user approves from now on, for as long as this process runs."""
    notes: list[str] = field(default_factory=list[str])
    """What the client is to be told with the next prompt."""
    work: asyncio.Task[Any] | None = None
    """What answers the prompt that is being answered."""
    follower: Follower | None = None
    shower: Shower | None = None

    @property
    def mark(self) -> Mapping[str, str]:
        """Give the metadata by which another process knows the session."""
        kept = {"cwd": str(self.cwd), "directories": self.directories, "title": self.title}
        return {MARK: json.dumps(kept)}

    def check_free(self) -> None:
        """Refuse what cannot be while a prompt is answered.

        Raises:
            RequestError: one is.
        """
        if self.work is not None:
            raise RequestError(
                -32600,
                "The session answers a prompt: wait for its end, or cancel it (session/cancel).",
            )


class Sessions:
    """The sessions of one client."""

    def __init__(self, saver: Saver, allowed: Sequence[str], files: Files) -> None:
        """Take the checkpointer of all threads.

        Args:
            saver: of the threads.
            allowed: folders that sessions may be in; none for any folder.
            files: which files a new session's prompts get.
        """
        self._saver = saver
        self._bounds = Allowed(allowed) if allowed else None
        self._files: Files = files
        self._known: dict[str, Session] = {}

    def new(self, cwd: str, directories: Sequence[str]) -> Session:
        """Begin a session. Its thread begins with its first prompt.

        Raises:
            ContextError: a folder is not there, or not allowed.
        """
        return self._opened(uuid.uuid4().hex, cwd, directories)

    async def load(self, id: str, cwd: str, directories: Sequence[str]) -> Session:
        """Open a session that has a thread.

        Raises:
            ContextError: as for `new`.
            RequestError: there is none, or it answers a prompt.
        """
        kept = await self._mark(id)
        if kept is None:
            raise unknown(id)
        if id in self._known:
            self._known[id].check_free()
        session = self._opened(id, cwd, directories)
        session.title = str(kept.get("title", ""))
        return session

    def get(self, id: str) -> Session:
        """Give an open session.

        Raises:
            RequestError: there is none of this id.
        """
        session = self._known.get(id)
        if session is None:
            raise unknown(id)
        return session

    def close(self, id: str) -> None:
        """Forget an open session. Its thread stays."""
        self._known.pop(id, None)

    async def listed(
        self, cwd: str | None, cursor: str | None
    ) -> tuple[list[schema.SessionInfo], str | None]:
        """List the sessions that have a thread, the newest first, and where the next page starts.

        Args:
            cwd: of these sessions alone; None for all.
            cursor: what the last page gave.

        Raises:
            RequestError: the cursor is none of ours.
        """
        first = _number(cursor)
        found = [each async for each in self._infos(cwd)]
        found.sort(key=lambda info: info.updated_at or "", reverse=True)
        end = first + PAGE
        return found[first:end], str(end) if end < len(found) else None

    async def _infos(self, cwd: str | None) -> AsyncGenerator[schema.SessionInfo]:
        for thread in await (await rows_of(self._saver)).threads():
            saved = await newest_of(self._saver, thread)
            kept = None if saved is None else mark_in(saved.metadata)
            if saved is None or kept is None or not self._is_listed(kept, cwd):
                continue
            yield schema.SessionInfo(
                session_id=thread,
                cwd=kept["cwd"],
                additional_directories=kept.get("directories") or None,
                title=kept.get("title") or None,
                updated_at=time_of(saved).isoformat(),
            )

    def _is_listed(self, kept: Mapping[str, Any], cwd: str | None) -> bool:
        if cwd is not None and Path(cwd).resolve() != Path(kept["cwd"]):
            return False
        return self._bounds is None or bool(self._bounds.within([kept["cwd"]]).folders)

    async def _mark(self, id: str) -> Mapping[str, Any] | None:
        saved = await newest_of(self._saver, id)
        return None if saved is None else mark_in(saved.metadata)

    def _opened(self, id: str, cwd: str, directories: Sequence[str]) -> Session:
        real = [self._folder(folder) for folder in (cwd, *directories)]
        session = Session(id, real[0], [*directories], Allowed(real), self._files)
        self._known[id] = session
        return session

    def _folder(self, given: str) -> Path:
        """Check a folder that a client names, and give its real path."""
        if "\0" in given or not Path(given).is_absolute():
            raise ContextError(f"A session's folder is an absolute path, not {shown(given)}.")
        if self._bounds is not None:
            folder = self._bounds.path(given)
            if folder.is_dir():
                return folder
        elif Path(given).is_dir():
            return Path(given).resolve()
        raise ContextError(f"{shown(given)} is not a folder.")


def mark_in(metadata: Any) -> Mapping[str, Any] | None:
    """Read the mark of a session in the metadata of a checkpoint; None where there is none."""
    text = metadata.get(MARK)
    kept: Any = json.loads(text) if isinstance(text, str) else None
    return kept if is_dict(kept) and isinstance(kept.get("cwd"), str) else None


def unknown(id: str) -> RequestError:
    """Make the error of a session that is not there."""
    return RequestError(-32002, f"There is no session {shown(id)} here.")


def _number(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if cursor.isascii() and cursor.isdigit() and len(cursor) < 10:
        return int(cursor)
    raise RequestError(-32602, "The cursor is not one of session/list.")
