"""Snapshots: an interpreter as it was after code that took long, by digest in the blob store.

The log has the digest; the rebuild of an interpreter starts from the newest snapshot that stands
for the log, and replays what is behind it. A snapshot that is missing or of another log, sandbox or
limit is left out, and everything is replayed. Runs no cell.

What is trusted: whoever can write files into the store. All else that this package stores there
is UTF-8 text, even if it comes from code or callers, and a snapshot begins with a byte that no such
text has (`MARK`). So whoever can only write a log, or only texts, has nothing of theirs loaded; and
a log of another run does not fit (`_key`). A worker that hostile code had taken over could write a
false dump. It is loaded for the same run alone, in a worker, where that code runs anyway.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from langgraph_rlm.errors import BlobError
from langgraph_rlm.log.entries import ROLLED_BACK, LogEntry
from langgraph_rlm.log.places import cell_at, cell_of
from langgraph_rlm.log.positions import before, position_of
from langgraph_rlm.log.text import canonical, digest_of
from langgraph_rlm.repl.base import (
    MAX_DUMP_BYTES,
    SandboxCrashed,
    Session,
    SessionSpec,
    Snapshotting,
)
from langgraph_rlm.repl.packed import pack, unpack
from langgraph_rlm.repl.standing import Standing, standing_of
from langgraph_rlm.repl.watch import Watch
from langgraph_rlm.storage.blobs import BlobStore

LOG = logging.getLogger("langgraph_rlm.repl")

AFTER_SECONDS = 1.0
"""How long code must have run since the last snapshot for another one.

So an ordinary session, whose cells take milliseconds, has none.
"""

MAX_BYTES = MAX_DUMP_BYTES
"""Largest snapshot that is kept."""

BYTES_A_SECOND = 1 << 20
"""Most bytes that are stored for each second of computing.

After a snapshot of 40 MB, code runs for 40 seconds before the next one. So snapshots take a
hundredth of the time, an hour of computing stores 4 GB at most, and a resume computes again for no
longer than `MAX_BYTES` allows: a minute.
"""

DUMP_SECONDS = 30.0
"""How long a snapshot may take. A worker that takes longer is ended."""

TRIES = 3
"""How many snapshots are looked at, the newest first. What spoils one mostly spoils them all."""

MARK = b"\xfflanggraph-rlm snapshot 1\n"
"""Every snapshot begins so."""

OF_NO_CODE = frozenset(
    {"snapshot", "usage", "thoughts", "at", "seconds", "run", "decision", "seen"}
)
"""Keys of entries that code gets to see nothing of."""


@dataclass(frozen=True)
class Found:
    """A snapshot that stands for a log."""

    size: int
    standing: Standing
    state: bytes
    """What `Snapshotting.dump` gave."""


@dataclass
class Snapshots:
    """The snapshots of one interpreter."""

    blobs: BlobStore
    spec: SessionSpec
    format: str
    """See `Loading.state_format`; empty for a sandbox that has no snapshots."""
    seconds: float = 0.0
    """How long code has run since the last one."""
    size: int = 0
    """Bytes of the last one."""
    _version: str = field(default_factory=lambda: version("langgraph-rlm"), repr=False)

    @property
    def is_due(self) -> bool:
        """Whether code has run for long enough, in a sandbox that has snapshots."""
        return self.format != "" and self.seconds >= max(AFTER_SECONDS, self.size / BYTES_A_SECOND)

    def keep(
        self, session: Session, log: Mapping[str, LogEntry], place: str, standing: Standing
    ) -> str | None:
        """Take a snapshot and store it.

        Args:
            session: the interpreter.
            log: up to the entry at `place`, which has just been written.
            place: of the call that is waited for, or of the cell that has ended.
            standing: of the interpreter.

        Returns:
            Its digest, for the entry at `place`; None where there can be none.
        """
        if standing.open is not None and standing.open.ended:
            return None  # its answer may be a value that JSON does not have
        state = _dumped(session)
        self.seconds = 0.0
        self.size = MAX_BYTES if state is None else len(state)
        if state is None or len(state) > MAX_BYTES:
            return None
        about = {"key": self._key(log, place), "standing": standing.as_json()}
        try:
            return self.blobs.put(MARK + pack(about, state))
        except BlobError as error:
            LOG.warning("No snapshot of %s is kept: %s", place, error)
            return None

    def find(
        self, log: Mapping[str, LogEntry], parked: tuple[str, str] | None = None
    ) -> Iterator[Found]:
        """Give the snapshots that stand for a log, the newest first.

        Args:
            log: the whole log, which names most of them.
            parked: place and digest of one that it does not name.
        """
        named = [*_digests(log)]
        if parked is not None:
            named.append(parked)
        taken = [(place, digest) for place, digest in named if _is_kept(log, place)]
        taken.sort(key=lambda each: position_of(each[0]), reverse=True)
        for place, digest in taken[:TRIES]:
            found = self._read(log, place, digest)
            if found is not None:
                yield found

    def _read(self, log: Mapping[str, LogEntry], place: str, digest: str) -> Found | None:
        try:
            data = self.blobs.get(digest)
            if not data.startswith(MARK):
                raise ValueError("it is not marked as one")
            about, state = unpack(data[len(MARK) :])
            if about["key"] != self._key(log, place):
                raise ValueError("it is of another log, version, sandbox or limit")
            standing = standing_of(about["standing"], before(log, place))
        except (BlobError, ValueError, KeyError) as error:
            LOG.info("The snapshot %s of %s is left out: %s", digest[:12], place, error)
            return None
        return Found(len(state), standing, state)

    def _key(self, log: Mapping[str, LogEntry], place: str) -> str:
        """Digest all that a snapshot at a place rests on."""
        spec = self.spec
        started: list[Any] = [self.format, self._version, spec.seed, spec.clock.isoformat()]
        limits = [spec.max_heap_bytes, spec.max_stdout_chars, sorted(spec.functions)]
        entries = {at: _without(entry) for at, entry in before(log, place).items()}
        return digest_of(canonical([started, limits, place, entries]))


def _dumped(session: Session) -> bytes | None:
    """Have a session write itself down; None where it cannot.

    One whose worker dies of it is rebuilt when it is next needed.
    """
    if not isinstance(session, Snapshotting):
        return None
    try:
        with Watch(session, DUMP_SECONDS):
            return session.dump()
    except SandboxCrashed as error:
        LOG.info("No snapshot: the worker died as it wrote one: %s", error)
        return None


def _without(entry: LogEntry) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in OF_NO_CODE}


def _digests(log: Mapping[str, LogEntry]) -> Iterator[tuple[str, str]]:
    """Give the digests of the snapshots that a log has, each with its place."""
    for place, entry in log.items():
        if entry["kind"] in ("call", "cell") and "snapshot" in entry:
            yield place, entry["snapshot"]


def _is_kept(log: Mapping[str, LogEntry], place: str) -> bool:
    """Whether the cell of a snapshot has not been rolled back since."""
    cell = cell_at(log, cell_of(place))
    return cell is None or cell["outcome"] not in ROLLED_BACK
