"""Folder: the one that a worker writes in, or is given files in. It is removed, and left to nobody.

What is in it was made by a stranger: nothing here follows a link, or trusts a depth or a mode.
"""

import errno
import itertools
import logging
import os
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LOG = logging.getLogger(__name__)
PREFIX = "langgraph-rlm-jail-"
NO_LINKS = frozenset({errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK})
"""What hard links fail with where a file system has none, or none from another one."""
PATIENCE_SECONDS = 1.0
"""How long the removal of a folder is waited for."""
SETTLED_SECONDS = 60
"""A folder that is younger may not be locked yet by the process that makes it."""


class OwnFolder:
    """A folder that goes with this process at the latest: a later process removes what is left.

    A lock on it tells that its process is alive.
    """

    def __init__(self, at: Path | None = None) -> None:
        """Make it.

        Args:
            at: the folder that it is made in; that of temporary files for None, and where this
                process may not write.
        """
        is_open = at is not None and os.access(at, os.W_OK)
        parent = str(at) if is_open else tempfile.gettempdir()
        _remove_left(parent)
        self.path = os.path.realpath(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._held = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        _lock(self._held)

    def remove(self) -> None:
        """Remove it with all in it, once the worker has ended. Safe to call twice.

        If that takes long, it goes on in the background: ten thousand folders can take 20 seconds.
        """
        if self._held >= 0:
            held, self._held = self._held, -1
            removal = threading.Thread(
                target=_remove, args=(self.path, held), name="rlm-remove", daemon=True
            )
            removal.start()
            removal.join(PATIENCE_SECONDS)


def _remove(path: str, held: int) -> None:
    try:
        remove_tree(path)
    except FileNotFoundError:
        LOG.debug("%s went with the folder that it was in", path)
    finally:
        os.close(held)


@cache
def _remove_left(parent: str) -> None:
    """Remove folders of processes that were killed, once for each folder that has such."""
    before = time.time() - SETTLED_SECONDS
    for folder in Path(parent).glob(f"{PREFIX}*"):
        try:
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:  # another user's, or gone
            continue
        try:
            if _is_left(held, folder, before):
                remove_tree(str(folder))
        except OSError:
            LOG.warning(
                "the folder %s of an ended process cannot be removed", folder, exc_info=True
            )
        finally:
            os.close(held)


def _is_left(held: int, folder: Path, before: float) -> bool:
    """Tell whether a folder is nobody's, and take it: no other process does so at the same time.

    One that has, in the meantime, has removed it: then its path is gone.
    """
    found = os.fstat(held)
    is_old = found.st_uid == os.getuid() and found.st_mtime < before
    return is_old and _lock(held) and folder.exists()


def _lock(held: int) -> bool:
    import fcntl  # not on Windows, where this module is imported too

    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def link_or_copy(source: Path, target: Path, *, may_link: bool) -> None:
    """Make a file with the bytes of another one.

    Args:
        source: the other one.
        target: where nothing is yet.
        may_link: whether it may be the same file by another name: only where nobody can write to
            `target`.

    Raises:
        OSError: it cannot be made.
    """
    if may_link:
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
        else:
            return
    shutil.copyfile(source, target)


def remove_tree(folder: str) -> None:
    """Remove a folder in which nobody works any more, however deep it is.

    What is in inner folders is moved to the top, because a path to it may be longer than a path
    may be, and a recursion deeper than Python's.
    """
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    new_names = (secrets.token_hex(16) for _ in itertools.count())
    try:
        while names := os.listdir(top):
            for name in names:
                _remove_one(top, name, new_names)
    finally:
        os.close(top)
    os.rmdir(folder)


def _remove_one(top: int, name: str, new_names: Iterator[str]) -> None:
    """Remove an entry of a folder, after what is in it has moved up under new names."""
    if not _is_folder(top, name):
        os.unlink(name, dir_fd=top)
        return
    os.chmod(name, stat.S_IRWXU, dir_fd=top)
    inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
    try:
        for each in os.listdir(inner):
            if _is_folder(inner, each):
                os.chmod(each, stat.S_IRWXU, dir_fd=inner)
            os.rename(each, next(new_names), src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _is_folder(parent: int, name: str) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
