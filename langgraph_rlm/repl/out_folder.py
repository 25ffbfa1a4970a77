"""Out folder: what the code of one interpreter gives back, from cell to cell, against its log.

What a cell has written or changed is stored by digest, and noted in the cell's entry. A replay that
writes other bytes does not fail: the log's bytes stand, and it is told.
"""

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from langgraph_rlm.log.entries import CellEntry
from langgraph_rlm.log.files import after_changes
from langgraph_rlm.log.text import clip
from langgraph_rlm.repl.base import Writing
from langgraph_rlm.repl.out_look import (
    MAX_SEEN,
    Changed,
    Handle,
    Listing,
    Signature,
    TooMany,
    listing_of,
    opened_folder,
    read_of,
    remove_from,
    signature_of,
    write_into,
)
from langgraph_rlm.storage.backends import chunks_of
from langgraph_rlm.storage.blobs import BlobStore
from langgraph_rlm.storage.out_files import OutFile

LOG = logging.getLogger("langgraph_rlm.repl")

SETTLED_NS = 50_000_000
"""A file that changed so shortly before a look may change again within one tick of the file
system's clock, which is 1 to 10 ms: it is read again at the next look."""

MAX_TOLD = 5
"""Most files that one cell's entry says were left out; more are counted."""

SHOWN_CHARS = 80

Room = Callable[[], int]
"""Counts the bytes that may still be taken."""


@dataclass(frozen=True)
class _Seen:
    """A file as it was when it was last read."""

    signature: Signature
    file: OutFile
    is_settled: bool

    def is_still(self, status: os.stat_result) -> bool:
        """Whether a file need not be read again."""
        return self.is_settled and self.signature == signature_of(status)


class OutFolder:
    """The folder `out/` of one session."""

    def __init__(self, session: Writing, blobs: BlobStore) -> None:
        self._session = session
        self._blobs = blobs
        self._path = ""
        self._files: dict[str, OutFile] = {}
        self._seen: dict[str, _Seen] = {}
        self._told = set[tuple[str, str]]()

    def begin(self) -> None:
        """Have the folder there for a cell. Raises `SandboxCrashed`."""
        self._path = self._session.out_folder()

    def fill(self, files: Mapping[str, OutFile], standing: Mapping[str, OutFile]) -> None:
        """Put files into the folder of a session that comes from a snapshot.

        Args:
            files: what stood in it when the snapshot was taken, maybe in the middle of a cell.
            standing: what stood in it when the last cell had ended, by the log.

        Raises:
            BlobError: the store does not have the bytes of one.
        """
        self.begin()
        with opened_folder(self._path) as folder:
            for name, file in files.items():
                self._put(folder, name, file)
        self._files = dict(standing)

    def stands(self, room: Room) -> dict[str, OutFile]:
        """Give what is in the folder now, maybe in the middle of a cell."""
        return self._look(room)[0]

    def noted(self, entry: CellEntry, room: Room) -> CellEntry:
        """Give the entry of a cell that has ended, with what it has changed."""
        files, left_out = self._look(room)
        if changes := changes_between(self._files, files):
            entry = {**entry, "files": changes}
        lines = _lines({*left_out.items()} - self._told)
        self._told = {*left_out.items()}
        return {**entry, "left_out": lines} if lines else entry

    def accept(self, entry: CellEntry) -> None:
        """Take up what a cell has changed, by its entry."""
        self._files = after_changes(self._files, entry.get("files", {}))

    def settle(self, place: str, then: CellEntry, now: CellEntry) -> list[str]:
        """Take up what the log says of a cell that was run again, whatever that wrote now.

        Returns:
            The names of the files that differ. Their bytes are those of the log again, as far as
            the store has them.
        """
        found = after_changes(self._files, now.get("files", {}))
        self.accept(then)
        differing = [*changes_between(found, self._files)]
        if differing:
            LOG.warning(
                "Cell %s was run again, and wrote other bytes: %s. Those of its log stand.",
                place,
                ", ".join(map(shown, differing[:MAX_TOLD])),
            )
            self._restore(differing)
        return differing

    # The folder

    def _restore(self, names: Iterable[str]) -> None:
        with opened_folder(self._path) as folder:
            for name in names:
                file = self._files.get(name)
                if file is None:
                    remove_from(folder, name.split("/"))
                elif self._blobs.has(file["digest"]):
                    self._put(folder, name, file)
                else:
                    LOG.warning("The store does not have %s: it is left as it is.", shown(name))

    def _put(self, folder: Handle, name: str, file: OutFile) -> None:
        with self._blobs.path(file["digest"]).open("rb") as source:
            write_into(folder, name, chunks_of(source))

    def _look(self, room: Room) -> tuple[dict[str, OutFile], dict[str, str]]:
        """Take what has changed. Gives what stands there, and why other things do not."""
        try:
            with opened_folder(self._path) as folder:
                listing = listing_of(folder)
                return self._taken(folder, listing, room), listing.left_out
        except TooMany:
            return self._files, {"out/": f"over {MAX_SEEN} entries: no change in it is taken"}
        except OSError as error:
            return {}, {"out/": f"it is not a folder that can be read: {error.strerror}"}

    def _taken(self, folder: Handle, listing: Listing, room: Room) -> dict[str, OutFile]:
        seen: dict[str, _Seen] = {}
        left: int | None = None
        for name, status in sorted(listing.files.items()):
            last = self._seen.get(name)
            if last is None or not last.is_still(status):
                left = room() if left is None else left
                known = self._files.get(name) if last is None else last.file
                try:
                    last = self._read(folder, name, status, left, known)
                except Changed as why:
                    listing.left_out[name] = str(why)
                    continue
                left -= 0 if last.file == known else last.file["size"]
            seen[name] = last
        self._seen = seen
        return {name: each.file for name, each in seen.items()}

    def _read(
        self, folder: Handle, name: str, status: os.stat_result, left: int, known: OutFile | None
    ) -> _Seen:
        """Store the bytes of a file.

        Args:
            folder: that it is in.
            name: of it.
            status: of it.
            left: bytes that may still be taken.
            known: it, as it was last; that costs nothing again.

        Raises:
            Changed: it cannot be taken.
        """
        is_sizeable = status.st_size <= left or (known and known["size"] == status.st_size)
        file: OutFile | None = None
        if is_sizeable:
            before = time.time_ns() - SETTLED_NS
            digest, size = self._blobs.put_stream(read_of(folder, name, status))
            file = OutFile(digest=digest, size=size)
            if file == known or size <= left:
                is_settled = max(status.st_mtime_ns, status.st_ctime_ns) < before
                return _Seen(signature_of(status), file, is_settled)
        raise Changed(
            f"{status.st_size:,} bytes are too many: {max(left, 0):,} are left for this question"
        )


def changes_between(
    before: Mapping[str, OutFile], after: Mapping[str, OutFile]
) -> dict[str, OutFile | None]:
    """Give the files that are new or other, by name, and None for those that are gone."""
    names = sorted({*before, *after})
    return {name: after.get(name) for name in names if before.get(name) != after.get(name)}


def shown(name: str) -> str:
    """Give a name for people and models, whatever is in it."""
    return clip(ascii(name), limit=SHOWN_CHARS)


def _lines(left_out: set[tuple[str, str]]) -> list[str]:
    told = [f"{shown(name)}: {why}" for name, why in sorted(left_out)]
    if len(told) > MAX_TOLD:
        return [*told[:MAX_TOLD], f"and {len(told) - MAX_TOLD:,} more"]
    return told
