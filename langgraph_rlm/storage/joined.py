"""Joined: the texts of many files one after the other, each whole or not at all.

Each file is read once, and never whole into memory.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import BinaryIO

from langgraph_rlm.documents.kinds import Kind
from langgraph_rlm.documents.outcome import Facts, Unreadable
from langgraph_rlm.documents.reading import is_missing
from langgraph_rlm.errors import ContextError
from langgraph_rlm.storage.backends import Writer, chunks_of
from langgraph_rlm.storage.documents import Documents, Extracted
from langgraph_rlm.storage.sources import Source, of_part, pieces
from langgraph_rlm.storage.utf8 import NotText, Utf8

LOG = logging.getLogger("langgraph_rlm.storage")
LOG_SECONDS = 1.0

AHEAD = 4
"""Files that are begun while the first of them is waited for."""


@dataclass(frozen=True)
class FileDone:
    """How far an ingest is, after each file."""

    name: str
    done: int
    """Files so far, of the folder or list that was given."""
    total: int


OnFile = Callable[[FileDone], None]


def logged() -> OnFile:
    """Make a caller that logs how far an ingest is, once a second, as of its second one."""
    told = time.monotonic()

    def on_file(file: FileDone) -> None:
        nonlocal told
        if time.monotonic() - told > LOG_SECONDS:
            told = time.monotonic()
            LOG.info("Read %d of %d files (%s)", file.done, file.total, file.name)

    return on_file


Waiting = tuple[Source, Kind | None, "Future[Extracted] | None"]
"""A file that is to be taken next: a text, or a document that is being read."""


class Joined:
    """Files one after the other.

    A newline is put between two where the first has none at its end.
    """

    def __init__(
        self, sources: Sequence[Source], documents: Documents, on_file: OnFile | None = None
    ) -> None:
        """Join these files.

        Args:
            sources: in this order.
            documents: reads those that are not text.
            on_file: called after each; None to log how far it is.
        """
        self._sources = sources
        self._documents = documents
        self._on_file = on_file or logged()
        self._done = 0
        self._last = b"\n"
        self.manifest: list[tuple[str, int, int]] = []
        """After `write`: each file's name, first byte, bytes."""
        self.chars = 0
        """After `write`: the characters of all."""
        self.skipped: list[str] = []
        """After `write`: what was left out, with the reason."""
        self.about: dict[str, Facts] = {}
        """After `write`: what is known of the files that were not text."""

    def write(self, to: Writer) -> None:
        """Write the text of all files.

        Raises:
            BlobError, SandboxError: the store or a worker fails. Files that cannot be read are in
                `skipped` instead.
        """
        self._write_all(self._sources, to, 0)

    def _write_all(self, sources: Iterable[Source], to: Writer, depth: int) -> None:
        waiting: deque[Waiting] = deque()
        for source in sources:
            self._begin(source, to, waiting, depth)
            while len(waiting) > AHEAD:
                self._take(*waiting.popleft(), to, depth)
        while waiting:
            self._take(*waiting.popleft(), to, depth)

    def _begin(self, source: Source, to: Writer, waiting: deque[Waiting], depth: int) -> None:
        """Look what a file is, and begin to read it."""
        try:
            with source.open() as file:
                kind = source.kind(file)
                if kind and kind.is_text and is_missing(kind):
                    kind = None
                if kind is None and not waiting:
                    self._take_text(source, file, to)
                    self._finished(source, depth)
                    return
        except ContextError:
            raise
        except (OSError, ValueError):
            self.skipped.append(f"{source.name} (unreadable)")
            self._finished(source, depth)
            return
        if kind is None:
            waiting.append((source, None, None))
        else:
            waiting.append((source, kind, self._documents.start(source, kind)))

    def _take(
        self,
        source: Source,
        kind: Kind | None,
        reading: "Future[Extracted] | None",
        to: Writer,
        depth: int,
    ) -> None:
        try:
            if reading is None:
                with source.open() as file:
                    self._take_text(source, file, to)
            else:
                extracted = reading.result()
                with extracted.out:
                    self._take_parts(source, extracted, to, depth)
        except Unreadable as error:
            if kind and kind.is_text:
                self._take(source, None, None, to, depth)
                return
            self.skipped.append(f"{source.name} ({error})")
        except ContextError:
            raise
        except (OSError, ValueError):
            self.skipped.append(f"{source.name} (unreadable)")
        self._finished(source, depth)

    def _finished(self, source: Source, depth: int) -> None:
        if depth == 0:
            self._done += 1
            self._on_file(FileDone(source.name, self._done, len(self._sources)))

    def _take_text(self, source: Source, file: BinaryIO, to: Writer) -> None:
        utf8 = Utf8(source.shown, source.encoding, source.errors)
        self._write(source.name, utf8, chunks_of(file), to)

    def _take_parts(self, source: Source, extracted: Extracted, to: Writer, depth: int) -> None:
        """Write the texts of a document, and take the files that came out of it in turn."""
        if extracted.facts:
            self.about[source.name] = extracted.facts
        inner: list[Source] = []
        for part in extracted.outcome.parts:
            name = f"{source.name}/{part.name}" if part.name else source.name
            if part.is_text:
                utf8 = Utf8(name, "utf-8", "replace")
                if self._write(name, utf8, pieces(extracted.out, part), to) and part.facts:
                    self.about[name] = self.about.get(name, {}) | part.facts
            elif depth < self._documents.depth:
                inner.append(of_part(extracted.out, part, name))
            else:
                self.skipped.append(f"{name} (over {self._documents.depth} archives deep)")
        self._write_all(inner, to, depth + 1)
        self.skipped += [f"{source.name}/{name}" for name in extracted.outcome.skipped]

    def _write(self, name: str, utf8: Utf8, chunks: Iterable[bytes], to: Writer) -> bool:
        """Write one file, or nothing and the reason; tell which."""
        mark, last = to.mark(), self._last
        between = last != b"\n"
        if between:
            to.write(b"\n")
        start = to.size
        try:
            for chunk in utf8.check(chunks):
                to.write(chunk)
                self._last = chunk[-1:] or self._last
        except (NotText, OSError) as error:
            to.back(mark)
            self._last = last
            reason = error.reason if isinstance(error, NotText) else "unreadable"
            self.skipped.append(f"{name} ({reason})")
            return False
        self.manifest.append((name, start, utf8.size))
        self.chars += utf8.chars + between
        return True
