"""Reading: one file by a worker that is locked in, and what it gave, checked. Stores nothing.

A hostile file may take its worker over, and with it what is said of the other files of the same
input, which the same workers read; nothing else.
"""

import importlib.metadata
import importlib.util
import os
import stat
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from langgraph_rlm.documents.answers import OUT
from langgraph_rlm.documents.kinds import PDF, Kind
from langgraph_rlm.documents.names import Distinct, plain
from langgraph_rlm.documents.outcome import Facts, Outcome, Part, Unreadable
from langgraph_rlm.documents.pdfium import lay_out
from langgraph_rlm.processes.pool import Pool
from langgraph_rlm.processes.worker import Bounds, Worker, WorkerFailed, WorkerRefused

MODULE = "langgraph_rlm.documents.answers"
VERSION = 1
"""Of what makes texts of documents: one more when the same file gives another text."""
LIBRARY = "kreuzberg"
INSTALL = "pip install 'langgraph-rlm[documents]'"
WORKERS = min(2, os.cpu_count() or 1)
"""Workers at a time: each takes a core, and up to its memory limit."""
MAX_FACTS = 10_000
"""Characters of what is known of one file."""


@dataclass(frozen=True)
class Limits:
    """What reading one file may take."""

    seconds: float = 60.0
    """For a document."""
    seconds_of_many: float = 600.0
    """For an archive or a mailbox, which are many files in one."""
    memory_bytes: int = 1 << 30
    """Address space of the worker, beside that of an empty Python."""
    unpacked_bytes: int = 4 << 30
    """Bytes of all that comes out of the archives of one input, and of the text of one document."""
    files: int = 100_000
    """Files in all archives of one input."""
    depth: int = 4
    """Archives in archives."""


@dataclass(frozen=True)
class Read:
    """What a worker wrote about one file. Close `out` when it is no longer needed."""

    out: BinaryIO
    outcome: Outcome


@cache
def version() -> str:
    """Name what the texts of documents are made by; another version may make others."""
    try:
        library = importlib.metadata.version(LIBRARY)
    except importlib.metadata.PackageNotFoundError:
        library = ""
    return f"{VERSION} kreuzberg {library}"


def is_missing(kind: Kind) -> bool:
    """Whether the library that a kind needs is not installed."""
    return kind.reader == "library" and importlib.util.find_spec(LIBRARY) is None


class Readers:
    """The workers of one input."""

    def __init__(self, limits: Limits) -> None:
        """Set the limits; a worker starts when it is first needed."""
        self._limits = limits
        bounds = Bounds(memory_bytes=limits.memory_bytes, folder_bytes=limits.unpacked_bytes)
        self._pool = Pool(MODULE, bounds, most=WORKERS)
        self._busy: set[Worker] = set()

    def close(self) -> None:
        """End the workers, also those that read: whoever waits for them is told so."""
        for worker in list(self._busy):
            worker.close()
        self._pool.release_idle()

    def read(self, kind: Kind, path: Path, name: str, max_files: int, max_bytes: int) -> Read:
        """Read a file. Blocks, and may be called from several threads at once.

        Args:
            kind: what it is.
            path: its bytes, in a file that does not change.
            name: its base name, for marks.
            max_files: files that may come out of it.
            max_bytes: bytes that may.

        Raises:
            Unreadable: it is broken, passes a limit, or killed its worker.
            SandboxError: no worker can be started.
        """
        request = {"kind": kind.name, "name": name, "max_files": max_files, "max_bytes": max_bytes}
        seconds = self._limits.seconds
        if kind.reader in ("archive", "mailbox"):
            seconds = self._limits.seconds_of_many
        with self._pool.worker() as worker:
            self._busy.add(worker)
            try:
                given = worker.give(path, "file")
                if kind is PDF:
                    lay_out(worker)
                reply = worker.ask({**request, "path": given}, seconds)
            except WorkerRefused as error:
                raise Unreadable(_refusal(error)) from error
            except WorkerFailed as error:
                raise Unreadable(self._failure(error, seconds)) from error
            finally:
                self._busy.discard(worker)
            if "unreadable" in reply:
                raise Unreadable(plain_reason(reply["unreadable"]))
            return _taken(worker.folder / OUT, reply)

    def _failure(self, error: WorkerFailed, seconds: float) -> str:
        if "too long" in str(error):
            return f"not read within {seconds:g} s"
        megabytes = self._limits.memory_bytes >> 20
        return f"its reader failed, or needed over {megabytes:,} MB of memory: {error}"


def _refusal(error: WorkerRefused) -> str:
    if error.type == "MemoryError":
        return "needs more memory than a file may have"
    return f"broken: {error.type}: {plain_reason(str(error))}"


def plain_reason(reason: object) -> str:
    """Give a reason as one short line."""
    return plain(str(reason).replace("/", "\u2215")).replace("\u2215", "/")


def _taken(path: Path, reply: Any) -> Read:
    """Take over the file that a worker wrote, which then has no name; check what is said of it.

    Raises:
        Unreadable: it is not as it must be.
    """
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        out = os.fdopen(number, "rb")
    except OSError as error:
        raise Unreadable(f"its reader left no text: {error}") from error
    status = os.fstat(number)
    path.unlink()
    try:
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("no regular file")
        return Read(out, checked(reply, status.st_size))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        out.close()
        raise Unreadable(f"its reader gave nonsense: {error}") from error


def checked(given: Any, size: int) -> Outcome:
    """Check what was said of a file of `size` bytes.

    Raises:
        ValueError, TypeError, KeyError, AttributeError: it is no outcome.
    """
    outcome = Outcome.from_dict(given)
    names = Distinct()
    return Outcome(
        parts=tuple(_part(part, size, names) for part in outcome.parts),
        skipped=tuple(map(plain_reason, outcome.skipped)),
    )


def _part(part: Part, size: int, names: Distinct) -> Part:
    if not (0 <= part.start <= part.start + part.size <= size):
        raise ValueError(f"bytes {part.start} to {part.start + part.size} of {size}")
    name = names.name(plain(part.name)) if part.name else ""
    return Part(name, part.start, part.size, bool(part.is_text), _facts(part.facts))


def _facts(facts: Facts) -> Facts:
    if len(str(facts)) > MAX_FACTS:
        return {key: value for key, value in facts.items() if isinstance(value, int)}
    return dict(facts)
