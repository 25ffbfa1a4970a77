"""Progress: the typed events of the "custom" stream, from every depth of a run. Sends none."""

from typing import Literal, NotRequired, TypedDict, TypeGuard, get_args

from langgraph_rlm.budget.usage import Usage
from langgraph_rlm.log.entries import CellOutcome
from langgraph_rlm.log.reply import Problem
from langgraph_rlm.storage.json_types import is_dict

OUTPUT_CHARS = 2_000
"""Most characters of a cell's output in an event."""


class Where(TypedDict):
    """Which RLM of the tree an event is from."""

    depth: int
    """The root is 0."""
    trajectory: str
    """The id of the RLM."""
    parent: NotRequired[str]
    """Of a child, in its turns, code and outputs: the id of the RLM whose code called it."""
    parent_place: NotRequired[str]
    """The place in the parent's log that the child's answer is for."""


class TurnStarted(Where):
    """The root model of this RLM is asked for its next step."""

    type: Literal["turn"]
    turn: int
    """Number of the turn, from 1."""
    of: int
    """Most turns that the question may take."""


class Nudged(Where):
    """A reply of the root model gave nothing to run, or not all of it. The model is told so."""

    type: Literal["nudge"]
    turn: int
    problem: Problem


class Replayed(Where):
    """Cells that the log has are run again, to rebuild an interpreter of which nothing is left.

    A replay that takes less than a second sends none of these events; their time is not counted.
    """

    type: Literal["replay"]
    done: int
    """Cells that were run again so far."""
    total: int


class CodeWritten(Where):
    """A cell is about to run."""

    type: Literal["code"]
    turn: int
    code: str


class CellEnded(Where):
    """A cell has ended."""

    type: Literal["output"]
    turn: int
    outcome: CellOutcome
    output: str
    """The start of what it printed, at most `OUTPUT_CHARS`."""


class SubCalls(Where):
    """How many of the calls that a cell waits for are answered.

    A batch sends about a hundred of these events at most.
    """

    type: Literal["sub_calls"]
    place: str
    """The place of the batch in the log."""
    function: str
    done: int
    total: int


class FilesDiffer(Where):
    """A cell was run again, and wrote other bytes than its log has. Those of the log stand."""

    type: Literal["files_differ"]
    place: str
    """The place of the cell in the log."""
    names: list[str]


class Spent(Where):
    """What the whole tree has spent so far in this process."""

    type: Literal["usage"]
    usage: Usage


class Waiting(Where):
    """The provider of a model has had too many calls. All of the tree's calls of it wait, and then
    start more slowly."""

    type: Literal["waiting"]
    model: str
    seconds: float
    """How long, at least."""


class ChildElsewhere(Where):
    """A child that runs elsewhere is waited for, or has ended. `trajectory` is its parent's."""

    type: Literal["child"]
    state: Literal["started", "ended"]
    thread: str
    """The child's thread, on the engine that runs it."""
    place: str
    """The place in the parent's log that its answer is for."""


class Answered(Where):
    """An RLM of the tree has its answer."""

    type: Literal["answer"]
    stop_reason: str


Event = (
    TurnStarted
    | Nudged
    | Replayed
    | CodeWritten
    | CellEnded
    | SubCalls
    | FilesDiffer
    | Spent
    | Waiting
    | ChildElsewhere
    | Answered
)
"""Any event. Its `type` says which one it is."""

TYPES = frozenset(get_args(event.__annotations__["type"])[0] for event in get_args(Event))
"""The `type` of each."""


def is_event(value: object) -> TypeGuard[Event]:
    """Tell whether a part of the "custom" stream is an event of an RLM. Tools write theirs there
    too, in any form."""
    if not is_dict(value):
        return False
    return value.get("type") in TYPES and "trajectory" in value and "depth" in value
