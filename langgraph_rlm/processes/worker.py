"""Worker: a locked-in child process that works on hostile files, and answers requests about them.

The host puts files into the worker's `inbox`, which it may only read, and asks. The worker runs one
module's `answer(request)`; it may write in its own `folder` alone, has no network and no other
files of the host, and is ended when it takes too long or too much. What it answers is a
stranger's word.

Where the kernel cannot jail a process (not Linux, or an old kernel), it has limits of time, memory
and files, and the rights of its user.
"""

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import langgraph_rlm
from langgraph_rlm.errors import SandboxError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.processes import jail
from langgraph_rlm.processes.child import LOCKED_IN, WorkerProcess
from langgraph_rlm.processes.folder import OwnFolder, link_or_copy, remove_tree
from langgraph_rlm.processes.frames import Channel, FrameError
from langgraph_rlm.processes.lasting_thread import LastingThread
from langgraph_rlm.processes.quota import Quota
from langgraph_rlm.processes.readable import readable_paths

PROGRAM = Path(__file__).with_name("worker_program.py")
PACKAGE = Path(langgraph_rlm.__file__).absolute().parent
ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "RAYON_NUM_THREADS": "1"}
"""Threads that reserve little address space, which is limited, and few of them."""
LOOK_SECONDS = 0.1
"""How often the host looks at a worker that it waits for."""
START_SECONDS = 60.0


class WorkerFailed(Exception):
    """The worker is lost: it died, took too long, or used too much. The message says which."""


class WorkerRefused(Exception):
    """The worker answered with an exception; the message is the exception's."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type
        """The name of the exception's class."""


@dataclass(frozen=True)
class Bounds:
    """What one worker may use."""

    memory_bytes: int = 1 << 30
    """Address space beside that of an empty Python."""
    folder_bytes: int = 1 << 30
    """Bytes on disk of all that it writes, and of its largest file."""
    files: int = 10_000
    """Files and folders that it writes."""
    threads: int = 64
    reply_bytes: int = 64 << 20
    """Largest answer."""
    reply_parts: int = 4_000_000
    """Most lists, dicts and items of an answer."""


class Worker:
    """One worker. Blocks; for one thread at a time, but `close` is safe from any."""

    def __init__(self, module: str, bounds: Bounds, inbox_at: Path | None = None) -> None:
        """Start a process, let it lock itself in and load the module.

        Args:
            module: dotted name; it has a function `answer(request)`.
            bounds: what it may use.
            inbox_at: a folder on the file system of the files that it will be given, which are
                then linked instead of copied; the temporary folder by default.

        Raises:
            SandboxError: it does not come up.
        """
        self._bounds = bounds
        self._is_jailed = not jail.obstacle()
        self._quota = Quota(bounds.folder_bytes, bounds.files, bounds.threads)
        self._deadline = 0.0
        self._inbox = OwnFolder(inbox_at)
        try:
            self._process = _starter().run(
                lambda: WorkerProcess(PROGRAM, OwnFolder(), LOCKED_IN, ENVIRONMENT)
            )
        except BaseException:
            self._inbox.remove()
            raise
        self._channel = Channel(self._process.stream, max_read=bounds.reply_bytes + (1 << 10))
        self._channel.max_parts = bounds.reply_parts
        self._channel.while_waiting(self._look, LOOK_SECONDS)
        self._greet(module)

    @property
    def folder(self) -> Path:
        """The folder in which it may write. What is in it is a stranger's: follow no link."""
        return Path(self._process.folder.path)

    @property
    def inbox(self) -> Path:
        """The folder of the files that it was given."""
        return Path(self._inbox.path)

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def give(self, source: Path, name: str) -> str:
        """Put a file into the inbox, and give its path there, as the worker knows it.

        It is a link where it can be one: the jail lets nobody write through it.

        Args:
            source: the file.
            name: its name in the inbox, without a slash. One of that name is replaced.
        """
        path = self.inbox / name
        path.unlink(missing_ok=True)
        link_or_copy(source, path, may_link=self._is_jailed)
        return str(path)

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """Ask the module, and wait for its answer.

        Args:
            request: JSON values.
            seconds: how long it may take; then the worker is ended.

        Returns:
            A JSON value, made by a process that hostile input may have taken over.

        Raises:
            WorkerFailed: the worker is lost. Others are not.
            WorkerRefused: the module raised an exception; the worker goes on.
        """
        reply = self._exchange(request, seconds)
        match reply:
            case {"value": value}:
                return value
            case {"error": str(kind), "message": str(message)}:
                raise WorkerRefused(kind, message)
            case _:
                raise self._lost("it sent what is no answer")

    def empty(self) -> None:
        """Remove all files from the inbox, and from the worker's folder, while it does nothing."""
        for path in self.inbox.iterdir():
            path.unlink()
        for path in self.folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                remove_tree(str(path))
            else:
                path.unlink()

    def close(self) -> None:
        """End the process, and remove its folders. Safe to call twice."""
        self._process.discard()
        self._inbox.remove()

    def _greet(self, module: str) -> None:
        bounds = self._bounds
        config = {
            "module": module,
            "path": str(PACKAGE.parent),
            "jail": self._is_jailed,
            "read": [*readable_paths(packages=True), str(PACKAGE), self._inbox.path],
            "folder": self._process.folder.path,
            "file_bytes": bounds.folder_bytes,
            "memory_bytes": bounds.memory_bytes,
            "reply_bytes": bounds.reply_bytes,
            "parent": os.getpid(),
        }
        try:
            hello = self._exchange(config, START_SECONDS)
        except WorkerFailed as error:
            hello = {"failed": str(error)}
        if hello != {"ready": True}:
            self.close()
            raise SandboxError(f"The worker process of {module} did not start: {hello!r}.")

    def _exchange(self, message: Mapping[str, Any], seconds: float) -> Any:
        if not self.is_alive:
            raise self._lost("it had ended")
        self._deadline = time.monotonic() + seconds
        self._process.signal(signal.SIGCONT)
        try:
            self._channel.send(message)
            reply = self._channel.read()
        except (OSError, EOFError, FrameError) as error:
            raise self._lost(str(error)) from error
        self._process.signal(signal.SIGSTOP)  # nothing of it runs while nobody waits for it
        self._end_for(self._quota.excess_in(self._process.folder.path))
        return reply

    def _look(self) -> None:
        """End a worker that takes too long or too much."""
        if time.monotonic() > self._deadline:
            raise self._lost("it took too long")
        if self._is_jailed:
            self._end_for(self._quota.excess(self._process.folder.path, self._process.pid))
        else:
            self._end_for(self._quota.excess_in(self._process.folder.path))

    def _end_for(self, excess: str) -> None:
        if excess:
            raise self._lost(excess)

    def _lost(self, why: str) -> WorkerFailed:
        self._process.kill()
        return WorkerFailed(f"{why} (exit code {self._process.exit_code})")


@per_process
def _starter() -> LastingThread:
    """Give the thread that starts workers: a jailed one dies with the thread that started it."""
    return LastingThread("rlm-worker")
