"""Places: the paths of entries in a log, and a typed door to each kind of entry. Changes nothing.

A door gives None where nothing, or an entry of another kind, stands at the place.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from langgraph_rlm.budget.usage import Usage, added_up
from langgraph_rlm.log.entries import (
    AnyLog,
    CallEntry,
    CellEntry,
    CompactionEntry,
    LogEntry,
    NativeCall,
    QuestionEntry,
    RefusedEntry,
    ReplyEntry,
    TurnEntry,
)
from langgraph_rlm.log.grown import known_log
from langgraph_rlm.storage.context import ContextHandle

# The paths


def question_place(number: int) -> str:
    """`"run.0"` for the first question of the thread."""
    return f"run.{number}"


def compaction_place(number: int) -> str:
    """`"compaction.0"` for the first summary of the thread."""
    return f"compaction.{number}"


def refused_place(turn: int) -> str:
    """`"refused.2"` for the refusal of turn 2's answer."""
    return f"refused.{turn}"


def cell_place(turn: int, cell: int) -> str:
    """`"2.0"` for the first cell of turn 2."""
    return f"{turn}.{cell}"


def call_place(cell: str, ordinal: int) -> str:
    """`"2.0/3"` for the fourth host call of the cell at `"2.0"`."""
    return f"{cell}/{ordinal}"


def item_place(call: str, item: int) -> str:
    """`"2.0/3/17"` for the answer to item 17 of the call at `"2.0/3"`."""
    return f"{call}/{item}"


def call_of(item: str) -> str:
    """`"2.0/3"`, the call, of the place of an answer, `"2.0/3/17"`."""
    return item.rpartition("/")[0]


def cell_of(place: str) -> str:
    """`"2.0"`, the cell, of the place of a call or of an answer."""
    return place.partition("/")[0]


def turn_of(place: str) -> int | None:
    """The number of the turn that a place belongs to; None for a question or a summary."""
    head = place.partition("/")[0].removeprefix("refused.").partition(".")[0]
    return int(head) if head.isdigit() else None


# The doors


def turn_at(log: AnyLog, number: int) -> TurnEntry:
    """The turn of a number.

    Raises:
        KeyError: the log has no such turn.
    """
    entry = log[str(number)]
    if entry["kind"] != "turn":
        raise KeyError(str(number))
    return entry


def cell_at(log: AnyLog, place: str) -> CellEntry | None:
    """The end of the cell at a place."""
    entry = log.get(place)
    return entry if entry is not None and entry["kind"] == "cell" else None


def call_at(log: AnyLog, place: str | None) -> CallEntry | None:
    """The call at a place; None also for the place None."""
    entry = log.get(place) if place is not None else None
    return entry if entry is not None and entry["kind"] == "call" else None


def reply_at(log: AnyLog, place: str) -> ReplyEntry | None:
    """The answer at a place."""
    entry = log.get(place)
    return entry if entry is not None and entry["kind"] == "reply" else None


def refusal(log: AnyLog, turn: int) -> RefusedEntry | None:
    """Why the answer that a turn gave was refused; None if it was not."""
    entry = log.get(refused_place(turn))
    return entry if entry is not None and entry["kind"] == "refused" else None


# All of a kind


def questions_of(log: AnyLog) -> list[QuestionEntry]:
    """The questions of the thread, first to last."""
    known = known_log(log)
    if known is not None:
        return known.lineage.questions[: known.question_count]
    return [entry for entry in _numbered(log, "run.") if entry["kind"] == "run"]


def questions_up_to(log: AnyLog, turn: int) -> list[QuestionEntry]:
    """The questions of the thread whose first turn is `turn` or one before it."""
    questions = questions_of(log)
    return questions[: bisect_right(questions, turn, key=lambda question: question["turn"])]


def first_question(log: AnyLog) -> QuestionEntry:
    """The first question; there must be one."""
    return _question_at(log, 0)


def last_question(log: AnyLog) -> QuestionEntry:
    """The newest question; there must be one."""
    return _question_at(log, question_count(log) - 1)


def _question_at(log: AnyLog, number: int) -> QuestionEntry:
    entry = log[question_place(number)]
    if entry["kind"] != "run":
        raise KeyError(question_place(number))
    return entry


def question_count(log: AnyLog) -> int:
    """How many questions there are."""
    known = known_log(log)
    return sum(1 for _ in _numbered(log, "run.")) if known is None else known.question_count


def compactions(log: AnyLog) -> list[CompactionEntry]:
    """The summaries, oldest first."""
    known = known_log(log)
    if known is not None:
        return known.lineage.compactions[: known.compaction_count]
    return [entry for entry in _numbered(log, "compaction.") if entry["kind"] == "compaction"]


def turns(log: AnyLog, first: int = 0) -> list[TurnEntry]:
    """The turns from number `first` on."""
    known = known_log(log)
    if known is not None:
        return known.lineage.turns[first : known.turn_count]
    return [entry for entry in _numbered(log, "", first) if entry["kind"] == "turn"]


def turn_count(log: AnyLog) -> int:
    """How many turns there are."""
    known = known_log(log)
    return sum(1 for _ in _numbered(log, "")) if known is None else known.turn_count


def last_turn(log: AnyLog) -> TurnEntry:
    """The newest turn; there must be one."""
    return turn_at(log, turn_count(log) - 1)


def iteration_of(log: AnyLog) -> int:
    """How many turns the newest question has taken."""
    return turn_count(log) - last_question(log)["turn"]


def cells_of(log: AnyLog, turn: int, count: int) -> list[CellEntry | None]:
    """The ends of the first `count` cells of a turn, None for those that have not ended."""
    return [cell_at(log, cell_place(turn, index)) for index in range(count)]


def native_places(turn: int, entry: TurnEntry) -> dict[str, NativeCall]:
    """The calls that the root model made without code in a turn, by place."""
    calls = enumerate(entry.get("tool_calls", ()))
    return {call_place(str(turn), ordinal): call for ordinal, call in calls}


def spent_on(log: AnyLog, call: str | None) -> Usage | None:
    """What the answers to the call at a place have spent, as far as they are there; None where
    nothing is known, and for the place None."""
    entry = call_at(log, call)
    if call is None or entry is None:
        return None
    replies = (reply_at(log, item_place(call, item)) for item in range(entry["items"]))
    paid = [reply["usage"] for reply in replies if reply is not None and "usage" in reply]
    return added_up(paid) if paid else None


def _numbered(log: AnyLog, prefix: str, first: int = 0) -> Iterator[LogEntry]:
    while (entry := log.get(f"{prefix}{first}")) is not None:
        yield entry
        first += 1


# Contexts


def context_names(questions: Sequence[QuestionEntry]) -> list[str]:
    """The names, `context_3` and on, of what came with the last of `questions`."""
    before = sum(len(question["contexts"]) for question in questions[:-1])
    return [f"context_{before + index}" for index in range(len(questions[-1]["contexts"]))]


MOST_PARSED = 4096
_parsed: dict[int, tuple[QuestionEntry, list[ContextHandle]]] = {}


def handles_in(question: QuestionEntry) -> list[ContextHandle]:
    """The contexts that came with a question. An entry is not changed once it is in a log, so that
    its handles are made once."""
    known = _parsed.get(id(question))
    if known is not None and known[0] is question:
        return known[1]
    handles = [ContextHandle.from_dict(given) for given in question["contexts"]]
    if len(_parsed) >= MOST_PARSED:
        _parsed.clear()
    _parsed[id(question)] = (question, handles)
    return handles


def handles_of(questions: Sequence[QuestionEntry]) -> dict[str, ContextHandle]:
    """The contexts of `questions` by name: `context_0`, ..., the names that users gave, and
    `context` for the first one of the newest that has any."""
    numbered: dict[str, ContextHandle] = {}
    newest: ContextHandle | None = None
    for question in questions:
        handles = handles_in(question)
        newest = handles[0] if handles else newest
        for handle in handles:
            numbered[f"context_{len(numbered)}"] = handle
    named = {handle.name: handle for handle in numbered.values() if handle.name is not None}
    return numbered if newest is None else {**numbered, **named, "context": newest}
