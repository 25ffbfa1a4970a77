"""Replay: one loop that runs cells against a log. What is in the log is answered from it and checked; what is not is new.

The same loop is the live path (a session that stands at the end of its log) and the cold path (a new session that
starts at the beginning). It blocks: `sessions.py` runs it in worker threads.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from langgraph_rlm.blobs import BlobStore, Text
from langgraph_rlm.context import ContextHandle, HandleDict, materialize
from langgraph_rlm.reads import Reader
from langgraph_rlm.errors import BlobError, ContextError, ReplayDivergedError, SandboxError
from langgraph_rlm.limits import Limits
from langgraph_rlm.log import (
    CallEntry,
    CellEntry,
    CellOutcome,
    Log,
    LogEntry,
    ReplyEntry,
    TurnEntry,
    call_place,
    canonical,
    cell_place,
    digest_of,
    handles_of,
    item_place,
    plain,
    runs,
    turn_count,
)
from langgraph_rlm.parsing import Reply, assigned_names, parse_reply
from langgraph_rlm.prompts import clip
from langgraph_rlm.repl.base import Answer, CellError, Finished, HostCall, Outcome, Raised, Returned, SandboxCrashed, Session, Suspended
from langgraph_rlm.repl.calls import FINALS, READS, RESERVED, BadCall, HostFunctions, answer_of, bind

ROLLED_BACK: frozenset[CellOutcome] = frozenset({"timeout", "crashed", "stopped"})
REPLAY_PATIENCE = 10
"""A replayed cell ended within its limit once: on a busier machine it may take this many times as long."""

LOADED_SHARE = 4
"""A context is loaded into the heap only if this many times its size fits: that is what loading it takes."""


class CellLost(Exception):
    """A cell was cut off: its session is gone and nothing that it bound is kept."""

    def __init__(self, place: str, outcome: CellOutcome, stdout: str, logged: bool) -> None:
        super().__init__(place)
        self.place = place
        self.outcome: CellOutcome = outcome
        self.stdout = stdout
        self.logged = logged


@dataclass
class Advance:
    """How far one run of the loop came: entries to log, and the call that it waits for or the answer that it found."""

    entries: Log = field(default_factory=dict[str, LogEntry])
    suspended: str | None = None
    """Place of the call whose answers are missing from the log."""
    final: Text | None = None


@dataclass
class OpenCell:
    """The cell that is running or suspended."""

    place: str
    code: str
    ordinal: int = 0
    waiting: str | None = None
    seconds: float = 0.0
    reads: dict[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])
    final: Any = None
    final_name: str | None = None
    ended: bool = False
    """A FINAL was called."""


@dataclass(frozen=True)
class Host:
    """What a session's host side needs: shared by all sessions of one RLM, and free of anything about one run."""

    functions: HostFunctions
    store: BlobStore
    limits: Limits


def cells_of(reply: Reply) -> tuple[str, ...]:
    """The cells of a reply. FINAL_VAR in prose is one more cell, so that it is looked up, logged and replayed as one."""
    if reply.final is not None and reply.final.kind == "variable":
        return (*reply.cells, f'FINAL_VAR("{reply.final.text}")')
    return reply.cells


def loads(handle: ContextHandle, limits: Limits) -> bool:
    """Whether a context is bound as a value, or is to be read with `peek` and `grep` alone."""
    return handle.size * LOADED_SHARE <= limits.max_heap_bytes


class ContextValues(Mapping[str, Any]):
    """The lazy globals of a session: contexts by name as of the question being run, and the `answer` dict."""

    def __init__(self, store: BlobStore, limits: Limits) -> None:
        self._store = store
        self._limits = limits
        self.handles: Mapping[str, ContextHandle] = {}

    def __getitem__(self, name: str) -> Any:
        if name == "answer":
            return lambda: {"content": "", "ready": False}
        handle = self.handles[name]
        if not loads(handle, self._limits):
            raise KeyError(name)
        return lambda: materialize(handle, self._store)

    def __iter__(self) -> Iterator[str]:
        yield "answer"
        yield from (name for name, handle in self.handles.items() if loads(handle, self._limits))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Repl:
    """One trajectory's interpreter, as far as its log has been applied."""

    def __init__(self, session: Session, values: ContextValues, host: Host) -> None:
        self._session = session
        self._values = values
        self._host = host
        self._applied: Log = {}
        self._turn = 0
        self._open: OpenCell | None = None
        self._names: set[str] = set()
        self._restore: frozenset[str] = frozenset()
        self._questions = 0
        self._watches_answer = False
        self._contexts: list[HandleDict] = []

    def stands_in(self, log: Mapping[str, LogEntry]) -> bool:
        """Whether all that this interpreter has gone through is what `log` says: false after a fork or an edit."""
        return all((then := log.get(place)) is entry or then == entry for place, entry in self._applied.items())

    def kill(self) -> None:
        """End the worker, from any thread."""
        self._session.kill()

    def close(self) -> None:
        """Give the worker back."""
        self._session.close()

    def advance(self, log: Mapping[str, LogEntry], contexts: list[HandleDict]) -> Advance:
        """Run on from where this interpreter stands until a call has no answer in `log`, or the cells are done.

        Raises:
            ReplayDivergedError: code did something else than the log says.
            CellLost: a cell ran out of time, or its worker died.
        """
        self._contexts = contexts
        done = Advance()
        for place, code, entry in self._cells(log):
            if self._open is None and self._skipped(place, log, done):
                continue
            ended = self._run_cell(place, code, log, done)
            if ended is None:
                return done
            self._applied[place] = self._checked(place, entry, ended)
            if entry is None:
                done.entries[place] = ended
            if ended["final"] is not None and entry is None:
                done.final = ended["final"]
                return done
        return done

    def _cells(self, log: Mapping[str, LogEntry]) -> Iterator[tuple[str, str, CellEntry | None]]:
        """Cells that are still to be run: logged ones that were not rolled back, and those of the last turn."""
        last = turn_count(log) - 1
        for number in range(self._turn, last + 1):
            self._turn = number
            turn = cast(TurnEntry, log[str(number)])
            self._enter(number, turn, log)
            if turn["limit"] is not None:
                continue
            for index, code in enumerate(cells_of(parse_reply(self._host.store.get_text(turn["reply"])))):
                place = cell_place(number, index)
                entry = cast("CellEntry | None", log.get(place))
                if place in self._applied or (entry is None and number < last) or (entry and entry["outcome"] in ROLLED_BACK):
                    continue
                yield place, code, entry

    def _enter(self, number: int, turn: TurnEntry, log: Mapping[str, LogEntry]) -> None:
        """Enter a turn: its reply counts as applied, and a new question moves `context` on."""
        self._applied[str(number)] = turn
        questions = [entry for entry in runs(log) if entry["turn"] <= number]
        self._values.handles = handles_of(questions, self._contexts)
        if len(questions) > max(self._questions, 1):
            self._restore |= {"context", "answer"}
        self._questions = len(questions)

    def _skipped(self, place: str, log: Mapping[str, LogEntry], done: Advance) -> bool:
        """A FINAL_VAR in prose that follows a cell that failed was written blind: it does not count."""
        turn, index = place.split(".")
        reply = parse_reply(self._host.store.get_text(cast(TurnEntry, log[turn])["reply"]))
        if int(index) < len(reply.cells):
            return False
        before = [cell_place(int(turn), i) for i in range(len(reply.cells))]
        entries = [cast("CellEntry | None", log.get(p) or done.entries.get(p)) for p in before]
        return any(entry is not None and entry["outcome"] != "ok" for entry in entries)

    def _run_cell(self, place: str, code: str, log: Mapping[str, LogEntry], done: Advance) -> CellEntry | None:
        """One cell to its end, or None when it waits for a call. `done` takes what is new."""
        if self._open is None:
            outcome = self._start(place, code, log)
        else:
            outcome = None
        cell = cast(OpenCell, self._open)
        while True:
            if outcome is None:
                answer = self._logged_answer(cast(str, cell.waiting), log)
                if answer is None:
                    done.suspended = cell.waiting
                    return None
                outcome = self._step(lambda answer=answer: self._session.resume(answer), place in log)
            if isinstance(outcome, Finished):
                return self._end(outcome, place in log)
            immediate = self._host_call(outcome.call, log, done)
            outcome = None if immediate is None else self._step(lambda answer=immediate: self._session.resume(answer), place in log)

    def _start(self, place: str, code: str, log: Mapping[str, LogEntry]) -> Outcome:
        self._open = OpenCell(place, code)
        self._watches_answer = self._watches_answer or "answer" in code
        self._names.update(assigned_names(code))
        restore, self._restore = self._restore & self._bindable(), frozenset()
        if "SHOW_VARS" in code:
            self._step(lambda: self._session.feed(_show_vars(self._names - RESERVED)), place in log)
        return self._step(lambda: self._session.feed(code, restore), place in log)

    def _bindable(self) -> frozenset[str]:
        return self._host.functions.names | frozenset(self._values)

    def _step(self, step: Any, replayed: bool) -> Outcome:
        """Let the guest run within what is left of the cell's time.

        Raises:
            CellLost: the time was up, or the worker died.
        """
        cell = cast(OpenCell, self._open)
        seconds = self._host.limits.max_cell_seconds
        watch = Watch(self._session, (seconds * REPLAY_PATIENCE if replayed else seconds) - cell.seconds)
        try:
            with watch:
                outcome = step()
        except SandboxCrashed:
            raise CellLost(cell.place, "timeout" if watch.fired else "crashed", "", replayed) from None
        cell.seconds += watch.seconds
        return outcome

    def _logged_answer(self, waiting: str, log: Mapping[str, LogEntry]) -> Answer | None:
        entry = cast(CallEntry, log.get(waiting) or self._applied[waiting])
        places = [item_place(waiting, item) for item in range(entry["items"])]
        replies = [cast("ReplyEntry | None", log.get(place)) for place in places]
        if any(reply is None for reply in replies):
            return None
        known = cast(list[ReplyEntry], replies)
        self._applied.update(zip(places, known, strict=True))
        return answer_of(entry, known, self._host.store)

    def _host_call(self, call: HostCall, log: Mapping[str, LogEntry], done: Advance) -> Answer | None:
        """Answer what the host answers at once (reads, FINAL, wrong arguments); None leaves the call to the graph."""
        cell = cast(OpenCell, self._open)
        try:
            if call.function in READS:
                return Returned(self._read(call, cell))
            if call.function in FINALS:
                return self._final(call, cell)
            request = self._host.functions.request(call)
        except BadCall as error:
            return Raised(error.type, str(error))
        if request.items == 0:
            return Returned([])
        cell.waiting = call_place(cell.place, cell.ordinal)
        cell.ordinal += 1
        now = request.entry(self._host.store)
        then = cast("CallEntry | None", log.get(cell.waiting))
        self._applied[cell.waiting] = now if then is None else _same_call(cell.waiting, then, now)
        if then is None:
            done.entries[cell.waiting] = now
        return None

    def _read(self, call: HostCall, cell: OpenCell) -> Any:
        arguments = bind(call.function, READ_CALLS[call.function], call)
        of = arguments.pop("of")
        handle = self._values.handles.get(of)
        if handle is None:
            raise BadCall("ValueError", f"{call.function}: of={of!r} is no context. There are: {', '.join(self._values.handles) or 'none'}.")
        try:
            reader = Reader(handle, self._host.store)
            if call.function == "context_info":
                return reader.info()
            value, ranges = getattr(reader, call.function)(**arguments)
        except (ContextError, ValueError, TypeError) as error:
            raise BadCall("ValueError", f"{call.function}: {error}") from None
        cell.reads[handle.digest] = merge_ranges([*cell.reads.get(handle.digest, []), *map(list, ranges)])
        return value

    def _final(self, call: HostCall, cell: OpenCell) -> Answer:
        """FINAL ends the cell at once: SystemExit passes the `except Exception` of model code, and the first FINAL counts."""
        arguments = bind(call.function, FINAL_CALLS[call.function], call)
        if not cell.ended:
            cell.ended = True
            value = next(iter(arguments.values()))
            if call.function == "FINAL_VAR" and isinstance(value, str) and value.strip().isidentifier():
                cell.final_name = value.strip()
            else:
                cell.final = value
        return Raised("SystemExit", "the run ends with this answer")

    def _end(self, finished: Finished, logged: bool) -> CellEntry:
        """Close the cell: find its answer, mark what it rebound, and make its log entry."""
        cell = cast(OpenCell, self._open)
        error = None if cell.ended and finished.error and finished.error.type == "SystemExit" else finished.error
        final: Text | None = None
        if cell.ended and error is None:
            final, error = self._resolved(cell, logged)
        elif self._watches_answer:
            final = self._answer_variable(logged)
        self._restore |= frozenset(assigned_names(cell.code)) & (RESERVED | frozenset(self._values.handles) | self._host.functions.names)
        entry = self._entry(cell, finished, error, final)
        self._open = None
        return entry

    def _resolved(self, cell: OpenCell, logged: bool) -> tuple[Text | None, CellError | None]:
        if cell.final_name is None:
            return self._host.store.put_text(answer_text(cell.final)), None
        found = self._step(lambda: self._session.feed(cast(str, cell.final_name)), logged)
        if isinstance(found, Finished) and found.error is None:
            return self._host.store.put_text(answer_text(found.value)), None
        message = f"FINAL_VAR: there is no variable {cell.final_name!r}. Bind it first, or give the value itself to FINAL."
        return None, CellError("NameError", message, f"NameError: {message}")

    def _answer_variable(self, logged: bool) -> Text | None:
        found = self._step(lambda: self._session.feed("answer"), logged)
        value = found.value if isinstance(found, Finished) else None
        if not isinstance(value, dict) or not cast(dict[str, Any], value).get("ready"):
            return None
        return self._host.store.put_text(answer_text(cast(dict[str, Any], value).get("content", "")))

    def _entry(self, cell: OpenCell, finished: Finished, error: CellError | None, final: Text | None) -> CellEntry:
        limit, store = self._host.limits.max_output_chars, self._host.store
        value = None if finished.value is None or cell.ended else repr(finished.value)
        return CellEntry(
            kind="cell",
            outcome="error" if error else "ok",
            stdout=store.put_text(clip(finished.stdout, limit=limit)),
            value=None if value is None else store.put_text(clip(value, limit=limit)),
            error=None if error is None else store.put_text(clip(error.traceback, limit=limit)),
            digest=_outcome_digest(finished.stdout, value, error),
            reads=cell.reads,
            final=final,
        )

    def _checked(self, place: str, then: CellEntry | None, now: CellEntry) -> CellEntry:
        if then is None or (then["digest"] == now["digest"] and then["outcome"] == now["outcome"]):
            return then or now
        raise ReplayDivergedError(
            f"Cell {place} ended {now['outcome']!r} with {now['digest'][:12]}, but its log has {then['outcome']!r} with {then['digest'][:12]}. "
            "The sandbox is not deterministic, or the log is of another version: fork from an earlier checkpoint."
        )


class Watch:
    """Ends a session whose guest runs too long. Measures the seconds that it ran."""

    def __init__(self, session: Session, seconds: float) -> None:
        self.fired = False
        self.seconds = 0.0
        self._session = session
        self._timer = threading.Timer(max(seconds, 0.0), self._fire)
        self._timer.daemon = True

    def _fire(self) -> None:
        self.fired = True
        self._session.kill()

    def __enter__(self) -> None:
        self._started = time.monotonic()
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self.seconds = time.monotonic() - self._started


def _peek(start: int = 0, end: int | None = None, of: str = "context") -> None: ...
def _grep(pattern: str, max_matches: int = 50, context_lines: int = 0, ignore_case: bool = False, of: str = "context") -> None: ...
def _context_info(of: str = "context") -> None: ...
def _final(value: Any) -> None: ...
def _final_var(name: Any) -> None: ...


READ_CALLS = {"peek": _peek, "grep": _grep, "context_info": _context_info}
FINAL_CALLS = {"FINAL": _final, "FINAL_VAR": _final_var}


def _show_vars(names: set[str]) -> str:
    """Source of SHOW_VARS for the names that cells have bound: no interpreter need have `globals()`."""
    lines = ["def SHOW_VARS():", "    _found = {}"]
    for name in sorted(names):
        lines += ["    try:", f"        _found[{name!r}] = {name}", "    except NameError:", "        pass"]
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


def _same_call(place: str, then: CallEntry, now: CallEntry) -> CallEntry:
    if then["digest"] == now["digest"] and then["function"] == now["function"]:
        return then
    raise ReplayDivergedError(
        f"Cell {place} called {now['function']!r} with {now['digest'][:12]}, but its log has {then['function']!r} with {then['digest'][:12]}. "
        "The sandbox is not deterministic, or the log is of another version: fork from an earlier checkpoint."
    )


def _outcome_digest(stdout: str, value: str | None, error: CellError | None) -> str:
    """Addresses in the `repr` of objects differ from process to process and mean nothing."""
    text = canonical([stdout, value, error and [error.type, error.message]])
    return digest_of(re.sub(r"0x[0-9a-f]+", "0x", text))


def answer_text(value: Any) -> str:
    """An answer as text: a str as it is, anything else as JSON."""
    return value if isinstance(value, str) else canonical(plain(value))


def merge_ranges(ranges: list[list[int]]) -> list[list[int]]:
    """Sorted, and without overlaps."""
    merged: list[list[int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged


def lost_entry(lost: CellLost, store: BlobStore) -> CellEntry:
    """The log entry of a cell that was cut off."""
    return rolled_back(lost.outcome, store)


def rolled_back(outcome: CellOutcome, store: BlobStore) -> CellEntry:
    """The log entry of a cell of which nothing is kept but that it happened."""
    return CellEntry(kind="cell", outcome=outcome, stdout=store.put_text(""), value=None, error=None, digest="", reads={}, final=None)


__all__ = ["Advance", "BlobError", "CellLost", "Host", "Repl", "SandboxError"]
