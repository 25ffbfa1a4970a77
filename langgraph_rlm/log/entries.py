"""The trajectory: everything that happened in a run, in one append-only mapping from places to entries.

A place is a path: `"2"` a turn of the root model, `"2.0"` its first cell, `"2.0/3"` that cell's fourth host call,
`"2.0/3/17"` the answer to item 17 of it, `"2/0"` a tool call that the model made without code, `"run.0"` the first question of the
thread, `"compaction.0"` the first summary. Entries are plain values, so that a checkpoint needs no code to be read. The
interpreter's heap is only a cache of this log.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NotRequired, cast

from pydantic_core import PydanticSerializationError, to_json
from typing_extensions import TypedDict

from langgraph_rlm.budget.usage import Share, Usage, whole
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import ContextHandle, HandleDict

CallKind = Literal["llm", "rlm", "tool"]
CellOutcome = Literal["ok", "error", "timeout", "crashed", "stopped"]
"""`stopped`: a limit of the run ended it, or another question that came in its middle."""


class RunEntry(TypedDict):
    """One question put to the thread."""

    kind: Literal["run"]
    question: Text
    contexts: list[HandleDict]
    """What this question brought, by reference; named `context_0` and on over the thread."""
    turn: int
    """The number of its first turn."""
    started: float
    """Seconds since the epoch; the interpreter's clock stands where the first question started."""


class NativeCall(TypedDict):
    """One tool call that the root model made without code. Its arguments are those of the call entry at its place."""

    name: str
    id: str


class TurnEntry(TypedDict):
    """One reply of the root model. Its cells and prose answer are parsed from it, never stored twice."""

    kind: Literal["turn"]
    reply: Text
    limit: str | None
    """Set on the turn that was asked for the best answer so far: the limit that was reached."""
    tool_calls: NotRequired[list[NativeCall]]
    """Call number N is at the place `"2/N"`; they are answered before any cell of the turn runs."""


class CellEntry(TypedDict):
    """How one cell ended. A `timeout`, `crashed` or `stopped` cell is rolled back: replay leaves it out."""

    kind: Literal["cell"]
    outcome: CellOutcome
    stdout: Text
    """What it printed, head and tail."""
    value: Text | None
    """The `repr` of its trailing expression."""
    error: Text | None
    """The traceback that the model sees."""
    digest: str
    """Of stdout (whole), value and error: replay must arrive at the same."""
    reads: dict[str, list[list[int]]]
    """Byte ranges that `peek` and `grep` read, merged, by context digest."""
    final: Text | None
    """The value given to FINAL, FINAL_VAR or `answer`."""


class CallEntry(TypedDict):
    """One host call that code made. `request` is its canonical JSON, `digest` the sha256 of that."""

    kind: Literal["call"]
    call: CallKind
    function: str
    digest: str
    request: Text
    items: int


class ReplyEntry(TypedDict):
    """The answer to one item of a call; `error` in its place when it failed."""

    kind: Literal["reply"]
    value: Text | None
    """Of a model or child its text, of a tool its JSON."""
    error: str | None
    model: str | None
    usage: NotRequired[Share]
    """What it has spent, every try and the whole of a child included; `seconds` are those that no other entry counts. It goes to the
    run's usage when the code that asked goes on."""
    json: NotRequired[bool]
    """True where a model or child answered a `schema=`: `value` is JSON, and code gets what it says."""


class CompactionEntry(TypedDict):
    """A summary that stands for earlier turns in what the root model is sent. The turns themselves stay in the log."""

    kind: Literal["compaction"]
    turn: int
    """It stands for the turns before this one, of whatever questions."""
    summary: Text


class RefusedEntry(TypedDict):
    """The answer that a turn gave does not have the form that is asked for. At `"refused.2"` for turn 2; the run went on."""

    kind: Literal["refused"]
    answer: Text
    error: Text


LogEntry = (
    RunEntry | TurnEntry | CellEntry | CallEntry | ReplyEntry | CompactionEntry | RefusedEntry
)
Log = dict[str, LogEntry]


def merge_log(log: Log | None, writes: Sequence[Log]) -> Log:
    """Reducer: later writes win. Associative over any batching, as `DeltaChannel` asks."""
    merged = dict(log or {})
    for write in writes:
        merged.update(write)
    return merged


def runs(log: Mapping[str, LogEntry]) -> list[RunEntry]:
    """The questions of the thread, first to last."""
    return [cast(RunEntry, entry) for entry in _numbered(log, "run.")]


def compactions(log: Mapping[str, LogEntry]) -> list[CompactionEntry]:
    """The summaries, oldest first."""
    return [cast(CompactionEntry, entry) for entry in _numbered(log, "compaction.")]


def refused_place(turn: int) -> str:
    """`"refused.2"`."""
    return f"refused.{turn}"


def refusal(log: Mapping[str, LogEntry], turn: int) -> RefusedEntry | None:
    """Why the answer that a turn gave was refused; None if it was not."""
    return cast("RefusedEntry | None", log.get(refused_place(turn)))


def turns(log: Mapping[str, LogEntry], first: int = 0) -> list[TurnEntry]:
    """The turns from number `first` on."""
    return [cast(TurnEntry, entry) for entry in _numbered(log, "", first)]


def turn_count(log: Mapping[str, LogEntry]) -> int:
    """How many turns there are."""
    return sum(1 for _ in _numbered(log, ""))


def last_turn(log: Mapping[str, LogEntry]) -> TurnEntry:
    """The newest turn; there must be one."""
    return cast(TurnEntry, log[str(turn_count(log) - 1)])


def _numbered(log: Mapping[str, LogEntry], prefix: str, first: int = 0) -> Iterator[LogEntry]:
    while (entry := log.get(f"{prefix}{first}")) is not None:
        yield entry
        first += 1


def cell_place(turn: int, cell: int) -> str:
    """`"2.0"`."""
    return f"{turn}.{cell}"


def call_place(cell: str, ordinal: int) -> str:
    """`"2.0/3"`."""
    return f"{cell}/{ordinal}"


def native_places(turn: int, entry: TurnEntry) -> dict[str, NativeCall]:
    """The calls that the root model made without code, by place."""
    return {
        call_place(str(turn), ordinal): call
        for ordinal, call in enumerate(entry.get("tool_calls", ()))
    }


def item_place(call: str, item: int) -> str:
    """`"2.0/3/17"`."""
    return f"{call}/{item}"


def spent_on(log: Mapping[str, LogEntry], call: str | None) -> list[Usage]:
    """What the answers to a call have spent, as far as they are there; nothing for None."""
    entry = cast("CallEntry | None", log.get(call or ""))
    replies = (
        cast("ReplyEntry | None", log.get(item_place(call or "", item)))
        for item in range(entry["items"] if entry else 0)
    )
    return [whole(reply["usage"]) for reply in replies if reply is not None and "usage" in reply]


def digest_of(canonical: str) -> str:
    """sha256 in hexadecimal."""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values, equal text. `value` as `plain` gives it."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_texts(value: Mapping[str, str | list[str] | None]) -> str:
    """What `canonical` gives, for a mapping to texts alone, in a fifth of the time: a batch has megabytes of prompts."""
    try:
        return to_json(dict(sorted(value.items()))).decode()
    except PydanticSerializationError:  # lone surrogates
        return canonical(value)


def plain(value: Any) -> Any:
    """What a guest handed over, as JSON values: tuples and sets become lists (sets sorted by text), other objects their `str`."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {
            key if isinstance(key, str) else str(key): plain(item)
            for key, item in cast(Mapping[Any, Any], value).items()
        }
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast(Sequence[Any], value)]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in cast(set[Any], value)), key=str)
    return str(value)


def context_names(questions: Sequence[RunEntry]) -> list[str]:
    """The names of what the last of `questions` brought."""
    before = sum(len(question["contexts"]) for question in questions[:-1])
    return [f"context_{before + index}" for index in range(len(questions[-1]["contexts"]))]


def handles_of(questions: Sequence[RunEntry]) -> dict[str, ContextHandle]:
    """The contexts that `questions` brought by each of their names: `context_0`, ..., and `context` for the newest."""
    handles = [
        ContextHandle.from_dict(given) for question in questions for given in question["contexts"]
    ]
    named = {f"context_{index}": handle for index, handle in enumerate(handles)}
    newest = next(
        (question["contexts"][0] for question in reversed(questions) if question["contexts"]), None
    )
    return named if newest is None else {**named, "context": ContextHandle.from_dict(newest)}


async def reply_entry(value: str, store: BlobStore, model: str | None = None) -> ReplyEntry:
    """The log entry of the answer to one item of a call."""
    return ReplyEntry(kind="reply", value=await store.keep(value), error=None, model=model)


async def json_reply_entry(value: str, store: BlobStore, model: str | None = None) -> ReplyEntry:
    """The log entry of an answer to a `schema=`: code gets what the JSON says."""
    return {**await reply_entry(value, store, model), "json": True}


def error_entry(error: str, model: str | None = None) -> ReplyEntry:
    """The log entry of a failure."""
    return ReplyEntry(kind="reply", value=None, error=error, model=model)
