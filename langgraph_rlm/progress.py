"""Progress: the typed events of the "custom" stream, from every depth of a run."""

from typing import Literal, TypedDict

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import CellOutcome
from langgraph_rlm.log.reply import Problem

OUTPUT_CHARS = 2_000
"""Most characters of a cell's output in an event."""


class Where(TypedDict):
    """Which RLM of the tree an event is from."""

    depth: int
    trajectory: str


class TurnStarted(Where):
    """The root model of this RLM is asked for its next step; turns count from 1."""

    type: Literal["turn"]
    turn: int
    of: int


class Nudged(Where):
    """A reply of the root model gave nothing to run, or not all of it; it is told so."""

    type: Literal["nudge"]
    turn: int
    problem: Problem


class CodeWritten(Where):
    """A cell is about to run."""

    type: Literal["code"]
    turn: int
    code: str


class CellEnded(Where):
    """A cell has ended; `output` is its start, at most `OUTPUT_CHARS`."""

    type: Literal["output"]
    turn: int
    outcome: CellOutcome
    output: str


class SubCalls(Where):
    """How many of the calls that a cell waits for are answered; at most about a hundred events a batch."""

    type: Literal["sub_calls"]
    place: str
    function: str
    done: int
    total: int


class Spent(Where):
    """Spent so far by the whole tree in this process."""

    type: Literal["usage"]
    usage: Usage


class Answered(Where):
    """An RLM of the tree has its answer."""

    type: Literal["answer"]
    stop_reason: str


Event = TurnStarted | Nudged | CodeWritten | CellEnded | SubCalls | Spent | Answered
