"""Entries: everything that happened in a run, in one append-only mapping from places to entries.

A place is a path. `"2"` is a turn of the root model, `"2.0"` its first cell, `"2.0/3"` that cell's
fourth host call, `"2.0/3/17"` the answer to item 17 of that call. `"2/0"` is a tool call that the
model made without code, `"run.0"` the first question of the thread, `"compaction.0"` the first
summary, `"refused.2"` the refusal of turn 2's answer.

Entries are plain values, so that a checkpoint can be read without this package. The interpreter's
heap is only a cache of the log: whatever an entry says can be computed again from the entries
before it and the answers in it.
"""

from collections.abc import Mapping
from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

from langgraph_rlm.budget.usage import Share
from langgraph_rlm.log.text import clip
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import Facts, HandleDict
from langgraph_rlm.storage.out_files import OutFile
from langgraph_rlm.storage.ranges import Reads

CallKind = Literal["llm", "rlm", "tool", "sql"]
"""`sql` is answered on the host at once, and its entries are written with those of its cell."""
CellOutcome = Literal["ok", "error", "timeout", "crashed", "stopped"]
"""`stopped`: a limit of the run ended the cell, or another question came before it ended."""

ERROR_CHARS = 4_000
"""Most characters of an error in an entry: it is in every checkpoint as it is."""

ROLLED_BACK: frozenset[CellOutcome] = frozenset({"timeout", "crashed", "stopped"})
"""Outcomes of cells of which nothing is kept: a replay leaves them out."""


class Stamped(TypedDict):
    """When an entry was written, and by which invocation. Versions before 0.2 wrote none of it; no
    replay reads it."""

    at: NotRequired[float]
    """Seconds since the epoch, to the millisecond, when what the entry records was over; of a call,
    when code made it."""
    seconds: NotRequired[float]
    """How long that took: of a turn or a summary the model's call; of a cell the time that code
    computed; of an answer the time from when it got its slot."""
    run: NotRequired[str]
    """Names the invocation that wrote the entry, 8 hex characters. After a kill or a pause it is
    another one."""


class Settings(TypedDict, total=False):
    """What one question has that its graph does not (`runtime/settings.py`). What is left out is
    the graph's."""

    model: str
    sub_model: str
    prompt: Text
    limits: dict[str, int | float | None]
    """Limits by their names."""
    tools: list[str]
    """Names of the only tools that code may call, sorted."""
    sandbox: str
    """As it was asked for; what it is, the first question's `sandbox` says."""


class QuestionEntry(Stamped):
    """One question put to the thread, at `"run.0"` and on."""

    kind: Literal["run"]
    question: Text
    contexts: list[HandleDict]
    """What came with this question, by reference. In code they are `context_0` and on, counted over
    the thread."""
    turn: int
    """The number of its first turn."""
    started: float
    """Seconds since the epoch. The interpreter's clock stands where the first question started."""
    sandbox: NotRequired[str]
    """Of the first question: the name of the sandbox that the code runs in. Earlier versions have
    left it out."""
    skills: NotRequired[str]
    """Digest of the list of its skills (`storage/skills.py`); left out where there are none."""
    settings: NotRequired[Settings]
    """What this question alone has. Left out where that is nothing."""


class NativeCall(TypedDict):
    """One tool call that the root model made without code. Its arguments are in the call entry at
    its place."""

    name: str
    id: str


class TurnEntry(Stamped):
    """One reply of the root model. Its cells and its answer in prose are parsed from it, never
    stored twice."""

    kind: Literal["turn"]
    reply: Text
    limit: str | None
    """The limit that was reached, where the turn was asked for the best answer so far."""
    tool_calls: NotRequired[list[NativeCall]]
    """Call number N is at the place `"2/N"`. All are answered before any cell of the turn runs."""
    rules: NotRequired[int]
    """The rules by which the reply is read (`log/reply.py`), and its code's reads are answered
    (`storage/first_reads.py`); 1 where it is left out."""
    is_cut: NotRequired[bool]
    """True where the provider cut the reply off at a limit of tokens."""
    was_shortened: NotRequired[bool]
    """True where the conversation had been cut to fit the model: what came just before this turn
    may not have been sent whole."""
    thoughts: NotRequired[Text]
    """What the model thought before it replied, where its provider tells that apart: the content
    blocks as JSON, signatures included. Thoughts within the text stay in `reply`."""
    usage: NotRequired[Share]
    """What the model's call has spent. The run's usage has it too, added when the turn was
    written."""


class CellEntry(Stamped, Reads):
    """How one cell ended."""

    kind: Literal["cell"]
    outcome: CellOutcome
    stdout: Text
    """What it printed, head and tail."""
    value: Text | None
    """The `repr` of its trailing expression."""
    error: Text | None
    """The traceback that the model sees."""
    digest: str
    """sha256 of stdout (whole), value and error. A replay must arrive at the same."""
    final: Text | None
    """The value given to FINAL, FINAL_VAR or `answer`."""
    ran: NotRequired[bool]
    """False where not one line of it ran, because its interpreter does not take it as it is."""
    files: NotRequired[dict[str, OutFile | None]]
    """Files in `out/` that the cell has written or changed, by name; None for one that is gone.
    Left out where nothing has changed."""
    left_out: NotRequired[list[str]]
    """What of `out/` was not taken, and why: sentences for the model."""
    snapshot: NotRequired[str]
    """Digest of the interpreter as it was then (`repl/snapshots.py`). Whoever does not have it
    replays the cell."""


class CallEntry(Stamped):
    """One host call that code made."""

    kind: Literal["call"]
    call: CallKind
    function: str
    digest: str
    """sha256 of the request's canonical JSON."""
    request: Text
    """The request as JSON, the keys of its dicts in their own order."""
    items: int
    snapshot: NotRequired[str]
    """Digest of the interpreter as it was then, as in `CellEntry`."""


class Decision(TypedDict):
    """What was decided about a tool call that waited."""

    type: Literal["approve", "edit", "reject", "respond", "result"]
    """`result` is the answer to a call of an external tool."""
    at: float
    """Seconds since the epoch."""
    arguments: NotRequired[dict[str, Any]]
    """Of an edit: what the tool was given instead."""
    message: NotRequired[str]
    """Of a rejection: its reason."""
    by: NotRequired[str]
    """Who decided: the `user_id` of the config that brought the answer, where it has one."""


class ReplyEntry(Stamped):
    """The answer to one item of a call, or the error in its place."""

    kind: Literal["reply"]
    value: Text | None
    """A model's or child's text; a tool's result as JSON."""
    error: str | None
    model: str | None
    usage: NotRequired[Share]
    """What the answer has spent, with every try and the whole of a child; `seconds` are those that
    no other entry counts. It is added to the run's usage when the code that asked continues."""
    thoughts: NotRequired[Text]
    """What the model thought before it replied, as text. No code gets to see it."""
    json: NotRequired[bool]
    """True where a model or child answered a `schema=`: `value` is JSON, and code gets the value
    that it stands for."""
    reads: NotRequired[dict[str, list[list[int]]]]
    """Of `sql`: what it has read, as in `Reads`."""
    read_bytes: NotRequired[dict[str, int]]
    seen: NotRequired[dict[str, list[list[int]]]]
    """Of a child: byte ranges of its contexts, by their digests, that are known to have been seen
    by a model. Left out where there are none."""
    thread: NotRequired[str]
    """Of a child that ran elsewhere: its thread, on the engine that ran it (`docs/remote.md`)."""
    refused: NotRequired[bool]
    """True at the first item of a batch that is larger than what is left: nothing of it was asked,
    and code gets a ValueError."""
    decision: NotRequired[Decision]
    """Of a tool call that waited for a human or for its result."""
    media: NotRequired[dict[str, Facts]]
    """Of a tool: pictures and the like that it gave, by the names that `value` has and `images=`
    takes, with the digests of their bytes (`original`). Left out where there are none."""


class CompactionEntry(Stamped):
    """A summary that replaces earlier turns in what the root model is sent. The turns themselves
    stay in the log."""

    kind: Literal["compaction"]
    turn: int
    """It stands for the turns before this one, whichever questions they belong to."""
    summary: Text
    usage: NotRequired[Share]
    """As in `TurnEntry`."""


class RefusedEntry(Stamped):
    """An answer that does not have the form that is asked for. The run continued with another
    turn."""

    kind: Literal["refused"]
    answer: Text
    error: Text


LogEntry = (
    QuestionEntry | TurnEntry | CellEntry | CallEntry | ReplyEntry | CompactionEntry | RefusedEntry
)
Log = dict[str, LogEntry]
"""Entries by their place."""

AnyLog = Mapping[str, LogEntry]


async def reply_entry(value: str, blobs: BlobStore, model: str | None = None) -> ReplyEntry:
    """Make the entry of the answer to one item of a call.

    Args:
        value: a model's or child's text, or a tool's result as JSON.
        blobs: takes a long value.
        model: the name that code gave as `model=`.
    """
    return ReplyEntry(kind="reply", value=await blobs.keep(value), error=None, model=model)


async def json_reply_entry(value: str, blobs: BlobStore, model: str | None = None) -> ReplyEntry:
    """Make the entry of an answer to a `schema=`. Code gets the value that the JSON text `value`
    stands for."""
    return {**await reply_entry(value, blobs, model), "json": True}


def error_entry(error: str, model: str | None = None) -> ReplyEntry:
    """Make the entry of an item that failed; `error` is what code gets to see, cut to its ends."""
    return ReplyEntry(kind="reply", value=None, error=clip(error, limit=ERROR_CHARS), model=model)


def refused_entry(error: str) -> ReplyEntry:
    """Make the entry that refuses a whole batch, at the place of its first item."""
    return ReplyEntry(kind="reply", value=None, error=error, model=None, refused=True)


def rolled_back_entry(outcome: CellOutcome, blobs: BlobStore) -> CellEntry:
    """Make the entry of a cell of which nothing is kept except that it happened."""
    return CellEntry(
        kind="cell",
        outcome=outcome,
        stdout=blobs.put_text(""),
        value=None,
        error=None,
        digest="",
        reads={},
        final=None,
    )
