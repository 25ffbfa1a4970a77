"""Idle: the interpreters of this process that wait for their next cell or answer.

They are kept by the memory that they have of their own, and by what it takes to rebuild them. One
keeper serves all graphs of the process. It runs no code.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from cachetools import LRUCache

from langgraph_rlm.errors import ConfigurationError
from langgraph_rlm.lazy import per_process
from langgraph_rlm.processes.memory import total_bytes
from langgraph_rlm.repl.own_snapshots import Parked
from langgraph_rlm.repl.replay import Repl

LOG = logging.getLogger("langgraph_rlm.repl")

VARIABLE = "LANGGRAPH_RLM_IDLE_MB"
"""The environment variable with the megabytes that waiting interpreters may take together."""

SHARE = 8
"""By default they may take this part of the machine's memory, or of its container's."""

ASSUMED_BYTES = 32 << 20
"""What an interpreter is thought to take whose sandbox does not tell."""

START_SECONDS = 0.01
"""What it takes to start an interpreter that has computed nothing."""

FILES_EACH = 4
"""Open files of this process that one interpreter takes, on Linux."""

MOST_PARKED = 4096
"""Dropped interpreters whose snapshots this process remembers."""

TELL_SECONDS = 60.0
"""How often the figures are logged, at most."""

Owner = int
"""Names the `Sessions` that an interpreter belongs to."""

Key = tuple[Owner, str]
"""An owner, and the id of one of its RLMs."""


@dataclass
class Waiting:
    """One interpreter that waits."""

    repl: Repl
    bytes: int
    is_live: bool = True
    """Whether the run that it belongs to is at work. Another one waits for a person, or for the
    next question."""
    worth: float = 0.0
    """Who has the least goes first; see `Idle`."""


class Idle:
    """Keeps interpreters while there is room, and drops what is worth least.

    Of the runs that are at work none is dropped for one that is not. Among equals it is
    GreedyDual-Size (Cao and Irani, "Cost-aware WWW proxy caching algorithms", 1997): the worth is
    the seconds that a rebuild takes for each byte, on top of that of the last one that was dropped,
    so that what is old and cheap goes first, and nothing stays for ever.
    """

    def __init__(self, most_bytes: int, most: int) -> None:
        """Set the room.

        Args:
            most_bytes: own memory of all interpreters together.
            most: interpreters, however small: each takes open files and a process.
        """
        self.most_bytes = most_bytes
        self.most = most
        self._kept: dict[Key, Waiting] = {}
        self._parked: LRUCache[Key, Parked] = LRUCache(MOST_PARKED)
        self._bytes = 0
        self._dropped_worth = 0.0
        self._lock = threading.Lock()
        self._figures = _Figures()

    @property
    def held(self) -> int:
        """The bytes that all of them have of their own."""
        return self._bytes

    def count(self, owner: Owner) -> int:
        """How many interpreters of an owner wait."""
        with self._lock:
            return sum(1 for key in self._kept if key[0] == owner)

    def take(self, owner: Owner, id: str) -> Repl | None:
        """Take one out, for the caller alone; None where it is not kept."""
        with self._lock:
            return self._taken((owner, id))

    def parked(self, owner: Owner, id: str) -> Parked | None:
        """Give the snapshot that one left when it was dropped."""
        with self._lock:
            return self._parked.get((owner, id))

    def put(self, owner: Owner, id: str, repl: Repl, *, most: int | None = None) -> None:
        """Keep one whose run is at work, and end those that there is then no room for.

        Args:
            owner: whose it is.
            id: of its RLM.
            repl: the interpreter.
            most: how many the owner may have, where it has a bound of its own.
        """
        size = repl.own.own_bytes()
        waiting = Waiting(repl, ASSUMED_BYTES if size is None else size)
        cost = START_SECONDS + repl.own.unsaved_seconds
        with self._lock:
            waiting.worth = self._dropped_worth + cost / max(waiting.bytes, 1)
            other = self._taken((owner, id))  # two branches of a thread are one RLM
            self._kept[owner, id] = waiting
            self._bytes += waiting.bytes
            dropped = self._beyond(owner, most)
            self._figures.dropped += len(dropped)
            told = self._figures.due(len(self._kept), self._bytes, self.most_bytes)
        if told:
            LOG.info(told)
        if other is not None:
            other.close()
        for key, old in dropped.items():
            self._end(key, old)

    def rest(self, owner: Owner, ids: Iterable[str]) -> None:
        """Note that the run of some is not at work any more."""
        with self._lock:
            for id in ids:
                if (owner, id) in self._kept:
                    self._kept[owner, id].is_live = False

    def take_all(self, owner: Owner) -> list[Repl]:
        """Take all of an owner's out."""
        with self._lock:
            found = [self._taken(key) for key in [*self._kept] if key[0] == owner]
            return [repl for repl in found if repl is not None]

    def rebuilt(self, seconds: float) -> None:
        """Count an interpreter that was rebuilt, and how long its cells took again."""
        with self._lock:
            self._figures.rebuilt += 1
            self._figures.seconds += seconds

    def _taken(self, key: Key) -> Repl | None:
        waiting = self._kept.pop(key, None)
        if waiting is None:
            return None
        self._bytes -= waiting.bytes
        return waiting.repl

    def _beyond(self, owner: Owner, most: int | None) -> dict[Key, Repl]:
        """Take out what is worth least until there is room."""
        dropped: dict[Key, Repl] = {}
        own = [key for key in self._kept if key[0] == owner] if most is not None else []
        while most is not None and len(own) > most:
            key = min(own, key=self._order)
            own.remove(key)
            self._drop(key, dropped)
        while self._kept and (self._bytes > self.most_bytes or len(self._kept) > self.most):
            key = min(self._kept, key=self._order)
            self._dropped_worth = max(self._dropped_worth, self._kept[key].worth)
            self._drop(key, dropped)
        return dropped

    def _drop(self, key: Key, dropped: dict[Key, Repl]) -> None:
        repl = self._taken(key)
        assert repl is not None, "it is among those that are kept"
        dropped[key] = repl

    def _order(self, key: Key) -> tuple[bool, float]:
        waiting = self._kept[key]
        return waiting.is_live, waiting.worth

    def _end(self, key: Key, repl: Repl) -> None:
        """End one for which there is no room, once it has left a snapshot where that is cheap."""
        parked = repl.own.park()
        if parked is not None:
            with self._lock:
                self._parked[key] = parked
        repl.close()


@dataclass
class _Figures:
    """What happened since the figures were last logged."""

    dropped: int = 0
    rebuilt: int = 0
    seconds: float = 0.0
    told: float = 0.0

    def due(self, kept: int, size: int, most: int) -> str:
        """Give what is to be logged; empty where nothing was dropped, or it was told just now."""
        now = time.monotonic()
        if not self.dropped or now < self.told + TELL_SECONDS:
            return ""
        told = (
            f"Interpreters that wait: {kept:,} kept ({size >> 20:,} of {most >> 20:,} MB), "
            f"{self.dropped:,} dropped, {self.rebuilt:,} rebuilt in {self.seconds:.1f} s"
        )
        self.dropped = self.rebuilt = 0
        self.seconds, self.told = 0.0, now
        return told


@per_process
def idle() -> Idle:
    """Give the keeper of this process.

    Raises:
        ConfigurationError: the environment has no number of megabytes.
    """
    return Idle(most_bytes(), _most())


def most_bytes() -> int:
    """Give the memory that the interpreters of a process may have together while they wait.

    Raises:
        ConfigurationError: the environment has no number of megabytes.
    """
    given = os.environ.get(VARIABLE, "").strip()
    if not given:
        return total_bytes() // SHARE
    if not given.isdigit():
        raise ConfigurationError(
            f"{VARIABLE}={given!r} must be a whole number of megabytes; 0 keeps no interpreter."
        )
    return int(given) << 20


def _most() -> int:
    """Give how many fit the open files that this process may have, with half of them left."""
    try:
        import resource
    except ImportError:  # Windows
        return 256
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return 4096
    return max(16, min(4096, files // (2 * FILES_EACH)))
