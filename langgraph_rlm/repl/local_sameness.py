"""Sameness: what makes the local worker do the same whenever it runs the same cells.

The worker loads this file by its path: it imports the standard library and `time_machine` alone.
Not the same: object addresses (and so the order of sets of objects that hash by them),
`random.seed()` and `random.Random()` without a seed, threads, `time.monotonic`, the times of files
(but in zip archives), and the name of the temporary folder.
"""

import os
import posix
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.machinery import PathFinder
from types import TracebackType
from typing import Any, cast


def import_time_machine() -> None:
    """Import it alone: it would import these two, which takes longer than all the rest.

    Raises:
        ImportError: it is not installed.
    """
    modules: dict[str, Any] = sys.modules
    modules.update(pytest=None, dateutil=None)
    try:
        import time_machine  # noqa: F401  # pyright: ignore[reportUnusedImport]
    finally:
        del modules["pytest"], modules["dateutil"]


def stop_clocks(instant: datetime) -> None:
    """Freeze calendar and stopwatches and skip sleeps; `time.monotonic` runs, for time-outs."""
    import time_machine

    time_machine.travel(instant.astimezone(UTC), tick=False).start()
    for name in ("perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: 0.0)
        setattr(time, f"{name}_ns", lambda: 0)
    time.sleep = lambda _seconds, /: None


def seed_random(seed: str) -> None:
    """Seed `random`, and the source of uuid4, secrets, and numpy with its generators."""
    random.seed(seed)
    os.urandom = random._urandom = random.Random(f"{seed}/urandom").randbytes  # pyright: ignore


class SortedEntries:
    """What `os.scandir` gives, by name."""

    def __init__(self, entries: "list[os.DirEntry[Any]]") -> None:
        self._entries = iter(entries)

    def __iter__(self) -> "Iterator[os.DirEntry[Any]]":
        return self._entries

    def __next__(self) -> "os.DirEntry[Any]":
        return next(self._entries)

    def __enter__(self) -> "SortedEntries":
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Do nothing: the folder is closed already."""

    def close(self) -> None:
        """Do nothing: the folder is closed already."""


def sort_listings() -> None:
    """Give the names in a folder in order, by `os.listdir`, `os.scandir` and what uses them."""
    listdir: Callable[..., list[Any]] = os.listdir
    scandir: Callable[..., Any] = os.scandir

    def listed(path: Any = ".") -> list[Any]:
        return sorted(listdir(path))

    def scanned(path: Any = ".") -> SortedEntries:
        with scandir(path) as entries:
            return SortedEntries(sorted(entries, key=lambda entry: entry.name))

    for module in cast(list[Any], [os, posix]):
        module.listdir, module.scandir = listed, scanned


class _Dating:
    """Has `zipfile`, once code imports it, date what goes into an archive by the clock of the cell.

    It would take the time of the file, which is real: a spreadsheet written again by openpyxl,
    which packs files that it has written, would be other bytes. Importing it ahead takes 10 ms.
    """

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> Any:
        """Find `zipfile` as it would be found without this; nothing else."""
        if name != "zipfile":
            return None
        sys.meta_path.remove(self)  # pyright: ignore[reportArgumentType]
        spec: Any = PathFinder.find_spec(name)
        run = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            run(module)
            _date_entries(module.ZipInfo)

        spec.loader.exec_module = exec_module
        return spec


def _date_entries(info: Any) -> None:
    from_file = info.from_file

    def dated(*given: Any, **named: Any) -> Any:
        made = from_file(*given, **named)
        made.date_time = time.localtime()[:6]
        return made

    info.from_file = dated


def date_archives() -> None:
    """Make archives of the same files the same bytes."""
    if "zipfile" in sys.modules:
        _date_entries(sys.modules["zipfile"].ZipInfo)
    else:
        sys.meta_path.insert(0, cast(Any, _Dating()))


def keep_modes() -> None:
    """Make `chmod` and `utime` do nothing: a jail refuses them, and `shutil.copy` calls them."""

    def keep(*_given: Any, **_named: Any) -> None:
        pass

    for name in ("chmod", "lchmod", "utime"):
        if hasattr(os, name):
            setattr(os, name, keep)
