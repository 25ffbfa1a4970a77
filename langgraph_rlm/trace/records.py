"""Records: a run as plain JSON objects, by the format `langgraph-rlm trace 1`. Reads nothing.

Each record has a `type` and an `id`, and says in `rlm` which RLM it belongs to and in `place` where
in that RLM's log. The same thing that is read again later has the same id, and its newer record
replaces the older one. What is not known, or does not apply, is left out. Times are seconds since
the epoch. `docs/trace.md` describes each field.
"""

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from langgraph_rlm.budget.usage import Share, Usage
from langgraph_rlm.coverage.tree import ContextCoverage
from langgraph_rlm.log.entries import CallKind, CellOutcome, Decision
from langgraph_rlm.log.reply import Problem
from langgraph_rlm.storage.out_files import GivenFile
from langgraph_rlm.trace.fields import (
    Branch,
    QuoteSpan,
    Ranges,
    RunSpan,
    Shown,
    Span,
    State,
)

FORMAT = "langgraph-rlm trace 1"

INLINE_CHARS = 500
"""Longest text that stands in a record itself."""

START_CHARS = 200
"""Characters of a longer text that its record shows."""


class TraceRecord(TypedDict):
    """The thread as a whole."""

    type: Literal["trace"]
    id: Literal["trace"]
    format: Literal["langgraph-rlm trace 1"]
    version: str
    """Of the package that wrote the record."""
    thread: str
    checkpoint: str
    """The newest checkpoint that the trace is made of."""
    namespace: str
    """The `checkpoint_ns` of the root RLM; empty where it is the whole graph."""
    root: str
    """The id of the root RLM."""
    roots: list[str]
    """The ids of all RLMs without a parent: a larger graph may have several, the newest last."""
    state: State
    sandbox: NotRequired[str]
    limits: NotRequired[dict[str, Any]]
    """Of the newest question. Left out where the graph is not known, but only its database."""
    models: list[str]
    """Names of the models that were asked, as far as the log says."""
    usage: NotRequired[Usage]
    """What the whole tree has spent on the newest question."""
    answer: NotRequired[Shown]
    stop_reason: NotRequired[str]
    structured: NotRequired[Any]
    """The answer as plain JSON values, where it had to have a form."""
    runs: list[RunSpan]
    branches: list[Branch]
    questions: int
    files: list[GivenFile]
    """What the newest answer gives back."""
    coverage: NotRequired[dict[str, float | None]]
    """The share of each context that models have seen, by its name; null where it is not known.
    Left out while the run works."""
    quotes: NotRequired[list[QuoteSpan]]
    """The quotes of the answer, in its order. Left out where there are none, or where the contexts
    are too large or gone."""


class RLMRecord(Span):
    """One RLM: the root, or a child that code asked with `rlm_query`."""

    type: Literal["rlm"]
    id: str
    rlm: str
    parent: str | None
    parent_place: str | None
    """The place of its answer in the log of its parent."""
    depth: int
    model: NotRequired[str]
    """The model that writes its code."""
    state: State
    stop_reason: NotRequired[str]
    answer: NotRequired[Shown]
    usage: NotRequired[Usage]
    """What it has spent on its newest question, with its children."""
    question: NotRequired[Shown]
    """Its first question."""
    instructions: NotRequired[Shown]
    """The system messages of its input."""


class ContextRecord(TypedDict):
    """A context, as it came with a question or with one item of an `rlm_query`."""

    name: NotRequired[str]
    """`context_0` and on, counted over the thread; left out in a reply."""
    user_name: NotRequired[str]
    digest: str
    """sha256 of its stored text."""
    kind: str
    size: int
    """Bytes."""
    length: int
    """Characters; bytes of a picture or a sound."""
    items: NotRequired[int]
    source: NotRequired[str]
    index: NotRequired[str]
    """Digest of the list of its files: `[path, first byte, bytes]` each."""
    about: NotRequired[str]
    """Digest of what is known of its files beside their text."""
    tables: NotRequired[str]
    """Digest of what is known of its tables."""
    skipped: NotRequired[list[str]]
    """What was not read of it, and why."""


class Stamp(TypedDict):
    """When a record's event was over, how long it took, and which invocation wrote it. Threads of
    earlier versions have none of it."""

    at: NotRequired[float]
    seconds: NotRequired[float]
    run: NotRequired[str]


class InLog(Stamp):
    """What all records of a log's entries have."""

    id: str
    rlm: str
    place: str


class QuestionRecord(InLog):
    """One question to an RLM."""

    type: Literal["question"]
    number: int
    question: Shown
    contexts: list[ContextRecord]
    turn: int
    """The number of its first turn."""
    settings: NotRequired[dict[str, Any]]
    """What this question had of its own, as `RunSettings` names it; `prompt` is a text."""


class TurnRecord(InLog):
    """One reply of the model that writes an RLM's code."""

    type: Literal["turn"]
    number: int
    question: int
    """The number of the question that it works on."""
    reply: Shown
    """As the model wrote it."""
    prose: NotRequired[Shown]
    """What it wrote beside its thoughts and its code."""
    thoughts: NotRequired[Shown]
    cells: list[str]
    """Places of its cells."""
    final: NotRequired[Shown]
    """The answer that it gave in prose."""
    model: NotRequired[str]
    usage: NotRequired[Share]
    limit: NotRequired[str]
    """The limit at which it was asked for the best answer so far."""
    is_cut: NotRequired[bool]
    problem: NotRequired[Problem]
    """Why the reply has nothing to do, or not all of it."""


class FileChange(TypedDict):
    """A file that a cell has written."""

    digest: str
    size: int
    type: str


class CellRecord(InLog):
    """One cell of code."""

    type: Literal["cell"]
    turn: int
    code: Shown
    state: Literal["ended", "open", "not run"]
    outcome: NotRequired[CellOutcome]
    stdout: NotRequired[Shown]
    value: NotRequired[Shown]
    """The `repr` of its last expression."""
    error: NotRequired[Shown]
    reads: NotRequired[Ranges]
    """What `peek` and `grep` gave to the code."""
    read_bytes: NotRequired[dict[str, int]]
    """How many bytes that was, where `reads` has joined ranges; see `storage/ranges.py`."""
    final: NotRequired[Shown]
    files: NotRequired[dict[str, FileChange | None]]
    """Files that it has written or changed, by name; null for one that is gone."""
    left_out: NotRequired[list[str]]


class CallRecord(InLog):
    """One call that code made, or a tool call of the model's own."""

    type: Literal["call"]
    cell: NotRequired[str]
    """Left out of a call that the model made without code."""
    turn: int
    call: CallKind
    function: str
    items: int
    request: NotRequired[Shown]
    """Of a tool or of `sql`: the arguments as JSON."""


class ReplyRecord(InLog):
    """The answer to one item of a call, or what stands in its place."""

    type: Literal["reply"]
    call: str
    item: int
    state: Literal["answered", "failed", "open", "paused", "dropped"]
    """`dropped`: its cell ended without it."""
    prompt: NotRequired[Shown]
    ranges: NotRequired[Ranges]
    """The parts of a context that stand in the prompt, where code gave them as ranges."""
    context: NotRequired[ContextRecord]
    images: NotRequired[list[dict[str, Any]]]
    """What was shown to the model beside the prompt."""
    model: NotRequired[str]
    child: NotRequired[str]
    """The id of the RLM that answered."""
    thread: NotRequired[str]
    """The thread of a child that ran elsewhere. Without a `child` beside it, its records are not in
    this database, or it has not begun."""
    value: NotRequired[Shown]
    error: NotRequired[Shown]
    thoughts: NotRequired[Shown]
    is_json: NotRequired[bool]
    usage: NotRequired[Share]
    """What it has spent, a child's whole tree included."""
    waited: NotRequired[float]
    """Seconds from the call until it was worked on."""
    reads: NotRequired[Ranges]
    """Of `sql`: what it has read."""
    read_bytes: NotRequired[dict[str, int]]
    seen: NotRequired[Ranges]
    """Of a child's answer: what models have seen of the child's contexts."""
    decision: NotRequired[Decision]
    refused: NotRequired[bool]
    """True of the first item of a batch that was larger than what was left of the budget: no item
    of it was asked, and the others have no record."""


class PauseRecord(TypedDict):
    """An open pause."""

    type: Literal["pause"]
    id: str
    rlm: str
    place: NotRequired[str]
    """Of the answer that is waited for."""
    interrupt: str
    """The id under which `Command(resume={id: answer})` answers it."""
    kind: Literal["approval", "external", "other"]
    tool: NotRequired[str]
    arguments: NotRequired[Any]
    value: Any
    """What LangGraph's `Interrupt` shows."""
    schema: NotRequired[Any]
    """JSON schema of the answers that it takes."""


class SummaryRecord(InLog):
    """A summary that stands for earlier turns in what the model is sent."""

    type: Literal["summary"]
    number: int
    turn: int
    """It stands for the turns before this one."""
    summary: Shown
    usage: NotRequired[Share]


class RefusedRecord(InLog):
    """An answer that did not have the form that was asked for."""

    type: Literal["refused"]
    turn: int
    answer: Shown
    error: Shown


class CoverageRecord(ContextCoverage):
    """What is known to have been seen of one context of the root."""

    type: Literal["coverage"]
    id: str
    rlm: str


class SpentRecord(TypedDict):
    """What the whole tree had spent, by time: columns of equal length, each value the sum so far.
    Left out where the log has no times."""

    type: Literal["spent"]
    id: Literal["spent"]
    at: list[float]
    cost: list[float]
    """USD of the calls whose price is known."""
    tokens: list[int]
    sub_calls: list[int]


class TextRecord(TypedDict):
    """Only in a JSONL file: a text that records refer to."""

    type: Literal["text"]
    digest: str
    text: str


Record = (
    TraceRecord
    | RLMRecord
    | QuestionRecord
    | TurnRecord
    | CellRecord
    | CallRecord
    | ReplyRecord
    | PauseRecord
    | SummaryRecord
    | RefusedRecord
    | CoverageRecord
    | SpentRecord
)
