"""Replay run: run a saved run again on today's code, without a model, and say where it differs.

What is compared is what the interpreter does: what each cell calls, prints, raises and answers. The
prompts are not compared: those may get better.
"""

import difflib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph_rlm.budget.limits import Limits
from langgraph_rlm.errors import BlobError, ReplayDivergedError
from langgraph_rlm.history.saved_run import SavedRLM, SavedRun, context_blobs, load_run, rlms_of
from langgraph_rlm.log.entries import ROLLED_BACK, CellEntry, Log, LogEntry, TurnEntry
from langgraph_rlm.log.places import (
    cell_at,
    cell_of,
    cell_place,
    cells_of,
    item_place,
    native_places,
    questions_of,
    turn_at,
    turn_count,
    turns,
)
from langgraph_rlm.log.reply import Reply, reply_of
from langgraph_rlm.log.steps import open_steps
from langgraph_rlm.repl import open_backend
from langgraph_rlm.repl.advance import Advance, CellLost
from langgraph_rlm.repl.base import Backend
from langgraph_rlm.repl.divergence import outcome_digest
from langgraph_rlm.repl.host import Host, limits_of_thread
from langgraph_rlm.repl.host_functions import TAKEN
from langgraph_rlm.repl.replay import Repl
from langgraph_rlm.repl.requests import Requests
from langgraph_rlm.repl.sessions import ReplStart, open_repl
from langgraph_rlm.storage.blobs import BlobStore, to_bytes
from langgraph_rlm.tools.toolset import Toolset, open_toolset

DIFF_LINES = 40
"""Most lines of a difference that an error shows."""

LINE_CHARS = 300
"""Most characters of each such line."""


@dataclass(frozen=True)
class Replayed:
    """How much a replay ran again, children included."""

    rlms: int = 0
    turns: int = 0
    cells: int = 0
    calls: int = 0

    def __add__(self, other: "Replayed") -> "Replayed":
        return Replayed(
            self.rlms + other.rlms,
            self.turns + other.turns,
            self.cells + other.cells,
            self.calls + other.calls,
        )


def replay_run(
    path: str | Path,
    *,
    sandbox: str | Backend | None = None,
    tools: Sequence[Any] = (),
    child_tools: Sequence[Any] | None = None,
    external_tools: Sequence[Any] = (),
    blob_store: str | Path | BlobStore | None = None,
) -> Replayed:
    """Run every cell of a saved run again on today's code.

    Each call is answered from the log: no model and no tool is called.

    Args:
        path: the file that `save_run` wrote.
        sandbox: a name or a `Backend`, if another than the run was saved with; needed for a run
            that was saved with a backend of your own. A backend is closed at the end.
        tools: what `create_rlm` was given; only their signatures are used.
        child_tools: see `tools`.
        external_tools: see `tools`.
        blob_store: the store that has the contexts, if the file leaves them out.

    Returns:
        How much was replayed.

    Raises:
        ReplayDivergedError: code did something else than its log says; the message names the RLM,
            the place and the difference.
        BlobError: a value is neither in the file nor in `blob_store`, or was edited in the file.
        ConfigurationError: the file is not a saved run, or a tool is wrong.
    """
    saved = load_run(path)
    toolset = open_toolset(tools, child_tools, external_tools, {}, (), TAKEN)
    backend = open_backend(sandbox or saved["sandbox"])
    with tempfile.TemporaryDirectory(prefix="langgraph-rlm-") as folder:
        own = BlobStore.open(folder)
        _fill(own, saved, blob_store)
        try:
            return _Replay(saved, toolset, backend, own).all(saved["root"], ())
        finally:
            backend.close()


def _fill(own: BlobStore, saved: SavedRun, others: str | Path | BlobStore | None) -> None:
    """Store the texts of a saved run, and the contexts that it leaves out."""
    for digest, text in saved["blobs"].items():
        if own.put(to_bytes(text)) != digest:
            raise BlobError(
                f"Blob {digest} was edited in the saved run: its digest names its bytes. "
                "Put the new text at its place in the log."
            )
    for rlm in rlms_of(saved["root"]):
        for digest in context_blobs(rlm["log"]):
            if digest not in saved["blobs"]:
                own.put_stream(iter([BlobStore.open(others).get(digest)]))


class _Replay:
    """The replay of one file."""

    def __init__(
        self, saved: SavedRun, toolset: Toolset, backend: Backend, blobs: BlobStore
    ) -> None:
        self._limits = Limits(**saved["limits"])
        self._models = saved["models"]
        self._toolset = toolset
        self._backend = backend
        self._blobs = blobs

    def all(self, rlm: SavedRLM, above: tuple[str, ...]) -> Replayed:
        """Replay an RLM and those below it.

        Args:
            rlm: the RLM.
            above: the place of each answer on the way to it, from the root's on.
        """
        try:
            done = self._one(rlm, len(above))
        except ReplayDivergedError as error:
            raise self._located(error, above) from None
        for place, child in rlm["children"].items():
            done += self.all(child, (*above, place))
        return done

    def _one(self, rlm: SavedRLM, depth: int) -> Replayed:
        log = rlm["log"]
        _check_places(log)
        self._check_cells(rlm)
        repl = self._repl(rlm, depth)
        try:
            done = repl.advance(log if rlm["answer"] is None else _closed(log), None)
            self._check(rlm, done, repl.applied)
        except CellLost as lost:
            what = f"ended {lost.outcome!r}, but its log has another outcome"
            raise _diverged(lost.place, what, log.get(lost.place)) from None
        finally:
            repl.close()
        kinds = [entry["kind"] for place, entry in log.items() if place in repl.applied]
        return Replayed(1, kinds.count("turn"), kinds.count("cell"), kinds.count("call"))

    def _repl(self, rlm: SavedRLM, depth: int) -> Repl:
        questions = questions_of(rlm["log"])
        host = Host(
            models=self._models,
            tools=self._toolset.at(depth),
            is_recursive=depth + 1 < self._limits.max_depth,
            blobs=self._blobs,
            requests=Requests(self._blobs),
            limits=limits_of_thread(self._limits, questions),
            gives_files=depth == 0,
            depth=depth,
        )
        start = ReplStart(rlm["trajectory"], questions[0]["started"])
        return open_repl(self._backend, start, host)

    def _check_cells(self, rlm: SavedRLM) -> None:
        """Refuse if today's parser finds other cells than those that were run."""
        log = rlm["log"]
        last = turn_count(log) - 1
        for number, turn in enumerate(turns(log)):
            reply = reply_of(turn, self._blobs)
            if not turn["limit"]:
                is_open = number == last and rlm["answer"] is None
                self._check_turn(log, number, reply, is_open=is_open)

    def _check_turn(self, log: Log, number: int, reply: Reply, *, is_open: bool) -> None:
        before: list[CellEntry] = []
        open_ones = set(open_steps(log, number, reply, self._blobs))
        for index in range(len(reply.steps)):
            place = cell_place(number, index)
            entry = cell_at(log, place)
            if entry is not None:
                self._check_text(place, entry, self._output_chars(log, number))
                before.append(entry)
            elif not is_open and index in open_ones and not _has_answered(before):
                raise _diverged(place, "is in its turn's reply, but not in the log", None)

    def _output_chars(self, log: Log, turn: int) -> int:
        """Give the most characters that the log has of what a cell of a turn printed."""
        asked = [question for question in questions_of(log) if question["turn"] <= turn][-1]
        own = asked.get("settings", {}).get("limits", {})
        return self._limits.model_copy(update=own).max_output_chars

    def _check_text(self, place: str, entry: CellEntry, most: int) -> None:
        """Refuse if what an entry says that its cell printed is not what its digest was made of.

        A text that the file has only in part, because it has more than `most` characters, cannot be
        checked.
        """
        if entry["outcome"] != "ok":
            return
        stdout = self._blobs.get_text(entry["stdout"])
        value: str | None = None
        if entry["value"] is not None:
            value = self._blobs.get_text(entry["value"])
        is_whole = max(len(stdout), len(value or "")) < most
        if is_whole and outcome_digest(stdout, value, None) != entry["digest"]:
            what = (
                "was edited in the file: its digest is of other output. "
                "Edit replies and answers, not what follows"
            )
            raise _diverged(place, what, entry)

    def _check(self, rlm: SavedRLM, done: Advance, applied: frozenset[str]) -> None:
        """Refuse if the replay made more or less than is in the log, or another answer."""
        log = rlm["log"]
        is_over = rlm["answer"] is not None
        for place in done.entries:
            if is_over or item_place(place, 0) in log:
                raise _diverged(place, "is made now, but is not in the log", None)
        left = [
            place
            for place in log
            if place not in applied and _is_replayed(place, log, done.suspended)
        ]
        if done.suspended is not None and (left or is_over):
            raise _diverged(done.suspended, "lacks an answer in the log", log.get(done.suspended))
        if left:
            raise _diverged(left[0], "is in the log, but is not come to now", log[left[0]])
        if rlm["stop_reason"] == "answered" and not rlm["structured"]:
            self._check_answer(rlm)

    def _check_answer(self, rlm: SavedRLM) -> None:
        log = rlm["log"]
        answer = _answer(log, self._blobs)
        if answer is not None and answer != rlm["answer"]:
            what = f"answers {answer[:LINE_CHARS]!r} now, but the run {rlm['answer']!r}"
            raise _diverged(str(turn_count(log) - 1), what, None)

    def _located(self, error: ReplayDivergedError, above: tuple[str, ...]) -> ReplayDivergedError:
        """Give the same error with the RLM that it is in, and the difference."""
        where = f"In the child at {' > '.join(above)}: " if above else ""
        shown = "".join(f"\n{line[:LINE_CHARS]}" for line in self._difference(error))
        located = ReplayDivergedError(f"{where}{error}{shown}")
        located.place = error.place
        located.then = error.then
        located.now = error.now
        return located

    def _difference(self, error: ReplayDivergedError) -> list[str]:
        """Give the first lines of the difference between an error's two entries."""
        then = self._lines(error.then)
        now = self._lines(error.now)
        if not error.now:
            return []
        return list(difflib.unified_diff(then, now, "the log", "now", lineterm="", n=1))[
            :DIFF_LINES
        ]

    def _lines(self, entry: Any) -> list[str]:
        return "\n".join(self._shown(entry)).splitlines()

    def _shown(self, entry: Any) -> Iterator[str]:
        """Give the texts of an entry, each with its name."""
        if entry is None:
            return
        if entry["kind"] == "call":
            request = json.loads(self._blobs.get_text(entry["request"]))
            yield f"{entry['function']}:"
            yield json.dumps(request, ensure_ascii=False, indent=1)
            return
        for name in ("stdout", "value", "error", "final"):
            if entry[name] is not None:
                yield f"{name}: {self._blobs.get_text(entry[name])}"


def _has_answered(cells: Sequence[CellEntry]) -> bool:
    """Say whether one of some cells gave the answer: nothing runs after it."""
    return any(cell["final"] is not None for cell in cells)


def _check_places(log: Log) -> None:
    """Refuse if a turn, a question or a native call is gone from the file."""
    questions = questions_of(log)
    _check_numbers(log, "turn", "", turn_count(log))
    _check_numbers(log, "run", "run.", len(questions))
    if not questions:
        raise _diverged("run.0", "is not in the log: nothing was asked", None)
    for number, turn in enumerate(turns(log)):
        for place in native_places(number, turn):
            if place not in log:
                raise _diverged(place, "is in its turn, but not in the log", None)


def _check_numbers(log: Log, kind: str, prefix: str, count: int) -> None:
    """Refuse if an entry of a kind has a number of `count` or more: those before it end there."""
    for place, entry in log.items():
        if entry["kind"] == kind and int(place.removeprefix(prefix)) >= count:
            raise _diverged(f"{prefix}{count}", f"is not in the log, but {place!r} is", None)


def _closed(log: Log) -> Log:
    """Give a log that is over, so that cells without an entry are not run."""
    end = TurnEntry(kind="turn", reply={"text": ""}, limit="replay")
    return {**log, str(turn_count(log)): end}


def _is_replayed(place: str, log: Log, suspended: str | None) -> bool:
    """Say whether a replay comes to an entry.

    It does not come to entries of a cell that was rolled back, or to answers of a call that still
    waits.
    """
    cell = cell_of(place)
    if "." not in cell or log[place]["kind"] not in ("cell", "call", "reply"):
        return False
    if suspended and place.startswith(f"{suspended}/"):
        return False
    entry = cell_at(log, cell)
    return entry is None or entry["outcome"] not in ROLLED_BACK


def _answer(log: Log, blobs: BlobStore) -> str | None:
    """Read the answer to the last question from the log; None if it has none."""
    number = turn_count(log) - 1
    reply = reply_of(turn_at(log, number), blobs)
    for cell in cells_of(log, number, len(reply.steps)):
        if cell is not None and cell["final"] is not None:
            return blobs.get_text(cell["final"])
    if reply.final is not None and reply.final.kind == "value":
        return reply.final.text
    return None


def _diverged(place: str, what: str, then: LogEntry | None) -> ReplayDivergedError:
    error = ReplayDivergedError(f"{_kind_at(place)} {place} {what}.")
    error.place = place
    error.then = then
    return error


def _kind_at(place: str) -> str:
    if place.startswith("run."):
        return "Question"
    if "/" in place:
        return "Call"
    return "Cell" if "." in place else "Turn"
