"""Cell time: what may run for how long, and which of it is counted. Knows no log."""

from collections.abc import Callable
from typing import TypeVar

from langgraph_rlm.budget.clock import Deadline
from langgraph_rlm.log.entries import CellOutcome
from langgraph_rlm.repl.advance import CellLost
from langgraph_rlm.repl.base import SandboxCrashed, Session
from langgraph_rlm.repl.host import OpenCell
from langgraph_rlm.repl.watch import Watch

T = TypeVar("T")

REPLAY_PATIENCE = 10
"""How many times the limit of a cell a replay of it may take.

It kept to its limit once, but this machine may be busier.
"""


HOST_PATIENCE = 10
"""How many times the limit of a cell one answer of the host may take.

What a cell waits for does not count, but counting the matches of a gigabyte could go on for hours.
"""


class CellTime:
    """The steps of one interpreter, each within its time.

    A step that only repeats what the log has is a replay. It does not count: neither to the time of
    its cell nor to that of the run, whose clock stands still until a step does something new.
    """

    def __init__(self, session: Session, max_cell_seconds: float) -> None:
        self._session = session
        self._max_cell_seconds = max_cell_seconds
        self._deadline = Deadline()
        self._is_replaying = False
        self._watch: Watch | None = None

    @property
    def is_replaying(self) -> bool:
        """Whether the last step was a replay."""
        return self._is_replaying

    def allow(self, max_cell_seconds: float) -> None:
        """Take up a question, whose cells may take so long."""
        self._max_cell_seconds = max_cell_seconds

    def begin(self, deadline: Deadline) -> None:
        """Take up the clock of the run that wants to know more."""
        self._deadline = deadline

    def end(self) -> None:
        """Let the run's clock go on, whatever was done last."""
        self._replays(False)

    def check(self) -> None:
        """End a step of the host, in the middle of it, once its time is up.

        Raises:
            SandboxCrashed: it is. `step` makes a `CellLost` of it.
        """
        if self._watch is not None and self._watch.fired:
            raise SandboxCrashed("The time of the cell is up.")

    def left(self) -> float:
        """Give the seconds that the run has left."""
        return self._deadline.left()

    def step(
        self,
        step: Callable[[], T],
        cell: OpenCell,
        *,
        is_replay: bool,
        logged: bool,
        is_host: bool = False,
    ) -> tuple[T, float]:
        """Let the guest run within what is left of its cell's time, or the host answer it.

        Args:
            step: of the session, or of the host.
            cell: that it belongs to.
            is_replay: whether it only repeats what the log has.
            logged: whether the log has the end of the cell.
            is_host: whether it is the host's, which is not counted.

        Returns:
            What the step gave, and how many seconds it took.

        Raises:
            CellLost: the time was up, or the worker died.
        """
        self._replays(is_replay)
        allowed = self._allowed(cell, is_replay=is_replay, is_host=is_host)
        left = self._deadline.left()
        is_cut_off = left < allowed and (not is_replay or left <= 0)
        watch = self._watch = Watch(self._session, left if is_cut_off else allowed)
        try:
            with watch:
                result = step()
        except SandboxCrashed:
            outcome: CellOutcome = "crashed"
            if watch.fired:
                outcome = "stopped" if is_cut_off else "timeout"
            raise CellLost(cell.place, outcome, logged=logged) from None
        if is_host:
            return result, watch.seconds
        if is_replay:
            cell.replayed += watch.seconds
        else:
            cell.seconds += watch.seconds
        return result, watch.seconds

    def _allowed(self, cell: OpenCell, *, is_replay: bool, is_host: bool) -> float:
        if is_host:
            return self._max_cell_seconds * HOST_PATIENCE
        if is_replay:
            return self._max_cell_seconds * REPLAY_PATIENCE - cell.replayed
        return self._max_cell_seconds - cell.seconds

    def _replays(self, is_replay: bool) -> None:
        """Stop the run's clock when a replay begins, and start it when it is over."""
        if is_replay == self._is_replaying:
            return
        self._is_replaying = is_replay
        if is_replay:
            self._deadline.clock.stop()
        else:
            self._deadline.clock.start()
