"""Documents: files that are not text, as texts and files that the store has. Two at a time.

A document is read once: what it gave is a blob, and a note says which. Archives are unpacked again
each time, into a file that nobody else sees; what is in them is looked up like any file.
"""

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from langgraph_rlm.documents import pictures
from langgraph_rlm.documents.kinds import HEAD_BYTES, Kind
from langgraph_rlm.documents.names import plain
from langgraph_rlm.documents.outcome import Facts, Outcome, Part, Unreadable
from langgraph_rlm.documents.reading import (
    INSTALL,
    WORKERS,
    Limits,
    Readers,
    checked,
    is_missing,
    version,
)
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import chunks_of
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.storage.sources import Source, spooled


@dataclass(frozen=True)
class Extracted:
    """What a file that is not text gave."""

    out: BinaryIO
    outcome: Outcome
    facts: Facts
    """What is known of the file itself."""


class Documents:
    """The documents of one input, read ahead of whoever takes them."""

    def __init__(self, blobs: BlobStore, limits: Limits) -> None:
        self._blobs = blobs
        self._limits = limits
        self._readers = Readers(limits)
        self._threads = ThreadPoolExecutor(WORKERS, "rlm-documents")
        self._lock = threading.Lock()
        self._bytes_left = limits.unpacked_bytes
        self._files_left = limits.files
        self.depth = limits.depth
        """How deep files may lie in files."""

    def close(self) -> None:
        """Stop reading, and end the workers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._readers.close()

    def start(self, source: Source, kind: Kind) -> "Future[Extracted]":
        """Begin to read a file.

        Its result raises Unreadable if the file cannot be read, and BlobError or SandboxError.
        """
        if is_missing(kind):
            missing: Future[Extracted] = Future()
            missing.set_exception(Unreadable(f"a {kind.name} file, which needs {INSTALL}"))
            return missing
        return self._threads.submit(self._read, source, kind)

    def _read(self, source: Source, kind: Kind) -> Extracted:
        try:
            if kind.reader == "archive":
                return self._unpacked(source, kind)
            return self._described(source, kind) or self._text(source, kind)
        except ContextError:
            raise
        except (OSError, ValueError) as error:
            raise Unreadable(f"unreadable: {error}") from error

    def _unpacked(self, source: Source, kind: Kind) -> Extracted:
        with self._lock:
            left = self._files_left, self._bytes_left
        with tempfile.NamedTemporaryFile() as copy:
            path = source.path
            if path is None:
                with source.open() as file:
                    spooled(chunks_of(file), copy)
                path = Path(copy.name)
            read = self._readers.read(kind, path, _base(source), *left)
        with self._lock:
            self._files_left = max(0, self._files_left - len(read.outcome.parts))
            self._bytes_left = max(0, self._bytes_left - os.fstat(read.out.fileno()).st_size)
        return Extracted(read.out, read.outcome, {})

    def _described(self, source: Source, kind: Kind) -> Extracted | None:
        """Say in a line what a file is that has no text; None for one that has."""
        if kind.reader not in ("picture", "none"):
            return None
        with source.open() as file:
            head = file.read(HEAD_BYTES)
        facts = self._original(source, kind)
        what = f"{kind.name} file {_base(source)}, {facts['bytes']:,} bytes"
        if kind.reader == "picture":
            size = pictures.size_of(kind.name, head)
            what = f"image {kind.name}"
            if size:
                facts["width"], facts["height"] = size
                what = f"image {size[0]}x{size[1]} {kind.name}"
        return _line(f"[{what}]\n", facts)

    def _original(self, source: Source, kind: Kind) -> Facts:
        with source.open() as file:
            digest, size = self._blobs.put_stream(chunks_of(file))
        return {"original": digest, "type": kind.type, "bytes": size}

    def _text(self, source: Source, kind: Kind) -> Extracted:
        facts = self._original(source, kind)
        about = [version(), kind.name, _base(source), facts["original"]]
        key = hashlib.sha256(to_bytes(json.dumps(about))).hexdigest()
        if known := self._known(key, facts):
            return known
        path = self._blobs.path(facts["original"])
        limits = self._limits
        read = self._readers.read(kind, path, _base(source), limits.files, limits.unpacked_bytes)
        digest, _ = self._blobs.put_stream(chunks_of(read.out))
        note = {"out": digest, "outcome": read.outcome.as_dict()}
        self._blobs.note(key, to_bytes(json.dumps(note)))
        return Extracted(read.out, read.outcome, facts)

    def _known(self, key: str, facts: Facts) -> Extracted | None:
        """Look up what a document gave before; None if that is not known, or no longer there."""
        noted = self._blobs.noted(key)
        if noted is None:
            return None
        try:
            note: Mapping[str, object] = json.loads(noted)
            digest = str(note["out"])
            if not self._blobs.has(digest):
                return None
            path = self._blobs.path(digest)
            outcome = checked(note["outcome"], path.stat().st_size)
        except (ValueError, TypeError, KeyError, AttributeError):  # of another version
            return None
        return Extracted(path.open("rb"), outcome, facts)


def _line(line: str, facts: Facts) -> Extracted:
    out = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115 - who takes it closes it
    out.write(to_bytes(line))
    out.flush()
    return Extracted(out, Outcome((Part("", 0, out.tell(), True),)), facts)


def _base(source: Source) -> str:
    """Name a file in marks."""
    return plain(PurePosixPath(source.name).name)
