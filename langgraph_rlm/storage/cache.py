"""Cache: blobs of stores elsewhere, in a folder of this machine. What is in it may be deleted."""

import atexit
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.lazy import warn_once
from langgraph_rlm.storage.backends import Fill, copying, is_verified
from langgraph_rlm.storage.folder import Folder

CACHE_VARIABLE = "LANGGRAPH_RLM_CACHE"
"""The environment variable that names the folder of the cache."""

SIZE_VARIABLE = "LANGGRAPH_RLM_CACHE_MB"
"""The environment variable that says how large the cache may be, in units of 2**20 bytes."""

MAX_BYTES = 10 << 30
"""Bytes of the cache, unless the environment says so: or a tenth of the disk, if that is less."""

KEPT_FROM = 64 << 10
"""Bytes from which a blob that was read whole stays in the cache. To ask for a smaller one again
costs one round trip, as it would to write its file."""

IN_USE_SECONDS = 600.0
"""A file that was used so short a time ago stays, however large the cache is: whoever asked for
its path may not have opened it yet."""

FORGOTTEN_AFTER = 7 * 24 * 3600.0
"""Seconds without use after which a file goes, however small the cache is: what was deleted from
the store shall not stay here for ever."""

FILLED = 0.9
"""The share of the bound that is left where it was reached."""


class Cache:
    """A folder as a store has it, of bounded size; what was not used for longest goes first.

    Processes of one user may share it, and stores too: a name in it is the digest of the bytes.
    """

    def __init__(self, root: Path, max_bytes: int) -> None:
        """Use `open_cache`."""
        self._root = root
        self._folder = Folder(root)
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._unswept = max_bytes
        """Bytes that were added since the folder was last looked at; at first, what others may
        have left."""

    def found(self, digest: str) -> Path | None:
        """Give the file of a blob, if it is here and whole. Its age begins anew."""
        try:
            if not self._folder.renewed(digest):
                return None
            path = self._folder.local(digest)
            if is_verified(path, digest):
                return path
            path.unlink()  # somebody has altered it
        except FileNotFoundError:
            return None  # another process has deleted it
        return None

    def write(self, fill: Fill) -> tuple[str, int]:
        """Write a blob in pieces, and give its digest and its size."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)  # somebody may have deleted it
        digest, size = self._folder.write(fill)
        self._count(size)
        return digest, size

    def path(self, digest: str, pieces: Iterable[bytes]) -> Path | None:
        """Give a file with a blob's bytes.

        Args:
            digest: of the blob.
            pieces: gives the bytes, if they are not here.

        Returns:
            None if the pieces are not what the digest says.
        """
        path = self.found(digest)
        if path is None:
            written, _ = self.write(copying(pieces))
            path = self.found(digest) if written == digest else None
        return path

    def read(self, digest: str, pieces: Iterable[bytes]) -> bytes:
        """Give a blob's bytes. Those of the pieces are not checked."""
        path = self.found(digest)
        if path is not None:
            return path.read_bytes()
        data = b"".join(pieces)
        if len(data) >= KEPT_FROM:
            try:
                self.write(copying([data]))
            except OSError as error:  # it only takes longer the next time
                warn_once(
                    ("cache", str(self._root)),
                    f"The cache of blobs {self._root} cannot be written: {error}. "
                    f"Name another folder in {CACHE_VARIABLE}.",
                )
        return data

    def drop(self, digest: str) -> None:
        """Delete a blob, if it is here."""
        (self._root / digest[:2] / digest[2:]).unlink(missing_ok=True)

    def _count(self, size: int) -> None:
        """Look at the folder after a twentieth of its bound was added: a look takes a second for
        200,000 files."""
        with self._lock:
            self._unswept += size
            if self._unswept * 20 < self._max_bytes:
                return
            self._unswept = 0
        self._sweep()

    def _sweep(self) -> None:
        now = time.time()
        files = sorted(self._folder.blobs(), key=lambda found: found.used)
        total = sum(found.size for found in files)
        is_full = total > self._max_bytes
        for found in files:
            if found.used > now - IN_USE_SECONDS:
                break
            is_too_much = is_full and total > self._max_bytes * FILLED
            if not is_too_much and found.used > now - FORGOTTEN_AFTER:
                break
            Path(found.name).unlink(missing_ok=True)
            total -= found.size
        self._folder.delete_unfinished(now - 24 * 3600)


_caches: dict[Path, Cache] = {}
_lock = threading.Lock()


def open_cache() -> Cache:
    """Give the cache of this user, the same one in every call; its folder is made if need be."""
    wanted = _wanted()
    with _lock:
        if wanted not in _caches:
            root = _made(wanted)
            _caches[wanted] = Cache(root, _max_bytes(root))
        return _caches[wanted]


def _wanted() -> Path:
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("langgraph-rlm") / "blobs"


def _made(wanted: Path) -> Path:
    """Make the folder, private to this user; a temporary one where that cannot be."""
    try:
        wanted.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and wanted.stat().st_uid != os.getuid():
            raise PermissionError("it belongs to another user")
        wanted.chmod(0o700)
        if not os.access(wanted, os.W_OK):
            raise PermissionError("it cannot be written")
    except OSError as error:
        root = Path(tempfile.mkdtemp(prefix="langgraph-rlm-"))
        atexit.register(_remove, root, os.getpid())
        warn_once(
            ("cache", str(wanted)),
            f"The cache of blobs cannot be {wanted} ({error}), so {root} is used until this "
            f"process ends. Name another folder in {CACHE_VARIABLE}.",
        )
        return root
    return wanted


def _remove(root: Path, owner: int) -> None:
    if os.getpid() == owner:
        shutil.rmtree(root, ignore_errors=True)


def _max_bytes(root: Path) -> int:
    given = os.environ.get(SIZE_VARIABLE)
    if not given:
        return min(MAX_BYTES, shutil.disk_usage(root).total // 10)
    if not given.isdecimal():
        raise ConfigurationError(f"{SIZE_VARIABLE}={given!r} must be a whole number, such as 2048.")
    return int(given) << 20
