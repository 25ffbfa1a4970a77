"""Sessions: a cache of live interpreters over the log.

Dropping one at any moment costs time, never an answer or a call.
"""

import asyncio
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from langgraph_rlm.budget.clock import Deadline
from langgraph_rlm.errors import BlobError, ReplayDivergedError, SandboxError
from langgraph_rlm.log.entries import Log, LogEntry, rolled_back_entry
from langgraph_rlm.log.grown import merge_log
from langgraph_rlm.log.places import questions_of
from langgraph_rlm.repl.advance import Advance, CellLost
from langgraph_rlm.repl.base import Backend, Loading, SandboxCrashed, SessionSpec
from langgraph_rlm.repl.host import Host, LateValues
from langgraph_rlm.repl.host_functions import names_of
from langgraph_rlm.repl.idle import idle
from langgraph_rlm.repl.own_snapshots import Parked
from langgraph_rlm.repl.replay import Repl
from langgraph_rlm.repl.sandboxes import Sandboxes
from langgraph_rlm.repl.snapshots import Snapshots
from langgraph_rlm.repl.standing import cells_left
from langgraph_rlm.tables.desk import Desk
from langgraph_rlm.telemetry.observers import happened
from langgraph_rlm.telemetry.work import Event, Work

LOG = logging.getLogger("langgraph_rlm.repl")

TELL_SECONDS = 1.0
"""How long logged cells are run again before it is told, and between one telling and the next."""

OWNERS = itertools.count()
"""Numbers the `Sessions` of this process."""

MAX_BUSY = 8
"""Interpreters that execute at once.

None waits for a model or a child while it executes, so this can never deadlock.
"""

ATTEMPTS = 3
"""How often a cell runs whose worker dies, each time on a new worker; then it has crashed.

More than two, because a new worker may itself be dead on arrival. The last try uses no snapshot.
"""


@dataclass(frozen=True)
class ReplStart:
    """What identifies the interpreter of one RLM, and what a new one starts from."""

    id: str
    """A random id: no other thread, user or child has it."""
    started: float
    """Seconds since the epoch, where the interpreter's clock stands."""


def open_repl(backend: Backend, start: ReplStart, host: Host) -> Repl:
    """Open a new interpreter, which has gone through nothing of its log yet.

    Raises:
        SandboxError: none can be started.
    """
    values = LateValues(host)
    spec = _spec(start, host, values)
    snapshots = Snapshots(host.blobs, spec, _format(backend))
    try:
        return Repl(backend.open(spec), values, host, snapshots)
    except SandboxCrashed as error:
        raise SandboxError(f"The sandbox died as it started: {error}.") from error


def rebuilt_repl(
    backend: Backend,
    start: ReplStart,
    host: Host,
    log: Mapping[str, LogEntry],
    parked: Parked | None = None,
) -> Repl:
    """Open an interpreter that stands as far in a log as a snapshot has it, or at the beginning.

    Args:
        backend: opens it.
        start: what it starts from.
        host: of its RLM.
        log: the whole log.
        parked: a snapshot that the log does not name.

    Raises:
        SandboxError: none can be started.
    """
    values = LateValues(host)
    spec = _spec(start, host, values)
    snapshots = Snapshots(host.blobs, spec, _format(backend))
    if isinstance(backend, Loading):
        for found in snapshots.find(log, parked):
            session = backend.load(spec, found.state)
            if session is None:
                continue
            snapshots.size = len(found.state)
            repl = Repl(session, values, host, snapshots, found.standing)
            if _is_filled(repl):
                return repl
    return open_repl(backend, start, host)


def _is_filled(repl: Repl) -> bool:
    """Put files back into `out/`. Without their bytes, all cells have to write them again."""
    try:
        repl.fill_out()
    except BlobError as error:
        LOG.info("A snapshot is left out: %s", error)
        repl.close()
        return False
    return True


def _spec(start: ReplStart, host: Host, values: LateValues) -> SessionSpec:
    return SessionSpec(
        functions=names_of(host),
        values=values,
        clock=datetime.fromtimestamp(start.started, UTC),
        seed=start.id,
        max_heap_bytes=host.limits.max_heap_bytes,
        inputs_at=host.blobs.folder,
        max_out_bytes=host.limits.max_out_bytes,
    )


def _format(backend: Backend) -> str:
    return backend.state_format if isinstance(backend, Loading) else ""


class Job:
    """One `advance` in a worker thread, which its caller may abandon."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._repl: Repl | None = None
        self.abandoned = False

    def uses(self, repl: Repl) -> None:
        """Note the interpreter that runs now."""
        with self._lock:
            self._repl = repl
            if self.abandoned:
                repl.kill()

    @property
    def progress(self) -> tuple[int, int] | None:
        """See `Repl.progress`."""
        with self._lock:
            return None if self._repl is None else self._repl.progress

    def abandon(self) -> None:
        """End the running interpreter: nobody waits for it any more."""
        with self._lock:
            self.abandoned = True
            if self._repl is not None:
                self._repl.kill()


class Sessions:
    """The live interpreters of one `create_rlm`, over all its threads and children."""

    def __init__(self, sandboxes: Sandboxes) -> None:
        self.sandboxes = sandboxes
        self.desk = Desk()
        self.max_idle: int | None = None
        """How many interpreters may wait, beside the bounds of the process (`idle.py`); None for as
        many as those allow."""
        self._owner = next(OWNERS)
        self._executor = ThreadPoolExecutor(MAX_BUSY, thread_name_prefix="rlm-repl")

    @property
    def idle(self) -> int:
        """How many interpreters are alive and wait."""
        return idle().count(self._owner)

    async def advance(
        self,
        start: ReplStart,
        log: Log,
        host: Host,
        deadline: Deadline | None = None,
        tell: Callable[[int, int], None] | None = None,
        rlm: Work | None = None,
    ) -> Advance:
        """Run the cells of an RLM that come after the end of its log, in a worker thread.

        Args:
            start: identifies the interpreter.
            log: the whole log of the RLM.
            host: the host of the RLM.
            deadline: when the run must end; a cell that runs then is cut off, and has the outcome
                `stopped`. Its clock stands still while logged cells are run again.
            tell: takes how many logged cells were run again, and of how many, about once a second
                where that takes longer.
            rlm: the RLM at work, of which observers are told that its sandbox died.

        Raises:
            ReplayDivergedError: code did something else than its log says.
            SandboxError: no worker can be started, or one dies whenever logged cells are run again.
        """
        job = Job()
        work = asyncio.get_running_loop().run_in_executor(
            self._executor, self._advance, job, start, log, host, deadline or Deadline(), rlm
        )
        try:
            if tell is not None:
                await _told(work, job, tell)
            return await work
        except asyncio.CancelledError:
            work.cancel()
            job.abandon()
            raise

    def drop(self, id: str) -> None:
        """Drop one idle interpreter by its `ReplStart.id`: it holds what its log no longer says."""
        repl = idle().take(self._owner, id)
        if repl is not None:
            repl.close()

    def rest(self, ids: Iterable[str]) -> None:
        """Note that the run of some is over, or waits for a person: they go before others."""
        idle().rest(self._owner, ids)

    def drop_all(self) -> None:
        """Drop every idle interpreter. What happens next is rebuilt from the log."""
        for repl in idle().take_all(self._owner):
            repl.close()

    def release_idle(self) -> None:
        """End every worker that does nothing.

        What runs continues, and what happens next starts new workers.
        """
        self.drop_all()
        self.desk.release_idle()
        self.sandboxes.release_idle()

    def close(self) -> None:
        """End every worker."""
        self.drop_all()
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.desk.release_idle()
        self.sandboxes.close()

    def _advance(
        self,
        job: Job,
        start: ReplStart,
        log: Log,
        host: Host,
        deadline: Deadline,
        rlm: Work | None,
    ) -> Advance:
        rolled_back: Log = {}
        deaths: Counter[str] = Counter()
        is_whole = False
        while True:
            known = merge_log(log, [rolled_back]) if rolled_back else log
            is_whole = is_whole or deaths.total() == ATTEMPTS - 1
            repl = self._taken(start.id, known)
            if repl is None:
                repl = self._rebuilt(start, host, known, deadline, is_whole=is_whole)
                _tell_of_replay(known, repl, rlm)
            job.uses(repl)
            replayed = repl.own.replayed_seconds
            try:
                done = repl.advance(known, deadline)
            except ReplayDivergedError:
                repl.close()
                if is_whole or not repl.is_from_snapshot:
                    raise
                is_whole = True  # a snapshot may be at fault: the log decides
                continue
            except CellLost as lost:
                repl.close()
                deaths[lost.place] += 1
                if lost.outcome == "crashed":
                    happened(Event("sandbox crashed", lost.place, rlm))
                if job.abandoned:
                    message = "The run was cancelled while its code was executing."
                    raise SandboxError(message) from None
                rolled_back |= self._entry_of(lost, deaths[lost.place], host)
                if lost.outcome == "stopped":
                    return Advance(rolled_back)
                continue
            except BaseException:
                repl.close()
                raise
            if repl.own.replayed_seconds > replayed:
                idle().rebuilt(repl.own.replayed_seconds - replayed)
            self._put(start.id, repl, job)
            done.entries = {**rolled_back, **done.entries}
            return done

    def _rebuilt(
        self,
        start: ReplStart,
        host: Host,
        log: Mapping[str, LogEntry],
        deadline: Deadline,
        *,
        is_whole: bool,
    ) -> Repl:
        """Open an interpreter, as far in its log as a snapshot has it unless `is_whole`.

        That is not the run's own time, if there is anything to rebuild.
        """
        backend = self.sandboxes.of(questions_of(log))
        if is_whole or not cells_left(log, {}):
            return open_repl(backend, start, host)
        deadline.clock.stop()
        try:
            parked = idle().parked(self._owner, start.id)
            return rebuilt_repl(backend, start, host, log, parked)
        finally:
            deadline.clock.start()

    def _entry_of(self, lost: CellLost, deaths: int, host: Host) -> Log:
        """Make what is logged for a lost cell.

        Returns:
            Nothing while it gets another try, or when the time was up during its replay.

        Raises:
            SandboxError: it is a logged cell, and cannot be replayed.
        """
        if lost.logged and lost.outcome == "stopped":
            return {}
        if lost.logged and (deaths >= ATTEMPTS or lost.outcome == "timeout"):
            raise SandboxError(
                f"The sandbox died {deaths} times while it replayed cell {lost.place}, "
                "which once ended well. Is memory short?"
            )
        if lost.outcome != "crashed" or deaths >= ATTEMPTS:
            return {lost.place: rolled_back_entry(lost.outcome, host.blobs)}
        return {}

    def _taken(self, id: str, log: Mapping[str, LogEntry]) -> Repl | None:
        """Take the live interpreter out, for this caller alone.

        Returns:
            None if there is none, or if it has gone through another log.
        """
        repl = idle().take(self._owner, id)
        if repl is None or repl.stands_in(log):
            return repl
        repl.close()
        return None

    def _put(self, id: str, repl: Repl, job: Job) -> None:
        """Keep an interpreter for later."""
        if job.abandoned:
            repl.close()
        else:
            idle().put(self._owner, id, repl, most=self.max_idle)


def _tell_of_replay(log: Mapping[str, LogEntry], repl: Repl, rlm: Work | None) -> None:
    """Tell observers that a new interpreter has cells of its log to run again, if it has."""
    cells = cells_left(log, repl.applied)
    if cells:
        happened(Event("replay", str(cells), rlm))


async def _told(work: asyncio.Future[Advance], job: Job, tell: Callable[[int, int], None]) -> None:
    """Wait for a job, and tell how far its replay is."""
    told: tuple[int, int] | None = None
    while not (await asyncio.wait([work], timeout=TELL_SECONDS))[0]:
        progress = job.progress
        if progress is not None and progress != told:
            told = progress
            tell(*progress)
    if told is not None:
        tell(told[1], told[1])
