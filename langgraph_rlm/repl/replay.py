"""Replay: one loop that runs cells against a log.

What is in the log is answered from it and checked; what is not in the log is new. The same loop is
the live path (an interpreter that stands at the end of its log) and the cold path (a new one that
starts at the beginning). It blocks: `sessions.py` runs it in worker threads.
"""

from collections import ChainMap
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

from langgraph_rlm.budget.clock import Deadline
from langgraph_rlm.log.entries import (
    ROLLED_BACK,
    CallEntry,
    CellEntry,
    Log,
    ReplyEntry,
    TurnEntry,
)
from langgraph_rlm.log.places import (
    AnyLog,
    call_at,
    call_place,
    cell_at,
    cell_place,
    item_place,
    questions_up_to,
    refusal,
    refused_place,
    reply_at,
    turn_at,
    turn_count,
)
from langgraph_rlm.log.python import assigned_names
from langgraph_rlm.log.reply import reply_of
from langgraph_rlm.log.stamps import epoch
from langgraph_rlm.log.steps import open_steps
from langgraph_rlm.log.text import clip
from langgraph_rlm.repl.advance import Advance
from langgraph_rlm.repl.base import (
    Answer,
    CellError,
    Finished,
    HostCall,
    Outcome,
    Preparing,
    Session,
    Suspended,
)
from langgraph_rlm.repl.cell_files import CellFiles
from langgraph_rlm.repl.cell_time import CellTime
from langgraph_rlm.repl.divergence import check_call, check_cell, check_end, outcome_digest
from langgraph_rlm.repl.finals import answer_variable, resolved
from langgraph_rlm.repl.guest import WITHDRAW, history, show_vars_source
from langgraph_rlm.repl.host import Host, LateValues, OpenCell, with_paths
from langgraph_rlm.repl.host_functions import BY_NAME, names_of, reserved, respond
from langgraph_rlm.repl.own_snapshots import OwnSnapshots
from langgraph_rlm.repl.requests import Request, answer_of, is_refused
from langgraph_rlm.repl.snapshots import Snapshots
from langgraph_rlm.repl.standing import LastLog, Standing, cells_left
from langgraph_rlm.storage.blobs import Text
from langgraph_rlm.storage.ranges import noted
from langgraph_rlm.telemetry.observers import tell_of_sandbox

T = TypeVar("T")


class Repl:
    """The interpreter of one RLM, and how much of the log it has gone through."""

    def __init__(
        self,
        session: Session,
        values: LateValues,
        host: Host,
        snapshots: Snapshots,
        standing: Standing | None = None,
    ) -> None:
        """Take up an interpreter that stands somewhere in its log; None for the beginning."""
        self._session = session
        self._values = values
        values.use(session)
        self._base = host
        self._host = host
        self._at = standing or Standing()
        self._last = LastLog(self._at)
        self.is_from_snapshot = standing is not None
        """Whether it did not begin at the beginning of its log."""
        self._rules = 1
        self._time = CellTime(session, host.limits.max_cell_seconds)
        self._files = CellFiles(session, host, self._at)
        self.own = OwnSnapshots(session, snapshots, self._at, self._files.show)
        self._has_ended = tell_of_sandbox(self)
        self._replayed = 0
        self._to_replay: int | None = None

    def fill_out(self) -> None:
        """Put what stood in `out/` back, after a snapshot. Raises `BlobError`."""
        self._files.fill()

    @property
    def progress(self) -> tuple[int, int] | None:
        """How many cells were run again, and of how many; None while something new runs. May be
        read from any thread."""
        if not self._time.is_replaying or not self._to_replay:
            return None
        return self._replayed, self._to_replay

    def stands_in(self, log: AnyLog) -> bool:
        """Tell whether `log` has everything that this interpreter has gone through."""
        return self._last.stands_in(log)

    @property
    def applied(self) -> frozenset[str]:
        """The places of everything that this interpreter has gone through."""
        return frozenset(self._at.applied)

    def kill(self) -> None:
        """End the worker, from any thread."""
        self._session.kill()

    def close(self) -> None:
        """Give the worker back."""
        self._has_ended()
        self._session.close()

    def advance(self, log: Log, deadline: Deadline | None = None) -> Advance:
        """Run from where this interpreter stands until a call lacks answers, or no cell is left.

        Args:
            log: the whole log of the RLM.
            deadline: when code of the run is cut off. Its clock stands still during a replay.

        Raises:
            ReplayDivergedError: code did something else than the log says.
            CellLost: a cell ran out of time, or its worker died.
        """
        if self._to_replay is None:
            self._to_replay = cells_left(log, self._at.applied)
        self._time.begin(deadline or Deadline())
        try:
            return self._advance(log)
        finally:
            self._time.end()

    def _advance(self, log: Log) -> Advance:
        done = Advance()
        self._last.note(log, done.entries)
        self.own.begin(log, done.entries)
        for place, code in self._cells(log, done):
            cell = self._at.open or self._start(place, code)
            now = self._run(cell, log, done)
            if now is None:
                return done
            check_end(cell, log, now)
            then = cell_at(log, place)
            if then is not None:
                self._replayed += 1
                self._at.applied[place] = then
                check_cell(place, then, now, self._host.blobs)
                self._files.settle(place, then, now, done)
                continue
            self._files.keep(now)
            self._keep(place, now, done)
            if now["final"] is not None:
                done.final = now["final"]
                return done
        return done

    def _keep(self, place: str, entry: CallEntry | CellEntry, done: Advance) -> None:
        """Add a new entry to what was done, with a snapshot if code ran for long before it."""
        entry["at"] = epoch()
        self._at.applied[place] = entry
        done.entries[place] = entry
        self.own.keep(place, entry)

    # Which cells run

    def _cells(self, log: Log, done: Advance) -> Iterator[tuple[str, str]]:
        """Give the cells still to be run, each with its place.

        They are the logged ones that were not rolled back, and the new ones of the last turn.
        """
        last = turn_count(log) - 1
        known = ChainMap(done.entries, log)
        for number in range(self._at.turn, last + 1):
            turn = turn_at(log, number)
            self._enter(number, turn, log)
            if turn["limit"]:
                continue  # asked for its best answer: its code does not run
            reply = reply_of(turn, self._host.blobs)
            for index, code in enumerate(reply.steps):
                place = cell_place(number, index)
                entry = cell_at(log, place)
                if entry is None or place in self._at.applied:
                    continue
                if entry["outcome"] not in ROLLED_BACK:
                    yield place, code
            if number < last:
                continue  # the turn ended before its other cells
            for index in open_steps(known, number, reply, self._host.blobs):
                yield cell_place(number, index), reply.steps[index]

    def _enter(self, number: int, turn: TurnEntry, log: AnyLog) -> None:
        """Take up a turn: set what `history` and the contexts are in it."""
        if number > self._at.turn:
            self._note_refusal(number - 1, log)
        self._at.turn = number
        self._rules = turn.get("rules", 1)
        self._at.applied[str(number)] = turn
        questions = questions_up_to(log, number)
        shown = partial(history, log, number, self._host.blobs)
        self._values.enter(questions, shown, self._rules)
        self._host = self._base.for_question(questions[-1])
        self._time.allow(self._host.limits.max_cell_seconds)
        if len(questions) > max(self._at.questions, 1):  # a new question has another `context`
            own = [given["name"] for given in questions[-1]["contexts"] if "name" in given]
            self._at.restore |= {"answer", *with_paths(["context", *own])}
        self._at.questions = len(questions)
        self._files.first_turn = questions[-1]["turn"]

    def _note_refusal(self, turn: int, log: AnyLog) -> None:
        """Keep the answer of a turn, if it was refused, from being given again by itself."""
        if (refused := refusal(log, turn)) is not None:
            self._at.applied[refused_place(turn)] = refused
            self._at.withdraw = True

    # One cell

    def _start(self, place: str, code: str) -> OpenCell:
        """Open a cell; nothing of it runs yet."""
        self._at.watches_answer = self._at.watches_answer or "answer" in code
        self._at.names.update(assigned_names(code))
        self._at.open = OpenCell(place, code, self._rules)
        return self._at.open

    def _run(self, cell: OpenCell, log: AnyLog, done: Advance) -> CellEntry | None:
        """Run one cell from where it stands to its end.

        Returns:
            Its entry; None when it waits for a call. New calls are added to `done`.
        """
        if cell.waiting is None:
            outcome: Outcome | None = self._feed_cell(cell, log)
        else:
            outcome = self._resume(self._logged_answer(cell, log, done), cell, log)
        while isinstance(outcome, Suspended):
            answer = self._answer(outcome.call, cell, log, done)
            outcome = self._resume(answer, cell, log)
        if outcome is None:
            done.suspended = cell.waiting
            return None
        entry = self._entry(cell, outcome, log)
        rebindable = self._rebindable(cell.rules)
        self._at.hidden |= outcome.hidden & rebindable
        self._at.restore |= frozenset(assigned_names(cell.code)) & rebindable
        self._at.open = None
        return entry

    def _rebindable(self, rules: int) -> frozenset[str]:
        """The names that mean the same in every cell of a turn, whatever code binds to them."""
        tools = names_of(self._host) - BY_NAME.keys()
        return reserved(rules) | tools | frozenset(self._values.handles)

    def _feed_cell(self, cell: OpenCell, log: AnyLog) -> Outcome:
        """Run a cell from its first line, after binding anew what earlier cells have rebound."""
        self._files.begin(cell)
        if enter := self._values.code_before():
            self._step(partial(self._session.feed, enter), cell, log)
        if "SHOW_VARS" in cell.code:
            source = show_vars_source(self._at.names - reserved(cell.rules))
            self._step(partial(self._session.feed, source), cell, log)
        if "history" in cell.code:
            self._at.restore |= {"history"}
        if self._at.withdraw and self._at.watches_answer:
            self._step(partial(self._session.feed, WITHDRAW), cell, log)
        self._at.withdraw = False
        if cell.rules > 1:  # what was hidden without an assignment stayed so, by the first rules
            self._at.restore |= self._at.hidden
            self._at.hidden = frozenset()
        code = self._prepared(cell, log)
        if isinstance(code, CellError):
            return Finished("", error=code, ran=False)
        restore = self._at.restore & {*names_of(self._host), *self._values}
        outcome = self._step(partial(self._session.feed, code, restore), cell, log)
        if cell.rules == 1 or not isinstance(outcome, Finished) or outcome.ran:
            self._at.restore = frozenset()
        return outcome

    def _prepared(self, cell: OpenCell, log: AnyLog) -> str | CellError:
        """Give the code to feed, or the error that tells what the interpreter lacks for it."""
        session = self._session
        if cell.rules == 1 or not isinstance(session, Preparing):
            return cell.code
        return self._step(partial(session.prepare, cell.code, cell.rules), cell, log)

    def _resume(self, answer: Answer | None, cell: OpenCell, log: AnyLog) -> Outcome | None:
        """Hand the guest the answer that it waits for; None while there is none."""
        if answer is None:
            return None
        return self._step(partial(self._session.resume, answer), cell, log)

    def _step(
        self, step: Callable[[], T], cell: OpenCell, log: AnyLog, *, is_host: bool = False
    ) -> T:
        """Let the guest run, or the host answer it, within their time. Raises `CellLost`."""
        logged = cell.place in log
        is_replay = logged or call_place(cell.place, cell.ordinal) in log
        result, seconds = self._time.step(
            step, cell, is_replay=is_replay, logged=logged, is_host=is_host
        )
        self.own.ran(seconds, is_replay=is_replay)
        return result

    # Its calls

    def _answer(self, call: HostCall, cell: OpenCell, log: AnyLog, done: Advance) -> Answer | None:
        """Answer a call at once or from the log; None when it has to wait."""
        handles, made, check = self._values.handles, self._files.made, self._time.check
        answer = partial(respond, call, cell, handles, self._host, made, check)
        response = self._step(answer, cell, log, is_host=True)
        if not isinstance(response, Request):
            return response
        now = self._host.requests.entry(response)
        place = call_place(cell.place, cell.ordinal)
        cell.waiting = place
        cell.ordinal += 1
        then = call_at(log, place)
        if then is None:
            self._keep(place, now, done)
        else:
            check_call(place, then, now)
            self._at.applied[place] = then
        answered = item_place(place, 0)
        if response.on_host is not None and answered not in log:
            done.entries[answered] = response.on_host(self._time.left())
        return self._logged_answer(cell, log, done)

    def _logged_answer(self, cell: OpenCell, log: AnyLog, done: Advance) -> Answer | None:
        """Answer the call that a cell waits for from the log; None while an item is missing."""
        entry = call_at(self._at.applied, cell.waiting)
        assert cell.waiting is not None
        assert entry is not None
        replies: dict[str, ReplyEntry] = {}
        for item in range(entry["items"]):
            place = item_place(cell.waiting, item)
            reply = reply_at(log, place) or reply_at(done.entries, place)
            if reply is None:
                return None
            replies[place] = reply
            cell.note_reads_of(reply)
            if is_refused(reply):
                break
        self._at.applied.update(replies)
        cell.waiting = None
        return answer_of(entry, list(replies.values()), self._host.blobs)

    # Its end

    def _entry(self, cell: OpenCell, finished: Finished, log: AnyLog) -> CellEntry:
        """Make the cell's log entry, with the answer that it gave."""
        error = finished.error
        if cell.ended and error is not None and error.type == "SystemExit":
            error = None  # FINAL raised it
        final: Text | None = None

        def variable(name: str) -> Finished:
            return self._variable(name, cell, log)

        if cell.ended and error is None:
            final, error = resolved(cell, variable, self._host.blobs)
        elif self._at.watches_answer:
            final, lost = answer_variable(cell, variable, self._host.blobs)
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
            final=final,
            **noted(cell.reads),
        )
        entry["seconds"] = round(cell.seconds, 3)
        with_files = self._files.noted(cell, entry)
        return with_files if finished.ran else {**with_files, "ran": False}

    def _clipped(self, text: str) -> Text:
        return self._host.blobs.put_text(clip(text, limit=self._host.limits.max_output_chars))

    def _variable(self, name: str, cell: OpenCell, log: AnyLog) -> Finished:
        found = self._step(partial(self._session.feed, name), cell, log)
        assert isinstance(found, Finished), "a name alone calls nothing"
        return found
