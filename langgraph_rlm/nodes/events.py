"""Events: what the nodes of one RLM tell of its progress, on the "custom" stream of the run's root.
Decides nothing."""

from dataclasses import dataclass

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import CellOutcome
from langgraph_rlm.log.reply import Problem
from langgraph_rlm.progress import (
    OUTPUT_CHARS,
    Answered,
    CellEnded,
    CodeWritten,
    FilesDiffer,
    Nudged,
    Replayed,
    Spent,
    SubCalls,
    TurnStarted,
    Where,
)
from langgraph_rlm.runtime.run import Caller, Run
from langgraph_rlm.state import PendingCall, RLMState

REPORTS = 100
"""About how often the progress of one batch is shown."""


@dataclass(frozen=True)
class Events:
    """The events of one RLM."""

    run: Run
    depth: int
    rlm_id: str
    caller: Caller | None = None

    @property
    def _where(self) -> Where:
        where = Where(depth=self.depth, trajectory=self.rlm_id)
        if self.caller is not None:
            where["parent"] = self.caller.rlm_id
            where["parent_place"] = self.caller.place
        return where

    def turn_started(self, turn: int, of: int) -> None:
        """Tell that the root model is asked; turns count from 1."""
        self.run.emit(TurnStarted(type="turn", turn=turn, of=of, **self._where))

    def nudged(self, turn: int, problem: Problem) -> None:
        """Tell what was wrong with a reply."""
        self.run.emit(Nudged(type="nudge", turn=turn, problem=problem, **self._where))

    def replayed(self, done: int, total: int) -> None:
        """Tell how many logged cells were run again to rebuild the interpreter."""
        self.run.emit(Replayed(type="replay", done=done, total=total, **self._where))

    def code_written(self, turn: int, code: str) -> None:
        """Tell that a cell is about to run."""
        self.run.emit(CodeWritten(type="code", turn=turn, code=code, **self._where))

    def cell_ended(self, turn: int, outcome: CellOutcome, output: str) -> None:
        """Tell how a cell ended; of its output the start."""
        shown = output[:OUTPUT_CHARS]
        event = CellEnded(type="output", turn=turn, outcome=outcome, output=shown, **self._where)
        self.run.emit(event)

    def sub_calls(self, place: str, function: str, done: int, total: int) -> None:
        """Tell how many items of a call are answered."""
        event = SubCalls(
            type="sub_calls", place=place, function=function, done=done, total=total, **self._where
        )
        self.run.emit(event)

    def files_differ(self, place: str, names: list[str]) -> None:
        """Tell that a cell, run again, wrote other files than its log has."""
        self.run.emit(FilesDiffer(type="files_differ", place=place, names=names, **self._where))

    def spent(self, usage: Usage) -> None:
        """Tell what the whole tree has spent so far in this process."""
        self.run.emit(Spent(type="usage", usage=usage, **self._where))

    def answered(self, stop_reason: str) -> None:
        """Tell that the RLM has its answer."""
        self.run.emit(Answered(type="answer", stop_reason=stop_reason, **self._where))


def events_of(run: Run, state: RLMState, caller: Caller | None = None) -> Events:
    """The events of the RLM that a state is of."""
    return Events(run, state.get("depth", 0), state["trajectory"], caller)


def answered_items(run: Run, call: PendingCall, place: str) -> int:
    """Count one more answer to the call at a place, show how far the call is, and give how many of
    its items are answered."""
    total, done = call["total"], run.count_items(call["parent"], place)
    if done == total or done % max(1, total // REPORTS) == 0:
        events = Events(run, call["depth"], call["parent"])
        events.sub_calls(place, call["function"], done, total)
        events.spent(run.ledger.usage)
    return done
