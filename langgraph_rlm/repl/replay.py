"""Replay: one loop that runs cells against a log. What is in the log is answered from it and checked; what is not is new.

The same loop is the live path (an interpreter that stands at the end of its log) and the cold path (a new one that
starts at the beginning). It blocks: `sessions.py` runs it in worker threads.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph_rlm.errors import ReplayDivergedError
from langgraph_rlm.log.entries import (
    ROLLED_BACK,
    CallEntry,
    CellEntry,
    CellOutcome,
    Log,
    LogEntry,
    ReplyEntry,
    TurnEntry,
)
from langgraph_rlm.log.places import (
    call_at,
    call_place,
    cell_at,
    cell_place,
    handles_of,
    item_place,
    questions_of,
    refusal,
    refused_place,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.reply import assigned_names, parse_reply, reply_of
from langgraph_rlm.log.text import answer_text, canonical, clip, digest_of
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    SandboxCrashed,
    Session,
)
from langgraph_rlm.repl.host import Host, LateValues, OpenCell
from langgraph_rlm.repl.host_functions import RESERVED, names_of, respond
from langgraph_rlm.repl.requests import Request, answer_of
from langgraph_rlm.repl.watch import Watch
from langgraph_rlm.storage.blobs import BlobStore, Text
from langgraph_rlm.storage.context import encodable

REPLAY_PATIENCE = 10
"""A replayed cell ended within its limit once: on a busier machine it may take this many times as long."""


WITHDRAW = "if isinstance(answer, dict):\n    answer['ready'] = False"
"""Run before the turn that follows a refused answer: its content stays, to be repaired."""


class CellLost(Exception):
    """A cell was cut off: its session is gone and nothing that it bound is kept."""

    def __init__(self, place: str, outcome: CellOutcome, *, logged: bool) -> None:
        super().__init__(place)
        self.place = place
        self.outcome: CellOutcome = outcome
        self.logged = logged
        """The log says that it ended."""


@dataclass
class Advance:
    """How far the loop came: what is new, and the call that it waits for or the answer that it found."""

    entries: Log = field(default_factory=dict[str, LogEntry])
    suspended: str | None = None
    """Place of the call whose answers are not all in the log."""
    final: Text | None = None


class Repl:
    """One trajectory's interpreter, as far as its log has been applied."""

    def __init__(self, session: Session, values: LateValues, host: Host) -> None:
        self._session = session
        self._values = values
        self._host = host
        self._applied: Log = {}
        self._turn = 0
        self._questions = 0
        self._open: OpenCell | None = None
        self._names: set[str] = set()
        self._restore: frozenset[str] = frozenset()
        self._watches_answer = False
        self._withdraw = False
        self._deadline: float | None = None

    def stands_in(self, log: Mapping[str, LogEntry]) -> bool:
        """Whether all that this interpreter has gone through is what `log` says: false after a fork, an edit, or another question in
        the middle of a cell.
        """
        if self._open is not None and self._open.place in log:
            return False
        return all(
            (then := log.get(place)) is entry or then == entry
            for place, entry in self._applied.items()
        )

    @property
    def applied(self) -> frozenset[str]:
        """Places of all that this interpreter has gone through."""
        return frozenset(self._applied)

    def kill(self) -> None:
        """End the worker, from any thread."""
        self._session.kill()

    def close(self) -> None:
        """Give the worker back."""
        self._session.close()

    def advance(self, log: Mapping[str, LogEntry], deadline: float | None = None) -> Advance:
        """Run on from where this interpreter stands until a call lacks answers in `log`, or the cells are done.

        Raises:
            ReplayDivergedError: code did something else than the log says.
            CellLost: a cell ran out of time, or its worker died.
        """
        self._deadline = deadline
        done = Advance()
        for place, code in self._cells(log, done):
            cell = self._open or self._start(place, code)
            now = self._run(cell, log, done)
            if now is None:
                return done
            _check_end(cell, log, now)
            then = cell_at(log, place)
            self._applied[place] = then if then is not None else now
            if then is not None:
                _check_cell(place, then, now, self._host.blobs)
                continue
            done.entries[place] = now
            if now["final"] is not None:
                done.final = now["final"]
                return done
        return done

    def _cells(self, log: Mapping[str, LogEntry], done: Advance) -> Iterator[tuple[str, str]]:
        """Cells still to be run: logged ones that were not rolled back, and those of the last turn."""
        last = turn_count(log) - 1
        for number in range(self._turn, last + 1):
            turn = turn_at(log, number)
            self._enter(number, turn, log)
            reply = reply_of(turn, self._host.blobs)
            for index, code in enumerate(() if turn["limit"] else reply.steps):
                place = cell_place(number, index)
                entry = cell_at(log, place)
                if (
                    place in self._applied
                    or (entry is None and number < last)
                    or (entry and entry["outcome"] in ROLLED_BACK)
                ):
                    continue
                if (
                    entry is None
                    and index == len(reply.cells)
                    and _has_failed(number, index, {**log, **done.entries})
                ):
                    continue
                yield place, code

    def _enter(self, number: int, turn: TurnEntry, log: Mapping[str, LogEntry]) -> None:
        """Go on to a turn; a new question moves `context` on, and an answer that was refused is not given again by itself."""
        if number > self._turn and (refused := refusal(log, number - 1)) is not None:
            self._applied[refused_place(number - 1)] = refused
            self._withdraw = True
        self._turn = number
        self._applied[str(number)] = turn
        questions = [question for question in questions_of(log) if question["turn"] <= number]
        self._values.handles = handles_of(questions)
        self._values.history = lambda: history(log, number, self._host.blobs)
        if len(questions) > max(self._questions, 1):
            self._restore |= {"context", "answer"}
        self._questions = len(questions)

    def _start(self, place: str, code: str) -> OpenCell:
        """Open a cell; nothing of it runs yet."""
        self._watches_answer = self._watches_answer or "answer" in code
        self._names.update(assigned_names(code))
        self._open = OpenCell(place, code)
        return self._open

    def _run(self, cell: OpenCell, log: Mapping[str, LogEntry], done: Advance) -> CellEntry | None:
        """One cell from where it stands to its end, or None when it waits for a call. `done` takes what is new."""
        logged = cell.place in log
        outcome: Outcome | None = None if cell.waiting else self._feed_cell(cell, logged)
        while not isinstance(outcome, Finished):
            answer = (
                self._answer(outcome.call, cell, log, done)
                if outcome is not None
                else self._logged_answer(cell, log)
            )
            if answer is None:
                done.suspended = cell.waiting
                return None
            outcome = self._step(lambda answer=answer: self._session.resume(answer), cell, logged)
        entry = self._entry(cell, outcome, logged)
        rebindable = RESERVED | names_of(self._host) | frozenset(self._values.handles)
        self._restore |= frozenset(assigned_names(cell.code)) & rebindable
        self._open = None
        return entry

    def _feed_cell(self, cell: OpenCell, logged: bool) -> Outcome:
        """Run a cell from its first line, after binding anew what earlier cells have rebound."""
        if "SHOW_VARS" in cell.code:
            self._step(
                lambda: self._session.feed(show_vars_source(self._names - RESERVED)), cell, logged
            )
        if "history" in cell.code:
            self._restore |= {"history"}
        if self._withdraw and self._watches_answer:
            self._step(lambda: self._session.feed(WITHDRAW), cell, logged)
        self._withdraw = False
        restore = self._restore & (names_of(self._host) | frozenset(self._values))
        self._restore = frozenset()
        return self._step(lambda: self._session.feed(cell.code, restore), cell, logged)

    def _step(self, step: Callable[[], Outcome], cell: OpenCell, logged: bool) -> Outcome:
        """Let the guest run within what is left of the cell's time. Raises `CellLost`."""
        allowed = (
            self._host.limits.max_cell_seconds * (REPLAY_PATIENCE if logged else 1) - cell.seconds
        )
        left = allowed if self._deadline is None else self._deadline - time.monotonic()
        watch = Watch(self._session, min(allowed, left))
        try:
            with watch:
                result = step()
        except SandboxCrashed:
            outcome: CellOutcome = (
                "crashed" if not watch.fired else "timeout" if allowed <= left else "stopped"
            )
            raise CellLost(cell.place, outcome, logged=logged) from None
        cell.seconds += watch.seconds
        return result

    def _answer(
        self, call: HostCall, cell: OpenCell, log: Mapping[str, LogEntry], done: Advance
    ) -> Answer | None:
        """What a call gets now: an immediate answer, or the one in the log; None when it has to wait."""
        response = respond(call, cell, self._values.handles, self._host)
        if not isinstance(response, Request):
            return response
        now = self._host.requests.entry(response)
        cell.waiting = place = call_place(cell.place, cell.ordinal)
        cell.ordinal += 1
        then = call_at(log, place)
        if then is None:
            done.entries[place] = now
        else:
            _check_call(place, then, now)
        self._applied[place] = then if then is not None else now
        return self._logged_answer(cell, log)

    def _logged_answer(self, cell: OpenCell, log: Mapping[str, LogEntry]) -> Answer | None:
        waiting = cast(str, cell.waiting)
        entry = cast(CallEntry, self._applied[waiting])
        replies = {
            place: log.get(place)
            for place in (item_place(waiting, item) for item in range(entry["items"]))
        }
        if None in replies.values():
            return None
        known = cast(dict[str, ReplyEntry], replies)
        self._applied.update(known)
        cell.waiting = None
        return answer_of(entry, list(known.values()), self._host.blobs)

    def _entry(self, cell: OpenCell, finished: Finished, logged: bool) -> CellEntry:
        """The cell's log entry, with the answer that it gave."""
        error = (
            None
            if cell.ended and finished.error and finished.error.type == "SystemExit"
            else finished.error
        )
        final: Text | None = None
        if cell.ended and error is None:
            final, error = self._resolved(cell, logged)
        elif self._watches_answer:
            final = self._answer_variable(cell, logged)
        value = None if finished.value is None or cell.ended else repr(finished.value)
        return CellEntry(
            kind="cell",
            outcome="error" if error else "ok",
            stdout=self._clipped(finished.stdout),
            value=None if value is None else self._clipped(value),
            error=None if error is None else self._clipped(error.traceback),
            digest=outcome_digest(finished.stdout, value, error),
            reads=cell.reads,
            final=final,
        )

    def _clipped(self, text: str) -> Text:
        return self._host.blobs.put_text(clip(text, limit=self._host.limits.max_output_chars))

    def _resolved(self, cell: OpenCell, logged: bool) -> tuple[Text | None, CellError | None]:
        """The value of FINAL, or of the variable that FINAL_VAR names."""
        name = cell.final_name
        if name is None:
            return self._host.blobs.put_text(answer_text(cell.final)), None
        found = self._step(lambda: self._session.feed(name), cell, logged)
        if isinstance(found, Finished) and found.error is None:
            return self._host.blobs.put_text(answer_text(found.value)), None
        message = f"FINAL_VAR: there is no variable {name!r}. Bind it first, or give the value itself to FINAL."
        return None, CellError("NameError", message, f"NameError: {message}")

    def _answer_variable(self, cell: OpenCell, logged: bool) -> Text | None:
        """`answer["content"]` once `answer["ready"]` is true."""
        found = self._step(lambda: self._session.feed("answer"), cell, logged)
        value = found.value if isinstance(found, Finished) else None
        if not isinstance(value, dict) or not cast(dict[str, Any], value).get("ready"):
            return None
        return self._host.blobs.put_text(
            answer_text(cast(dict[str, Any], value).get("content", ""))
        )


def history(log: Mapping[str, LogEntry], turn: int, blobs: BlobStore) -> list[dict[str, Any]]:
    """What code sees of the turns before `turn`: for each its number, the reply, and what its cells printed or raised."""
    shown: list[dict[str, Any]] = []
    for number in range(turn):
        reply = blobs.get_text(turn_at(log, number)["reply"])
        entries = (
            cell_at(log, cell_place(number, index))
            for index in range(len(parse_reply(reply).steps))
        )
        output = [
            blobs.get_text(text)
            for entry in entries
            if entry
            for text in (entry["stdout"], entry["error"])
            if text
        ]
        shown.append(
            {"turn": number, "reply": encodable(reply), "output": encodable("".join(output))}
        )
    return shown


def _has_failed(turn: int, cells: int, log: Mapping[str, LogEntry]) -> bool:
    """Whether a cell of the turn did not end well: a FINAL_VAR in prose behind it was written blind and does not count."""
    entries = (cell_at(log, cell_place(turn, index)) for index in range(cells))
    return any(entry is not None and entry["outcome"] != "ok" for entry in entries)


def _check_call(place: str, then: CallEntry, now: CallEntry) -> None:
    if then["digest"] != now["digest"] or then["function"] != now["function"]:
        raise _diverged(
            place,
            f"called {_marked(now['function'], now)}",
            _marked(then["function"], then),
            then,
            now,
        )


def _check_end(cell: OpenCell, log: Mapping[str, LogEntry], now: CellEntry) -> None:
    """A cell makes every call that it made before, also one that had not ended."""
    then = call_at(log, call_place(cell.place, cell.ordinal))
    if then is not None:
        raise _diverged(
            cell.place,
            f"ended {_marked(now['outcome'], now)}",
            f"a call {_marked(then['function'], then)}",
            then,
            now,
        )


def _check_cell(place: str, then: CellEntry, now: CellEntry, blobs: BlobStore) -> None:
    if then["digest"] != now["digest"] or then["outcome"] != now["outcome"]:
        raise _diverged(
            place,
            f"ended {_marked(now['outcome'], now)}",
            _marked(then["outcome"], then),
            then,
            now,
        )
    if then["final"] != now["final"]:
        answer, logged = _final_text(now, blobs), _final_text(then, blobs)
        if answer != logged:
            raise _diverged(place, f"answered {answer[:40]!r}", repr(logged[:40]), then, now)


def _final_text(entry: CellEntry, blobs: BlobStore) -> str:
    return "" if entry["final"] is None else _without_addresses(blobs.get_text(entry["final"]))


def _diverged(
    place: str, did: str, logged: str, then: CallEntry | CellEntry, now: CallEntry | CellEntry
) -> ReplayDivergedError:
    error = ReplayDivergedError(
        f"Cell {place} {did}, but its log has {logged}. "
        "An edit that later entries rest on, a log of another version, or a sandbox that is not deterministic: go on from an earlier "
        "checkpoint, and edit with langgraph_rlm.fork, which finds the right one."
    )
    error.place, error.then, error.now = place, then, now
    return error


def _marked(name: str, entry: CallEntry | CellEntry) -> str:
    return f"{name!r} with {entry['digest'][:12]}"


def outcome_digest(stdout: str, value: str | None, error: CellError | None) -> str:
    """sha256 of what a cell did. Addresses in the `repr` of objects differ from process to process and mean nothing."""
    return digest_of(
        _without_addresses(canonical([stdout, value, error and [error.type, error.message]]))
    )


def _without_addresses(text: str) -> str:
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def show_vars_source(names: set[str]) -> str:
    """Source of SHOW_VARS for the names that cells have bound: no interpreter need have `globals()`."""
    lines = ["def SHOW_VARS():", "    _found = {}"]
    for name in sorted(names):
        lines += [
            "    try:",
            f"        _found[{name!r}] = {name}",
            "    except NameError:",
            "        pass",
        ]
    lines += [
        "    _shown = {}",
        "    for _name in _found:",
        "        _value = _found[_name]",
        "        _type = type(_value).__name__",
        "        _sized = _type in ('str', 'bytes', 'list', 'tuple', 'dict', 'set')",
        "        _shown[_name] = _type + ' of length ' + str(len(_value)) if _sized else _type",
        "    return _shown",
    ]
    return "\n".join(lines)
