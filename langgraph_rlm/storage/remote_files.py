"""Remote files: an fsspec file system whose every failure is an OSError that says what to do."""

import importlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.storage.locations import STORE_VARIABLE, masked, scrubbed

BUCKETS = frozenset({"s3", "gs", "gcs", "abfs", "az"})
"""Protocols of file systems that have no folders."""


class Files:
    """A file system, as fsspec has them. What it raises that is no OSError becomes one.

    Clients of clouds have errors of their own: without credentials, with wrong ones, where nobody
    answers.
    """

    def __init__(self, files: Any, location: str) -> None:
        """Take a file system.

        Args:
            files: has the methods of fsspec's.
            location: its URL, whose secrets no message shows.
        """
        self._files = files
        self._location = location

    def makedirs(self, path: str, exist_ok: bool = True) -> None:
        """Make a folder, where there are any. Clients of buckets would make the bucket instead,
        also one that was misspelt, and ask for it each time."""
        protocol = getattr(self._files, "protocol", "")
        if BUCKETS.isdisjoint([protocol] if isinstance(protocol, str) else protocol):
            self.__getattr__("makedirs")(path, exist_ok=exist_ok)

    def open(self, path: str, mode: str = "rb") -> Any:
        """Open a file, which fails as the file system does."""
        return Files(self.__getattr__("open")(path, mode), self._location)

    def __enter__(self) -> "Files":
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._files, name)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                return method(*args, **kwargs)
            except (OSError, NotImplementedError, ConfigurationError):
                raise
            except Exception as error:
                told = scrubbed(f"{type(error).__name__}: {error}", self._location)
                raise OSError(
                    f"{told}. Check the credentials, the address and the bucket of "
                    f"{masked(self._location)}, and that this machine reaches it"
                ) from error

        return call


def file_system(url: str) -> tuple[Files, str]:
    """Open the fsspec file system of a URL, and give the path in it, without a slash at its end.

    Raises:
        ConfigurationError: a package is missing, or the URL is of no known kind.
    """
    shown = masked(url)
    try:
        core: Any = importlib.import_module("fsspec.core")
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"The blob store {shown!r} needs fsspec: pip install 'langgraph-rlm[fsspec]'"
        ) from None
    try:
        fs, root = core.url_to_fs(url)
    except Exception as error:  # noqa: BLE001 - some connect here, with errors of their own
        scheme = url.partition("://")[0]
        raise ConfigurationError(
            f"The blob store {shown!r} cannot be opened: {scrubbed(str(error), url)}. Install the "
            f"fsspec package for {scheme!r}, see that this machine reaches the store, or set "
            f"{STORE_VARIABLE} to another one."
        ) from None
    return Files(fs, url), str(root).rstrip("/")
