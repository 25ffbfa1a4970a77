"""Replay: one loop that runs cells against a log.

What is in the log is answered from it and checked; what is not in the log is new. The same loop is
the live path (an interpreter that stands at the end of its log) and the cold path (a new one that
starts at the beginning). It blocks: `sessions.py` runs it in worker threads.
"""

import time
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

from langgraph_rlm.log.entries import (
    ROLLED_BACK,
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
    reply_at,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.python import assigned_names
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.log.steps import open_steps
from langgraph_rlm.log.text import answer_text, clip
from langgraph_rlm.repl.advance import Advance, CellLost
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    Preparing,
    SandboxCrashed,
    Session,
    Suspended,
)
from langgraph_rlm.repl.divergence import check_call, check_cell, check_end, outcome_digest
from langgraph_rlm.repl.guest import WITHDRAW, history, show_vars_source
from langgraph_rlm.repl.host import Host, LateValues, OpenCell
from langgraph_rlm.repl.host_functions import RESERVED, names_of, respond
from langgraph_rlm.repl.requests import Request, answer_of, is_refused
from langgraph_rlm.repl.watch import Watch
from langgraph_rlm.storage.blobs import Text
from langgraph_rlm.storage.json_types import is_dict

T = TypeVar("T")

REPLAY_PATIENCE = 10
"""How many times its limit a replayed cell may take.

It ended within its limit once, but this machine may be busier.
"""


class Repl:
    """The interpreter of one RLM, and how much of the log it has gone through."""

    def __init__(self, session: Session, values: LateValues, host: Host) -> None:
        self._session = session
        self._values = values
        self._host = host
        self._applied: Log = {}
        self._turn = 0
        self._rules = 1
        self._questions = 0
        self._open: OpenCell | None = None
        self._names: set[str] = set()
        self._restore: frozenset[str] = frozenset()
        self._hidden: frozenset[str] = frozenset()
        self._watches_answer = False
        self._withdraw = False
        self._deadline: float | None = None

    def stands_in(self, log: Mapping[str, LogEntry]) -> bool:
        """Tell whether `log` has everything that this interpreter has gone through.

        It does not after a fork, an edit, or another question in the middle of a cell.
        """
        if self._open is not None and self._open.place in log:
            return False
        for place, entry in self._applied.items():
            then = log.get(place)
            if then is not entry and then != entry:
                return False
        return True

    @property
    def applied(self) -> frozenset[str]:
        """The places of everything that this interpreter has gone through."""
        return frozenset(self._applied)

    def kill(self) -> None:
        """End the worker, from any thread."""
        self._session.kill()

    def close(self) -> None:
        """Give the worker back."""
        self._session.close()

    def advance(self, log: Mapping[str, LogEntry], deadline: float | None = None) -> Advance:
        """Run from where this interpreter stands until a call lacks answers, or no cell is left.

        Args:
            log: the whole log of the RLM.
            deadline: the `time.monotonic()` at which the run must end.

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
            check_end(cell, log, now)
            then = cell_at(log, place)
            if then is not None:
                self._applied[place] = then
                check_cell(place, then, now, self._host.blobs)
                continue
            self._applied[place] = now
            done.entries[place] = now
            if now["final"] is not None:
                done.final = now["final"]
                return done
        return done

    # Which cells run

    def _cells(self, log: Mapping[str, LogEntry], done: Advance) -> Iterator[tuple[str, str]]:
        """Give the cells still to be run, each with its place.

        They are the logged ones that were not rolled back, and the new ones of the last turn.
        """
        last = turn_count(log) - 1
        known = ChainMap(done.entries, dict(log))
        for number in range(self._turn, last + 1):
            turn = turn_at(log, number)
            self._enter(number, turn, log)
            if turn["limit"]:
                continue  # asked for its best answer: its code does not run
            reply = reply_of(turn, self._host.blobs)
            for index, code in enumerate(reply.steps):
                place = cell_place(number, index)
                entry = cell_at(log, place)
                if entry is None or place in self._applied:
                    continue
                if entry["outcome"] not in ROLLED_BACK:
                    yield place, code
            if number < last:
                continue  # the turn ended before its other cells
            for index in open_steps(known, number, reply, self._host.blobs):
                yield cell_place(number, index), reply.steps[index]

    def _enter(self, number: int, turn: TurnEntry, log: Mapping[str, LogEntry]) -> None:
        """Take up a turn: set what `history` and the contexts are in it."""
        if number > self._turn:
            self._note_refusal(number - 1, log)
        self._turn = number
        self._rules = turn.get("rules", 1)
        self._applied[str(number)] = turn
        questions = [question for question in questions_of(log) if question["turn"] <= number]
        self._values.handles = handles_of(questions)
        self._values.history = lambda: history(log, number, self._host.blobs)
        if len(questions) > max(self._questions, 1):  # a new question has another `context`
            self._restore |= {"context", "answer"}
        self._questions = len(questions)

    def _note_refusal(self, turn: int, log: Mapping[str, LogEntry]) -> None:
        """Keep the answer of a turn, if it was refused, from being given again by itself."""
        refused = refusal(log, turn)
        if refused is not None:
            self._applied[refused_place(turn)] = refused
            self._withdraw = True

    # One cell

    def _start(self, place: str, code: str) -> OpenCell:
        """Open a cell; nothing of it runs yet."""
        self._watches_answer = self._watches_answer or "answer" in code
        self._names.update(assigned_names(code))
        self._open = OpenCell(place, code, self._rules)
        return self._open

    def _run(self, cell: OpenCell, log: Mapping[str, LogEntry], done: Advance) -> CellEntry | None:
        """Run one cell from where it stands to its end.

        Returns:
            Its entry; None when it waits for a call. New calls are added to `done`.
        """
        logged = cell.place in log
        if cell.waiting is None:
            outcome: Outcome | None = self._feed_cell(cell, logged)
        else:
            outcome = self._resume(self._logged_answer(cell, log), cell, logged)
        while isinstance(outcome, Suspended):
            answer = self._answer(outcome.call, cell, log, done)
            outcome = self._resume(answer, cell, logged)
        if outcome is None:
            done.suspended = cell.waiting
            return None
        entry = self._entry(cell, outcome, logged)
        rebindable = RESERVED | names_of(self._host) | frozenset(self._values.handles)
        self._hidden |= outcome.hidden & rebindable
        self._restore |= frozenset(assigned_names(cell.code)) & rebindable
        self._open = None
        return entry

    def _feed_cell(self, cell: OpenCell, logged: bool) -> Outcome:
        """Run a cell from its first line, after binding anew what earlier cells have rebound."""
        if "SHOW_VARS" in cell.code:
            source = show_vars_source(self._names - RESERVED)
            self._step(partial(self._session.feed, source), cell, logged)
        if "history" in cell.code:
            self._restore |= {"history"}
        if self._withdraw and self._watches_answer:
            self._step(partial(self._session.feed, WITHDRAW), cell, logged)
        self._withdraw = False
        if cell.rules > 1:  # what was hidden without an assignment stayed so, by the first rules
            self._restore |= self._hidden
            self._hidden = frozenset()
        code = self._prepared(cell, logged)
        if isinstance(code, CellError):
            return Finished("", error=code, ran=False)
        restore = self._restore & (names_of(self._host) | frozenset(self._values))
        outcome = self._step(partial(self._session.feed, code, restore), cell, logged)
        if cell.rules == 1 or not isinstance(outcome, Finished) or outcome.ran:
            self._restore = frozenset()
        return outcome

    def _prepared(self, cell: OpenCell, logged: bool) -> str | CellError:
        """Give the code to feed, or the error that tells what the interpreter lacks for it."""
        session = self._session
        if cell.rules == 1 or not isinstance(session, Preparing):
            return cell.code
        return self._step(partial(session.prepare, cell.code), cell, logged)

    def _resume(self, answer: Answer | None, cell: OpenCell, logged: bool) -> Outcome | None:
        """Hand the guest the answer that it waits for; None while there is none."""
        if answer is None:
            return None
        return self._step(partial(self._session.resume, answer), cell, logged)

    def _step(self, step: Callable[[], T], cell: OpenCell, logged: bool) -> T:
        """Let the guest run within what is left of the cell's time. Raises `CellLost`."""
        patience = REPLAY_PATIENCE if logged else 1
        allowed = self._host.limits.max_cell_seconds * patience - cell.seconds
        left = allowed
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
        watch = Watch(self._session, min(allowed, left))
        try:
            with watch:
                result = step()
        except SandboxCrashed:
            outcome: CellOutcome = "crashed"
            if watch.fired:
                outcome = "timeout" if allowed <= left else "stopped"
            raise CellLost(cell.place, outcome, logged=logged) from None
        cell.seconds += watch.seconds
        return result

    # Its calls

    def _answer(
        self, call: HostCall, cell: OpenCell, log: Mapping[str, LogEntry], done: Advance
    ) -> Answer | None:
        """Answer a call at once or from the log; None when it has to wait."""
        response = respond(call, cell, self._values.handles, self._host)
        if not isinstance(response, Request):
            return response
        now = self._host.requests.entry(response)
        place = call_place(cell.place, cell.ordinal)
        cell.waiting = place
        cell.ordinal += 1
        then = call_at(log, place)
        if then is None:
            done.entries[place] = now
            self._applied[place] = now
        else:
            check_call(place, then, now)
            self._applied[place] = then
        return self._logged_answer(cell, log)

    def _logged_answer(self, cell: OpenCell, log: Mapping[str, LogEntry]) -> Answer | None:
        """Answer the call that a cell waits for from the log; None while an item is missing."""
        entry = call_at(self._applied, cell.waiting)
        assert cell.waiting is not None
        assert entry is not None
        replies: dict[str, ReplyEntry] = {}
        for item in range(entry["items"]):
            place = item_place(cell.waiting, item)
            reply = reply_at(log, place)
            if reply is None:
                return None
            replies[place] = reply
            if is_refused(reply):
                break
        self._applied.update(replies)
        cell.waiting = None
        return answer_of(entry, list(replies.values()), self._host.blobs)

    # Its end

    def _entry(self, cell: OpenCell, finished: Finished, logged: bool) -> CellEntry:
        """Make the cell's log entry, with the answer that it gave."""
        error = finished.error
        if cell.ended and error is not None and error.type == "SystemExit":
            error = None  # FINAL raised it
        final: Text | None = None
        if cell.ended and error is None:
            final, error = self._resolved(cell, logged)
        elif self._watches_answer:
            final, lost = self._answer_variable(cell, logged)
            error = error or lost
        value: str | None = None
        if finished.value is not None and not cell.ended:
            value = repr(finished.value)
        entry = CellEntry(
            kind="cell",
            outcome="ok" if error is None else "error",
            stdout=self._clipped(finished.stdout),
            value=None if value is None else self._clipped(value),
            error=None if error is None else self._clipped(error.traceback),
            digest=outcome_digest(finished.stdout, value, error),
            reads=cell.reads,
            final=final,
        )
        return entry if finished.ran else {**entry, "ran": False}

    def _clipped(self, text: str) -> Text:
        return self._host.blobs.put_text(clip(text, limit=self._host.limits.max_output_chars))

    def _resolved(self, cell: OpenCell, logged: bool) -> tuple[Text | None, CellError | None]:
        """Give the value of FINAL, or of the variable that FINAL_VAR names; else an error."""
        name = cell.final_name
        if name is None:
            return self._host.blobs.put_text(answer_text(cell.final, cell.rules)), None
        found = self._variable(name, cell, logged)
        if found.error is None:
            return self._host.blobs.put_text(answer_text(found.value, cell.rules)), None
        if _is_too_large(found, cell):
            return None, found.error
        message = (
            f"FINAL_VAR: there is no variable {name!r}. "
            "Bind it first, or give the value itself to FINAL."
        )
        return None, CellError("NameError", message, f"NameError: {message}")

    def _answer_variable(
        self, cell: OpenCell, logged: bool
    ) -> tuple[Text | None, CellError | None]:
        """Give `answer["content"]` once `answer["ready"]` is true; or why it cannot be had."""
        found = self._variable("answer", cell, logged)
        if _is_too_large(found, cell):
            return None, found.error
        if not is_dict(found.value) or not found.value.get("ready"):
            return None, None
        text = answer_text(found.value.get("content", ""), cell.rules)
        return self._host.blobs.put_text(text), None

    def _variable(self, name: str, cell: OpenCell, logged: bool) -> Finished:
        found = self._step(partial(self._session.feed, name), cell, logged)
        assert isinstance(found, Finished), "a name alone calls nothing"
        return found


def _is_too_large(found: Finished, cell: OpenCell) -> bool:
    """Tell whether there is a variable that the sandbox cannot hand over."""
    return found.error is not None and found.error.type != "NameError" and cell.rules > 1
